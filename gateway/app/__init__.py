"""Composition root: a configuration and a reactor become one stopped service.

`gateway.app.agent` and `gateway.app.gateway` are imported by name, so that an agent
does not load the API and the store.
"""
