#![no_main]

use libfuzzer_sys::fuzz_target;
use port_contracts::optimizer::portfolio::Dice;
use port_contracts::optimizer::wild;

fuzz_target!(|bytes: &[u8]| {
    wild::rebalance(Dice::loaded(bytes.to_vec()));
});
