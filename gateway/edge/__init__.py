"""Public listeners."""
