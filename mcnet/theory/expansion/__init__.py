"""The parts of the 1/M expansion of dense networks."""
