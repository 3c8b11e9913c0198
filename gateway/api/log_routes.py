"""Routes of the log: its last lines, and which lines are written."""

from __future__ import annotations

import re
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.iweb import IRequest

from gateway.api.audit import Outcome
from gateway.api.exchange import (
    Endpoint,
    Exchange,
    query_choice,
    query_number,
    query_text,
)
from gateway.api.listing import array
from gateway.api.log_rows import (
    CURSOR_PATTERN,
    ComponentLevel,
    LogLevelBody,
    LogLevels,
    LogLine,
    LogLines,
)
from gateway.api.tokens import ADMIN
from gateway.errors import BadRequestError, RoleDeniedError
from gateway.ops.levels import LEVELS, Levels
from gateway.ops.recent import MOST_LINES, Lines, RecentLines, Record, Wanted

LINE: Final = 20  # cost of a line of the log that is looked at
MOST_WAIT_SECONDS: Final = 25
LOOK_SECONDS: Final = 0.25  # between two looks for those who wait for lines
MOST_WAITING: Final = 50  # requests; others are answered at once
_CURSOR: Final = re.compile(CURSOR_PATTERN)
_OWN_KEYS: Final = ("number", "timestamp", "level", "component", "message")
_RANKS: Final = {label: rank for rank, label in enumerate(LEVELS)}


class LogRoutes:
    """Show the last lines, and switch levels; both for administrators alone."""

    def __init__(
        self,
        exchange: Exchange,
        recent: RecentLines,
        levels: Levels,
        clock: IReactorTime,
    ) -> None:
        self._exchange = exchange
        self._recent = recent
        self._levels = levels
        self._clock = clock
        self._waiting = 0

    def routes(self) -> list[Endpoint]:
        """Return what this group answers."""
        return [
            Endpoint("GET", "/api/logs", self._lines),
            Endpoint("GET", "/api/log/level", self._show_levels),
            Endpoint("POST", "/api/log/level", self._switch),
        ]

    async def _lines(self, request: IRequest) -> bytes:
        # lines hold addresses of visitors and what others did
        role = self._exchange.caller(request).role
        if role != ADMIN:
            raise RoleDeniedError(role=role)
        wanted = Wanted(
            least=_RANKS[query_choice(request, "level", LEVELS) or "debug"],
            component=query_text(request, "component") or "",
            trace=query_text(request, "trace") or "",
        )
        count = query_number(request, b"count", 100, MOST_LINES) or 100
        wait = query_number(request, b"wait", 0, MOST_WAIT_SECONDS, least=0) or 0
        after = query_text(request, "after")
        if after is None:
            found = await self._newest(count, wanted)
        else:
            number = self._number(after)
            found = await self._after(number or 0, count, wanted)
            # a cursor of another process is answered at once, with one of this
            if wait and number is not None and not found.records:
                found = await self._later(found, count, wanted, wait)
        cursor, lost = f"{self._recent.epoch}-{found.last}", found.lost
        return await self._exchange.reply_list(
            request,
            "log_listed",
            lambda _: LogLines(lines=[], cursor=cursor, lost=lost),
            "lines",
            array(map(_row, found.records)),
        )

    async def _newest(self, count: int, wanted: Wanted) -> Lines:
        """Return the newest lines, looked for in slices."""
        last = self._recent.last
        records: list[Record] = []
        lines = self._recent.each_newest(wanted)
        async for piece in self._exchange.slices.pieces(lines, LINE):
            records += [one for one in piece if one is not None]
            if len(records) >= count:
                break
        return Lines(records[:count][::-1], last, 0)

    async def _after(self, number: int, count: int, wanted: Wanted) -> Lines:
        """Return lines that came after a number, looked for in slices."""
        lost = self._recent.lost_after(number)
        last = number + lost
        records: list[Record] = []
        lines = self._recent.each_after(number, wanted)
        async for piece in self._exchange.slices.pieces(lines, LINE):
            for at, record in piece:
                if len(records) < count:
                    last = at
                    records += [] if record is None else [record]
            if len(records) >= count:
                break
        return Lines(records, last, lost)

    def _number(self, cursor: str) -> int | None:
        """Return the line that a cursor stands behind; None for another process's."""
        if _CURSOR.fullmatch(cursor) is None:
            raise BadRequestError(
                detail="after: take the `cursor` of the answer before, unchanged"
            )
        epoch, _, digits = cursor.partition("-")
        number = int(digits)
        ours = epoch == self._recent.epoch and number <= self._recent.last
        return number if ours else None

    async def _later(
        self, found: Lines, count: int, wanted: Wanted, wait_seconds: int
    ) -> Lines:
        """Wait for lines; a caller who leaves cancels this."""
        deadline = self._clock.seconds() + wait_seconds
        lost = found.lost
        if self._waiting >= MOST_WAITING:
            return found
        self._waiting += 1
        try:
            while not found.records and self._clock.seconds() < deadline:
                await deferLater(self._clock, LOOK_SECONDS)
                found = await self._after(found.last, count, wanted)
                lost += found.lost
        finally:
            self._waiting -= 1
        return found._replace(lost=lost)

    def _show_levels(self, request: IRequest) -> bytes:
        return self._exchange.reply(request, "log_levels_listed", self._row())

    async def _switch(self, request: IRequest) -> bytes:
        body = self._exchange.body(request, LogLevelBody)
        subject = body.component or "*"
        act = self._exchange.act(request, "log.level", subject)
        before = self._row().model_dump(mode="json")  # nothing is awaited from here on
        row = await self._exchange.change(
            act,
            self._switched(body),
            lambda row: Outcome(subject, before, row.model_dump(mode="json")),
        )
        return self._exchange.reply(request, "log_level_set", row)

    async def _switched(self, body: LogLevelBody) -> LogLevels:
        try:
            self._levels.switch(body.component, body.level, body.for_seconds)
        except ValueError as fault:
            raise BadRequestError(detail=str(fault)) from None
        return self._row()

    def _row(self) -> LogLevels:
        switched, configured = self._levels.switched(), self._levels.configured()
        _, left = switched.pop("", ("", None))
        names = sorted(configured.keys() | switched.keys())
        return LogLevels(
            level=self._levels.usual,
            configured=self._levels.configured_usual,
            seconds_left=None if left is None else round(left),
            components=[
                _component(name, switched.get(name), configured.get(name))
                for name in names
            ],
        )


def _component(
    name: str, switched: tuple[str, float | None] | None, configured: str | None
) -> ComponentLevel:
    level, left = switched or (configured or "", None)
    return ComponentLevel(
        component=name,
        level=level,
        configured=configured,
        seconds_left=None if left is None else round(left),
    )


def _row(record: dict[str, Any]) -> LogLine:
    own = {key: record[key] for key in _OWN_KEYS}
    rest = {
        key: value
        for key, value in record.items()
        if key not in own and key != "service"
    }
    return LogLine(**own, fields=rest)
