"""A fake clock that jumps from one event to the next."""

from bisect import insort

from twisted.internet.base import DelayedCall
from twisted.internet.task import Clock

INSTANT_LIMIT = 200_000  # calls of one instant; more is a loop that never ends


class BusyLoopError(AssertionError):
    """Something keeps calling itself while no time passes."""


class SimClock(Clock):
    """A `Clock` for many timers: each is put in its place, none is sorted again."""

    def callLater(self, delay, callable, *args, **kw):
        """Plan a call; calls of one moment keep their order."""
        call = DelayedCall(
            self.rightNow + delay,
            callable,
            args,
            kw,
            self.calls.remove,
            lambda _call: self._sortCalls(),
            self.seconds,
        )
        insort(self.calls, call, key=DelayedCall.getTime)
        return call

    def run_until(self, moment):
        """Make every call that is due until `moment`, each exactly at its time."""
        calls = self.calls
        instant = 0
        while calls and (when := calls[0].getTime()) <= moment:
            if when > self.rightNow:
                self.rightNow = when
                instant = 0
            instant += 1
            if instant > INSTANT_LIMIT:
                raise BusyLoopError(f"no end at {self.rightNow:.6f}: {calls[0]}")
            call = calls.pop(0)
            call.called = 1
            call.func(*call.args, **call.kw)
        self.rightNow = max(self.rightNow, moment)

    def run(self, seconds):
        """Let some time pass."""
        self.run_until(self.rightNow + seconds)

    def run_while(self, condition, seconds):
        """Let time pass while `condition()` holds, `seconds` at most."""
        end = self.rightNow + seconds
        while condition() and self.rightNow < end:
            following = self.calls[0].getTime() if self.calls else end
            self.run_until(min(end, max(following, self.rightNow)))
