"""One run of the benchmark: cases in order, each with its twin without a relay."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway.bench.cases import Case, Mode
from gateway.bench.crew import Crew
from gateway.bench.dialling import find
from gateway.bench.greeting import Part
from gateway.bench.loads import Load, Tally
from gateway.bench.scraping import Scraper, Scrapes
from gateway.bench.usage import Usage
from gateway.bench.worker import PARTS
from gateway.errors import BenchError


class Place(NamedTuple):
    """Where the far end answers, perhaps behind a relay."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one case gave.

    Attributes:
        far_usage: of the far end, as shares of the time; None if it does not tell.
        direct: the same without a relay, None if that was not measured.
        scrapes: what was asked beside the load, None if nothing was.
    """

    case: Case
    tally: Tally
    far_usage: Usage | None
    direct: Tally | None = None
    scrapes: Scrapes | None = None

    @property
    def tallies(self) -> tuple[Tally, ...]:
        """What was counted, with a relay and perhaps without."""
        return (self.tally,) if self.direct is None else (self.tally, self.direct)

    @property
    def load_was_limit(self) -> bool:
        """Whether a load worker never had to wait for anybody else."""
        return self.tally.usage.was_limit

    @property
    def far_was_limit(self) -> bool:
        """Whether the far end never had to wait for anybody else."""
        return self.far_usage is not None and self.far_usage.was_limit

    @property
    def ratio(self) -> float | None:
        """The speed as a share of the speed without a relay."""
        if self.direct is None or not self.direct.bytes_a_second:
            return None
        return self.tally.bytes_a_second / self.direct.bytes_a_second


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one mode gave.

    Attributes:
        seconds: how long each case was to last.
        results: in the order of the cases; fewer if the user ended the run.
    """

    mode: Mode
    seconds: float
    workers: int
    results: Sequence[Result]

    @property
    def sound(self) -> bool:
        """Whether every message came back right and no connection was lost.

        What was asked beside the load was answered to its end, too.
        """
        return all(
            not (one.scrapes and one.scrapes.fault)
            and all(tally.sound for tally in one.tallies)
            for one in self.results
        )


class Bench:
    """Measures what is asked for, one case after the other."""

    def __init__(
        self,
        place: Place,
        *,
        direct: Place | None,
        seconds: float,
        workers: int,
        is_stopped: Callable[[], bool],
        on_progress: Callable[[float, int], None],
        scrape: str | None = None,
    ) -> None:
        """Remember the settings.

        Args:
            place: where the load goes.
            direct: the same far end without a relay; None = it is not measured.
            seconds: how long each case lasts.
            workers: processes that make the load.
            is_stopped: whether the user wants an end.
            on_progress: is told the seconds and the bytes of each measurement so far.
            scrape: address that is asked again and again beside the load through the
                relay; None = none.
        """
        self._scrape = scrape
        self._place = place
        self._direct = direct
        self._seconds = seconds
        self._workers = workers
        self._is_stopped = is_stopped
        self._on_progress = on_progress

    def result(self, case: Case) -> Result | None:
        """Measure one case; None if the user ended it before it began.

        Raises:
            BenchError: the far end does not answer, or cannot serve the case.
        """
        if self._is_stopped():
            return None
        scraper = None if self._scrape is None else Scraper(self._scrape)
        if scraper is not None:
            scraper.start()
        try:
            measured, far_usage = self._measure(self._place, case)
        finally:
            scrapes = None if scraper is None else scraper.stop()
        if not measured.seconds and not measured.lost:
            return None
        direct = None
        if self._direct is not None and not self._is_stopped():
            direct, _ = self._measure(self._direct, case)
        return Result(
            case=case,
            tally=measured,
            far_usage=far_usage,
            direct=direct,
            scrapes=scrapes,
        )

    def _measure(self, place: Place, case: Case) -> tuple[Tally, Usage | None]:
        part = PARTS[case.kind]
        address, _ = find(place.host, place.port, part)
        crew = Crew(
            Load(
                kind=case.kind,
                host=address,
                port=place.port,
                connections=case.connections,
                size=case.size,
                seconds=self._seconds,
            ),
            self._workers,
            is_stopped=self._is_stopped,
            on_progress=self._on_progress,
        )
        meter = _Meter(Place(address, place.port))
        tally = crew.run(meter.start)
        return tally, meter.usage()


class _Meter:
    """How busy a far end is, which it tells with every greeting."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._before: Usage | None = None
        self._started = 0.0

    def start(self) -> None:
        """Read it for the first time."""
        _, self._before = find(*self._place, Part.ECHO)
        self._started = time.monotonic()

    def usage(self) -> Usage | None:
        """Return its shares of the time since then; None if nobody knows."""
        if self._before is None:
            return None
        passed = time.monotonic() - self._started
        try:
            _, after = find(*self._place, Part.ECHO)
        except BenchError:  # the tally says what became of the connections
            return None
        return None if after is None else after.share_since(self._before, passed)
