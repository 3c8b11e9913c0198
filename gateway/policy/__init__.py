"""Yes, no, how much, how long; no I/O."""
