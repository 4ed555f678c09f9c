mod against_brute_force;
mod classes;
