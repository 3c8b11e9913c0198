"""Sockets on the fast path."""
