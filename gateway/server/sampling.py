"""What the last minutes were like: a sample each second, kept for five minutes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from gateway.server.traffic import NOTHING, Carried, Traffic

STEP_SECONDS: Final = 1.0
KEPT: Final = 300
_MANY_VISITORS: Final = (
    2000  # from here on a look takes long enough to do it less often
)
_RARELY: Final = 15


class Sample(NamedTuple):
    """What passed since the sample before; rates are per second.

    Attributes:
        at: Unix seconds.
        sent: bytes to targets.
        received: bytes to visitors.
        connections: visitors who came.
        active: visitors who were there at the end.
    """

    at: float
    sent: float
    received: float
    connections: float
    active: int


class Sampler:
    """Looks at the numbers once a second.

    Attributes:
        started_at: Unix seconds of the start.
        samples: the last ones, the newest last.
    """

    def __init__(
        self, clock: IReactorTime, traffic: Traffic, wall_clock: Callable[[], float]
    ) -> None:
        """Remember the collaborators; nothing happens before `start`."""
        self._clock = clock
        self._traffic = traffic
        self._wall_clock = wall_clock
        self._call: IDelayedCall | None = None
        self._looking: Deferred[None] | None = None
        self._then = 0.0
        self._before = NOTHING
        self._began = 0.0
        self.started_at = 0.0
        self.samples: deque[Sample] = deque(maxlen=KEPT)

    def start(self) -> None:
        """Look from now on."""
        self._began, self.started_at = self._clock.seconds(), self._wall_clock()
        self._looking = Deferred.fromCoroutine(self._begin())

    @property
    def uptime(self) -> float:
        """Seconds since the start."""
        return self._clock.seconds() - self._began

    def stop(self) -> None:
        """Look no more; may be called twice."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.addErrback(lambda failure: failure.trap(CancelledError))
            looking.cancel()

    def _plan(self, seconds: float) -> None:
        self._call = self._clock.callLater(seconds, self._look)

    async def _begin(self) -> None:
        self._then = self._clock.seconds()
        self._before = await self._traffic.total()
        self._plan(STEP_SECONDS)

    def _look(self) -> None:
        self._call = None
        self._looking = Deferred.fromCoroutine(self._sample(self._before))

    async def _sample(self, before: Carried) -> None:
        now = self._clock.seconds()
        total = await self._traffic.total()
        seconds = max(now - self._then, 0.001)
        active = total.active + total.pending
        self.samples.append(
            Sample(
                self._wall_clock(),
                max(0, total.sent - before.sent) / seconds,
                max(0, total.received - before.received) / seconds,
                (total.connections - before.connections) / seconds,
                active,
            )
        )
        self._before, self._then = total, now
        self._plan(STEP_SECONDS * (_RARELY if active > _MANY_VISITORS else 1))
