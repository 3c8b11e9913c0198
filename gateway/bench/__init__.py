"""Load for measuring what a way through the gateway carries."""
