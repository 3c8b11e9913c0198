"""How far a measurement is, on a terminal; nothing anywhere else."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.bench.figures import megabytes

_COLUMNS: Final = (
    TextColumn("{task.description}"),
    BarColumn(),
    TextColumn("{task.fields[speed]}"),
    TimeRemainingColumn(),
)


class Gauge:
    """A bar over all measurements of a run; a context."""

    def __init__(self, console: Console, total_seconds: float) -> None:
        """Remember how long the whole lasts; shown only if `console` is a terminal."""
        self._progress = Progress(
            *_COLUMNS, console=console, transient=True, disable=not console.is_terminal
        )
        self._task = self._progress.add_task("", total=total_seconds, speed="")
        self._done_seconds = 0.0
        self._passed_seconds = 0.0

    def __enter__(self) -> Gauge:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, name: str) -> None:
        """Say what is measured from now on."""
        self._progress.update(self._task, description=name)

    def show(self, seconds: float, arrived: int) -> None:
        """Say how long this measurement has lasted and how many bytes it counted."""
        if seconds < self._passed_seconds:  # another one has begun
            self._done_seconds += self._passed_seconds
        self._passed_seconds = seconds
        speed = f"{megabytes(arrived / seconds)} MB/s" if seconds and arrived else ""
        done = self._done_seconds + seconds
        self._progress.update(self._task, completed=done, speed=speed)
