"""Configuration files to frozen values; no I/O."""
