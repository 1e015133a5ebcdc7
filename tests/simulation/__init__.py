"""One seed, one life of a gateway with its clients, workers and mishaps, in simulated time."""
