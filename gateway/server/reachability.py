"""Find out why a mapping that listens cannot serve, and since when."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from gateway.policy.mapping import Mapping
from gateway.policy.reachability import (
    AGENT_ABSENT,
    NO_DEFAULT_AGENT,
    PORT_FORBIDDEN,
    TARGET_FORBIDDEN,
    Attempts,
    Obstacle,
)
from gateway.server.agents import Standing
from gateway.server.links import Links


class Reachability:
    """Judges mappings by their agents, their agents' keys and their connections.

    Nothing is kept for it but the latest failures of each mapping, and nothing is
    tried: each answer is worked out when somebody asks.
    """

    def __init__(
        self, links: Links, clock: IReactorTime, wall_clock: Callable[[], float]
    ) -> None:
        """Remember the collaborators.

        Args:
            links: the agents.
            clock: that connections are timed by.
            wall_clock: Unix seconds.
        """
        self._links = links
        self._clock = clock
        self._wall_clock = wall_clock
        self._started_at = wall_clock()

    def obstacle(self, mapping: Mapping, attempts: Attempts) -> Obstacle | None:
        """Return what keeps an open mapping from serving, since Unix seconds, or None.

        Args:
            mapping: whose port is open.
            attempts: how its latest connections went.
        """
        since = max(self._started_at, float(mapping.updated_at))
        usable_since = 0.0
        if mapping.use_tunnel:
            standing = self._links.standing(mapping.agent)
            found = _of_agent(mapping, standing, since)
            if found is not None:
                return found
            usable_since = standing.since or 0.0
        found = attempts.obstacle
        if found is None:
            return None
        ago = self._wall_clock() - self._clock.seconds()
        if attempts.failed_at + ago < usable_since:
            return None  # another agent may well reach it
        return found._replace(since=found.since + ago)


def _of_agent(mapping: Mapping, standing: Standing, since: float) -> Obstacle | None:
    """Return what keeps the agent of a mapping from serving it.

    Args:
        mapping: that goes through an agent.
        standing: of the agent.
        since: the earliest time that it may have begun.
    """
    since = max(since, standing.since or 0.0)
    who = "the default agent" if mapping.agent is None else f"agent {mapping.agent}"
    if not standing.connected:
        if mapping.agent is None and standing.others:
            detail = f"none of the {standing.others} agents is the default one"
            return Obstacle(NO_DEFAULT_AGENT, detail, since)
        if mapping.agent is None:
            return Obstacle(AGENT_ABSENT, "no agent is connected", since)
        seen = "is not connected" if standing.since else "was never seen here"
        return Obstacle(AGENT_ABSENT, f"{who} {seen}", since)
    scope = standing.scope
    if scope is None:
        return None
    if not scope.has_port(mapping.port):
        detail = f"the key of {who} does not allow port {mapping.port}"
        return Obstacle(PORT_FORBIDDEN, detail, since)
    refusal = scope.refusal(mapping.target_host, mapping.target_port)
    if refusal is not None:
        detail = f"the key of {who} does not allow the target: {refusal}"
        return Obstacle(TARGET_FORBIDDEN, detail, since)
    return None
