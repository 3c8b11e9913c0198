"""Joining two transports."""
