"""Composition root: a configuration and a reactor become one stopped service."""

from gateway.app.agent import build_agent
from gateway.app.gateway import build_gateway
from gateway.app.world import IGatewayReactor, Surroundings

__all__ = ["IGatewayReactor", "Surroundings", "build_agent", "build_gateway"]
