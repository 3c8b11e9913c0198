"""One link's whole behaviour; no I/O."""
