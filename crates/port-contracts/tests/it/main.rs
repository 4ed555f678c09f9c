use port_contracts::optimizer::brute_force::BruteForceOptimizer;

port_contracts::optimizer!(async { (BruteForceOptimizer, ()) });
