"""What a gateway does."""
