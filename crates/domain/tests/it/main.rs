#![expect(clippy::unwrap_used, reason = "Clippy sees no test in the helpers of one")]

mod against_brute_force;
mod classes;
mod known_cases;
mod metamorphic;
mod refusals;
mod trading_rules;
mod wild;
