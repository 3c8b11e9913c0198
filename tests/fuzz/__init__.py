"""Mutated input for every port: `python -m tests.fuzz --runs 100000` runs more."""
