"""Why a mapping that listens cannot serve, as far as its connections have shown."""

from __future__ import annotations

from typing import Final, NamedTuple

ENOUGH_FAILURES: Final = 2  # in a row, of connections to a target
LONGEST_REASON: Final = 200  # characters

AGENT_ABSENT: Final = "agent_absent"
NO_DEFAULT_AGENT: Final = "no_default_agent"
PORT_FORBIDDEN: Final = "port_forbidden"
TARGET_FORBIDDEN: Final = "target_forbidden"
TARGET_UNREACHED: Final = "target_unreached"


class Obstacle(NamedTuple):
    """What keeps a mapping from serving.

    Attributes:
        cause: "agent_absent", "no_default_agent", "port_forbidden", "target_forbidden"
            or "target_unreached".
        detail: the cause in a sentence, without a full stop.
        since: seconds of the clock that the source uses.
    """

    cause: str
    detail: str
    since: float


class Attempts:
    """How the latest connections of one mapping to its target went.

    A target is never probed: it is known from the connections of visitors only.

    Attributes:
        failed: how many in a row did not reach it.
        failed_at: when the latest of them failed; 0 = none.
    """

    __slots__ = ("_cause", "_since", "_why", "failed", "failed_at")

    def __init__(self) -> None:
        self.failed = 0
        self.failed_at = 0.0
        self._since = 0.0
        self._cause = self._why = ""

    def reached(self) -> None:
        """Note that a connection has reached the target."""
        self.failed = 0

    def missed(self, cause: str, why: str, now: float) -> None:
        """Note that a connection did not reach the target.

        Args:
            cause: "target_unreached" or "target_forbidden".
            why: the reason, for people.
            now: seconds.
        """
        if not self.failed:
            self._since = now
        self.failed += 1
        self.failed_at = now
        self._cause = cause
        self._why = why[:LONGEST_REASON]

    @property
    def obstacle(self) -> Obstacle | None:
        """What the latest connections failed for; None = too few to say."""
        if self.failed < ENOUGH_FAILURES:
            return None
        detail = f"the last {self.failed} connections did not reach the target"
        return Obstacle(self._cause, f"{detail}: {self._why}", self._since)
