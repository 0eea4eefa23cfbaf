"""What a run directory holds: sealed shards, rounds, their names and their checks."""
