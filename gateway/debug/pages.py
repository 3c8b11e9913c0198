"""The pages of the debug site."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from html import escape
from typing import Any, Final, NamedTuple

from twisted.web import http
from twisted.web.iweb import IRequest

from gateway.debug.census import (
    IWatchingReactor,
    in_full,
    in_short,
    take_census,
    thread_clock,
)
from gateway.debug.cmdline import without_secrets
from gateway.debug.measuring import MOST_SECONDS, Measuring
from gateway.debug.memory import DEEP_FRAMES, MemoryTrace
from gateway.debug.profiles import collapsed, flame, pstats_of, table
from gateway.debug.sampling import Sampler, Samples
from gateway.debug.turns import TurnTrace

ROOT: Final = "/debug/pprof/"
TEXT: Final = "text/plain; charset=utf-8"
_PROFILES: Final[dict[str, tuple[str, Callable[[Samples], bytes]]]] = {
    "pstats": ("application/octet-stream", pstats_of),
    "text": (TEXT, lambda samples: table(samples).encode()),
    "collapsed": (TEXT, lambda samples: collapsed(samples).encode()),
    "flame": ("image/svg+xml", lambda samples: flame(samples).encode()),
}


class RefusedError(Exception):
    """A request that gets no page.

    Attributes:
        code: HTTP status.
    """

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Page(NamedTuple):
    """An answer."""

    kind: str
    body: bytes


class Pages:
    """Makes each page."""

    def __init__(
        self,
        reactor: IWatchingReactor,
        ledgers: Callable[[], list[dict[str, Any]]],
        as_text: Callable[[list[dict[str, Any]]], str],
    ) -> None:
        """Measure nothing yet.

        Args:
            reactor: is looked at.
            ledgers: what each link holds, as values for JSON.
            as_text: the same for people.
        """
        self._reactor = reactor
        self._ledgers = ledgers
        self._as_text = as_text
        self._measuring = Measuring(reactor)
        self.paths: Final = {
            ROOT: (self.index, "this page"),
            f"{ROOT}goroutine": (
                self.goroutine,
                "what is waited for; debug=2: each with the stacks of all threads",
            ),
            f"{ROOT}profile": (
                self.profile,
                "processor time, seconds=30, format=pstats, text, collapsed or flame",
            ),
            f"{ROOT}heap": (self.heap, "memory by line, taken within seconds=5"),
            f"{ROOT}allocs": (self.allocs, "the same by callers and number of blocks"),
            f"{ROOT}trace": (self.trace, "turns of the event loop, seconds=5"),
            f"{ROOT}cmdline": (self.cmdline, "the command line, without secrets"),
            "/debug/links": (
                self.links,
                "credit, queues and streams of each link, format=json or text",
            ),
        }

    async def index(self, request: IRequest) -> Page:
        """List the pages."""
        total = take_census(self._reactor).total
        rows = "".join(
            f'<tr><td><a href="{path}">{path}</a></td><td>{escape(words)}</td></tr>'
            for path, (_, words) in self.paths.items()
        )
        return Page(
            "text/html; charset=utf-8",
            f"<!DOCTYPE html><title>gotunnel debug</title><h1>process {os.getpid()}"
            f"</h1><p>goroutine profile: total {total}</p>"
            f"<table>{rows}</table>\n".encode(),
        )

    async def goroutine(self, request: IRequest) -> Page:
        """Count readers, delayed calls and threads."""
        level = _choice(request, "debug", ("1", "2"))
        census = take_census(self._reactor)
        return Page(TEXT, (in_full if level == "2" else in_short)(census).encode())

    async def profile(self, request: IRequest) -> Page:
        """Say what the processor did."""
        seconds = _seconds(request, 30.0)
        kind, written = _PROFILES[_choice(request, "format", tuple(_PROFILES))]

        def begin() -> Sampler:
            sampler = Sampler(thread_clock())
            sampler.start()
            return sampler

        body = await self._measuring.measure(
            "a profile",
            seconds,
            begin,
            lambda sampler: written(sampler.stop()),
            Sampler.stop,
        )
        return Page(kind, body)

    async def heap(self, request: IRequest) -> Page:
        """Say which lines took memory."""
        seconds = _seconds(request, 5.0)
        body = await self._measuring.measure(
            "a trace of memory",
            seconds,
            lambda: MemoryTrace(1),
            lambda trace: trace.by_line(seconds).encode(),
            MemoryTrace.abandon,
        )
        return Page(TEXT, body)

    async def allocs(self, request: IRequest) -> Page:
        """Say who asked for it."""
        seconds = _seconds(request, 5.0)
        body = await self._measuring.measure(
            "a trace of memory",
            seconds,
            lambda: MemoryTrace(DEEP_FRAMES),
            lambda trace: trace.by_callers(seconds).encode(),
            MemoryTrace.abandon,
        )
        return Page(TEXT, body)

    async def trace(self, request: IRequest) -> Page:
        """Say how long turns take."""
        seconds = _seconds(request, 5.0)

        def begin() -> TurnTrace:
            trace = TurnTrace(self._reactor, self._reactor.seconds)
            trace.start()
            return trace

        body = await self._measuring.measure(
            "a trace of turns",
            seconds,
            begin,
            lambda trace: trace.stop().encode(),
            TurnTrace.stop,
        )
        return Page(TEXT, body)

    async def cmdline(self, request: IRequest) -> Page:
        """Say how the process was started."""
        words = without_secrets([sys.executable, *sys.argv])
        return Page(TEXT, "\0".join(words).encode("utf-8", "surrogateescape"))

    async def links(self, request: IRequest) -> Page:
        """Say what each link holds."""
        ledgers = self._ledgers()
        if _choice(request, "format", ("json", "text")) == "text":
            return Page(TEXT, self._as_text(ledgers).encode("utf-8", "replace"))
        body = json.dumps({"links": ledgers}, indent=1) + "\n"
        return Page("application/json", body.encode())


def _argument(request: IRequest, name: str) -> str | None:
    values = request.args.get(name.encode())
    return None if not values else str(values[-1].decode("latin-1"))


def _seconds(request: IRequest, usual: float) -> float:
    text = _argument(request, "seconds")
    if text is None:
        return usual
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= MOST_SECONDS:
        raise RefusedError(
            http.BAD_REQUEST, f"seconds: give a number from 0.1 to {MOST_SECONDS:g}"
        )
    return seconds


def _choice(request: IRequest, name: str, words: tuple[str, ...]) -> str:
    """Return what was chosen; the first word is what is usual."""
    word = _argument(request, name) or words[0]
    if word not in words:
        raise RefusedError(http.BAD_REQUEST, f"{name}: give {' or '.join(words)}")
    return word
