"""Which log lines are written: the level of each component, now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import LogLevel

LEVELS: Final[Mapping[str, LogLevel]] = {
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warn": LogLevel.warn,
    "error": LogLevel.error,
    "fatal": LogLevel.critical,
}
# the words of the configuration by those of Twisted, and their order
NAMES: Final = {level.name: label for label, level in LEVELS.items()}
RANKS: Final = {level.name: rank for rank, level in enumerate(LEVELS.values())}
WARN: Final = RANKS["warn"]
MOST_SWITCHED: Final = 64  # components with a level of their own by switch
MOST_KNOWN: Final = 1024  # components whose level is remembered
_OTHERS: Final = ("twisted", "log_legacy")


class Switched(NamedTuple):
    """A level that was set while the process runs.

    Attributes:
        level: one of `LEVELS`.
        timer: sets it back; None = it stays until it is changed.
    """

    level: str
    timer: IDelayedCall | None


class Levels:
    """The least severity that is written, of each component.

    A component is a module or class by its dotted name, with all below it; the longest
    name that fits decides, and a switched level stands above a configured one of the
    same name.  Lines of Twisted itself appear from warnings upward only, unless
    they have a level of their own or everything is written.
    """

    def __init__(
        self,
        usual: str,
        components: Mapping[str, str] | None = None,
        clock: IReactorTime | None = None,
    ) -> None:
        """Take what is configured.

        Args:
            usual: of all that have no level of their own.
            components: level by component.
            clock: for levels that are set for a while; None = there are none.
        """
        self._usual = usual
        self._configured = dict(components or {})
        self._switched: dict[str, Switched] = {}
        self._raised: Switched | None = None  # of everything
        self._clock = clock
        self._known: dict[str, int] = {}

    @property
    def usual(self) -> str:
        """The level of components without one of their own."""
        if self._raised is not None:
            return self._raised.level
        switched = self._switched.get("")
        return self._usual if switched is None else switched.level

    def least(self, component: str) -> int:
        """Return the rank (see `RANKS`) from which a component's lines are written."""
        try:
            return self._known[component]
        except KeyError:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            found = self._known[component] = self._find(component)
            return found

    def _find(self, component: str) -> int:
        if self._raised is not None:
            return RANKS[LEVELS[self._raised.level].name]
        usual = RANKS[LEVELS[self.usual].name]
        name = component
        while name:
            switched = self._switched.get(name)
            level = self._configured.get(name) if switched is None else switched.level
            if level is not None:
                return RANKS[LEVELS[level].name]
            name = name.rpartition(".")[0]
        if usual and component.startswith(_OTHERS):
            return max(usual, WARN)
        return usual

    @property
    def is_raised(self) -> bool:
        """Whether everything is written."""
        return self._raised is not None

    def raise_all(self, for_seconds: float) -> None:
        """Write everything that any component says, whatever level it has.

        Args:
            for_seconds: then each has its own level again.
        """
        self.lower_all()
        timer = None
        if self._clock is not None:
            timer = self._clock.callLater(for_seconds, self.lower_all)
        self._raised = Switched("debug", timer)
        self._known.clear()

    def lower_all(self) -> None:
        """Give each component its own level again; may be called twice."""
        raised, self._raised = self._raised, None
        _cancel(raised)
        self._known.clear()

    def configure(self, usual: str, components: Mapping[str, str]) -> bool:
        """Take a changed configuration; tell whether it is another one."""
        changed = (usual, dict(components)) != (self._usual, self._configured)
        self._usual, self._configured = usual, dict(components)
        self._known.clear()
        return changed

    def switch(
        self, component: str, level: str | None, for_seconds: float | None = None
    ) -> None:
        """Set a component's level, or set it back to what is configured.

        Args:
            component: its name; empty = all that have no level of their own.
            level: one of `LEVELS`; None = as configured.
            for_seconds: then it is set back; None = it stays.

        Raises:
            ValueError: too many are switched already.
        """
        _cancel(self._switched.pop(component, None))
        self._known.clear()
        if level is None:
            return
        if len(self._switched) >= MOST_SWITCHED:
            raise ValueError(
                f"{MOST_SWITCHED} components have a level of their own, which is the "
                "limit: set some back first"
            )
        timer = None
        if for_seconds is not None and self._clock is not None:
            timer = self._clock.callLater(for_seconds, self.switch, component, None)
        self._switched[component] = Switched(level, timer)

    @property
    def configured_usual(self) -> str:
        """The level that the configuration gives to all without one of their own."""
        return self._usual

    def configured(self) -> dict[str, str]:
        """Return the configured level of each component that has one."""
        return dict(self._configured)

    def switched(self) -> dict[str, tuple[str, float | None]]:
        """Return levels that hold at present, by component, and their seconds left.

        While everything is written, that is every component that has a level.
        """
        now = 0.0 if self._clock is None else self._clock.seconds()
        found = dict(self._switched)
        if self._raised is not None:
            names = {"", *self._configured, *self._switched}
            found |= dict.fromkeys(names, self._raised)
        return {
            component: (
                one.level,
                None if one.timer is None else max(0.0, one.timer.getTime() - now),
            )
            for component, one in sorted(found.items())
        }

    def stop(self) -> None:
        """Release timers; may be called twice."""
        self.lower_all()
        for component in list(self._switched):
            self.switch(component, None)


def _cancel(switched: Switched | None) -> None:
    if switched is None or switched.timer is None or not switched.timer.active():
        return
    switched.timer.cancel()
