"""The gotunnel command."""
