"""A gateway that gives services behind NAT a public address."""
