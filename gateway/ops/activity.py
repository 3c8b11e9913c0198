"""Count what the process waits for, without looking at it."""

from __future__ import annotations

import threading
from typing import NamedTuple

from twisted.internet.interfaces import IReactorFDSet, IReactorTime

from gateway.net.poller import Poller


class Activity(NamedTuple):
    """What there is now.

    Attributes:
        readers: descriptors that are watched, by the reactor or by our poller.
        delayed_calls: timers that are set.
        threads: threads of the process.
    """

    readers: int
    delayed_calls: int
    threads: int


def activity_of(reactor: IReactorTime) -> Activity:
    """Return what a reactor watches and waits for; a fake one watches nothing."""
    readers = 0
    if IReactorFDSet.providedBy(reactor):
        for reader in reactor.getReaders():
            readers += 1
            if isinstance(reader, Poller):
                readers += len(list(reader.watched()))
    return Activity(readers, len(reactor.getDelayedCalls()), threading.active_count())
