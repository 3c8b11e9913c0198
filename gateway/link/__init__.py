"""One link on the network."""
