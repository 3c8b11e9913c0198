"""Turns, and what happens to those who fail in them."""

from __future__ import annotations

import os
import select
import socket
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gateway.net.poller import (
    HANGUP,
    READABLE,
    WRITABLE,
    Poller,
    ReactorPoller,
    poller_for,
)


class FakeReactor(Clock):
    """A clock that remembers readers and writers."""

    def __init__(self):
        super().__init__()
        self.readers: set[Any] = set()
        self.writers: set[Any] = set()
        self.addReader, self.removeReader = self.readers.add, self.readers.discard
        self.addWriter, self.removeWriter = self.writers.add, self.writers.discard

    def timeout(self):
        """Return the seconds until the next timer, None without one."""
        due = [call.getTime() for call in self.getDelayedCalls()]
        return max(0.0, min(due) - self.seconds()) if due else None


class Descriptor:
    """One end of a pair of sockets; reads what it is told to."""

    def __init__(self, case, on_event=None):
        self.sock, self.peer = socket.socketpair()
        case.addCleanup(self.sock.close)
        case.addCleanup(self.peer.close)
        self.sock.setblocking(False)
        self.on_event = on_event or (lambda events: self.sock.recv(100))
        self.events = []
        self.failures = []
        self.is_broken = False

    @property
    def fd(self):
        return self.sock.fileno()

    def handle(self, events):
        self.events.append(events)
        self.on_event(events)

    def fail(self, reason):
        self.failures.append(reason)

    def broken(self):
        return self.is_broken


class PollerTests(SynchronousTestCase):
    """The epoll set, driven by hand."""

    def setUp(self):
        reactor: Any = FakeReactor()
        self.reactor = reactor
        self.poller: Any = Poller(reactor)

    def test_the_values_are_those_of_epoll(self):
        self.assertEqual(
            (READABLE, WRITABLE, HANGUP),
            (select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP),
        )

    def test_it_is_a_reader_while_it_watches_anything(self):
        first, second = Descriptor(self), Descriptor(self)
        self.poller.watch(first, READABLE)
        self.poller.watch(second, 0)
        self.assertEqual(self.reactor.readers, {self.poller})
        self.poller.forget(first)
        self.poller.forget(first)
        self.assertEqual(self.reactor.readers, {self.poller})
        self.poller.forget(second)
        self.assertEqual(self.reactor.readers, set())

    def test_events_are_told_as_the_mask_says(self):
        descriptor: Any = Descriptor(self)
        descriptor.peer.send(b"x")
        self.poller.watch(descriptor, 0)
        self.poller.doRead()
        self.assertEqual(descriptor.events, [])
        self.poller.watch(descriptor, READABLE)
        self.poller.doRead()
        self.assertEqual(descriptor.events, [READABLE])

    def test_a_hang_up_is_told_whatever_the_mask(self):
        descriptor: Any = Descriptor(self)
        descriptor.on_event = lambda events: self.poller.forget(descriptor)
        self.poller.watch(descriptor, 0)
        descriptor.peer.close()
        self.poller.doRead()
        self.assertEqual(descriptor.events, [HANGUP])

    def answering(self):
        """Return a descriptor whose peer says more as soon as it was read."""
        descriptor: Any = Descriptor(self)

        def on_event(events):
            descriptor.sock.recv(100)
            descriptor.peer.send(b"more")

        descriptor.on_event = on_event
        descriptor.peer.send(b"first")
        self.poller.watch(descriptor, READABLE)
        return descriptor

    def test_an_answer_that_comes_at_once_needs_no_way_through_the_reactor(self):
        descriptor = self.answering()
        self.poller.doRead()
        self.assertGreater(len(descriptor.events), 1)

    def test_a_busy_descriptor_lets_the_reactor_have_its_turn(self):
        """By number, for the clock stands still here."""
        descriptor = self.answering()
        self.poller.doRead()
        self.assertLess(len(descriptor.events), 1000)

    def test_a_timer_that_is_due_goes_before_further_events(self):
        descriptor = self.answering()
        self.reactor.callLater(0, lambda: None)
        self.poller.doRead()
        self.assertEqual(len(descriptor.events), 1)

    def test_the_turn_ends_after_its_whole_batch(self):
        happened = []

        def on_event(name, descriptor):
            descriptor.sock.recv(100)
            happened.append(name)
            self.poller.at_turn_end(lambda: happened.append(f"end {name}"))

        for name in ("a", "b"):
            descriptor: Any = Descriptor(self)
            descriptor.on_event = lambda events, name=name, descriptor=descriptor: (
                on_event(name, descriptor)
            )
            descriptor.peer.send(b"x")
            self.poller.watch(descriptor, READABLE)
        self.poller.doRead()
        self.assertEqual(sorted(happened[:2]), ["a", "b"])
        self.assertEqual(sorted(happened[2:]), ["end a", "end b"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_those_that_are_ready_share_the_reads_of_a_turn(self):
        for ready, reads in ((1, 4), (2, 2), (3, 1), (4, 1), (9, 1)):
            allowed: list[int] = []
            descriptors: list[Any] = [Descriptor(self) for _ in range(ready)]
            for descriptor in descriptors:

                def on_event(events, descriptor=descriptor, allowed=allowed):
                    descriptor.sock.recv(100)
                    allowed.append(self.poller.reads)

                descriptor.on_event = on_event
                descriptor.peer.send(b"x")
                self.poller.watch(descriptor, READABLE)
            self.poller.doRead()
            self.assertEqual(allowed, [reads] * ready)
            for descriptor in descriptors:
                self.poller.forget(descriptor)

    def test_outside_of_a_turn_its_end_is_forced(self):
        happened = []
        self.poller.at_turn_end(lambda: happened.append(1))
        self.assertEqual(happened, [])
        self.reactor.advance(0)
        self.assertEqual(happened, [1])

    def test_a_turn_in_time_spares_the_forcing(self):
        happened = []
        self.poller.at_turn_end(lambda: happened.append(1))
        descriptor: Any = Descriptor(self)
        descriptor.peer.send(b"x")
        self.poller.watch(descriptor, READABLE)
        self.poller.doRead()
        self.assertEqual(happened, [1])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_what_the_end_of_a_turn_adds_belongs_to_it(self):
        happened = []
        self.poller.at_turn_end(
            lambda: self.poller.at_turn_end(lambda: happened.append(1))
        )
        self.reactor.advance(0)
        self.assertEqual(happened, [1])

    def test_a_turn_ends_even_if_something_is_always_added(self):
        calls = []

        def again():
            calls.append(1)
            self.poller.at_turn_end(again)

        descriptor: Any = Descriptor(self)
        descriptor.on_event = lambda events: again()
        descriptor.peer.send(b"x")
        self.poller.watch(descriptor, READABLE)
        self.poller.doRead()
        self.assertLess(len(calls), 100)
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)

    def test_a_failing_end_does_not_stop_the_others(self):
        happened: list[int] = []
        empty: Any = {}
        self.poller.at_turn_end(lambda: empty.popitem(1))
        self.poller.at_turn_end(lambda: happened.append(1))
        self.reactor.advance(0)
        self.assertEqual(happened, [1])
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_a_failing_descriptor_fails_alone(self):
        def fail(events):
            raise SystemExit

        failing: Any = Descriptor(self, fail)
        sound = Descriptor(self)
        for descriptor in (failing, sound):
            descriptor.peer.send(b"x")
            self.poller.watch(descriptor, READABLE)
        failing.fail = lambda reason: self.poller.forget(failing)
        self.poller.doRead()
        self.assertEqual(len(self.flushLoggedErrors(SystemExit)), 1)
        self.assertEqual((sound.events, sound.failures), ([READABLE], []))

    def test_an_event_of_a_number_used_before_is_not_told(self):
        first, second, late = (Descriptor(self) for _ in range(3))
        served = []

        def take_over(descriptor, other):
            """Close `other` and let `late` have its number."""
            descriptor.sock.recv(100)
            served.append(descriptor)
            number = other.fd
            self.poller.forget(other)
            other.sock.detach()
            os.dup2(late.sock.fileno(), number)
            late.sock.close()
            late.sock = socket.socket(fileno=number)
            self.addCleanup(late.sock.close)
            self.poller.watch(late, READABLE)

        first.on_event = lambda events: take_over(first, second)
        second.on_event = lambda events: take_over(second, first)
        for descriptor in (first, second):
            descriptor.peer.send(b"x")
            self.poller.watch(descriptor, READABLE)
        self.poller.doRead()
        self.assertEqual((len(served), late.events), (1, []))

    def test_one_wake_up_serves_a_bounded_number_of_events(self):
        busy = [Descriptor(self, lambda events: None) for _ in range(2)]
        for descriptor in busy:
            descriptor.peer.send(b"x")
            self.poller.watch(descriptor, READABLE)
        self.poller.doRead()
        self.assertLess(sum(len(descriptor.events) for descriptor in busy), 2000)

    def test_the_end_of_the_reactor_fails_all(self):
        descriptor: Any = Descriptor(self)

        def fail(reason):
            descriptor.failures.append(reason)
            self.poller.forget(descriptor)
            self.poller.at_turn_end(lambda: None)

        descriptor.fail = fail
        self.poller.watch(descriptor, READABLE)
        self.poller.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(len(descriptor.failures), 1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_successor_gets_the_events(self):
        old, new = Descriptor(self), Descriptor(self)
        self.poller.watch(old, READABLE)
        old.peer.send(b"x")
        number = old.fd
        new.sock.close()
        new.sock, old.sock = old.sock, new.sock
        self.assertEqual(new.fd, number)
        self.poller.hand_over(old, new)
        self.poller.doRead()
        self.assertEqual((old.events, new.events), ([], [READABLE]))


class ReactorPollerTests(SynchronousTestCase):
    """The one without epoll."""

    def setUp(self):
        reactor: Any = FakeReactor()
        self.reactor = reactor
        self.poller: Any = ReactorPoller(reactor)

    def test_masks_become_readers_and_writers(self):
        descriptor: Any = Descriptor(self, lambda events: None)
        self.poller.watch(descriptor, READABLE | WRITABLE)
        (seat,) = self.reactor.readers
        self.assertEqual(self.reactor.writers, {seat})
        self.poller.watch(descriptor, WRITABLE)
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), {seat}))
        seat.doWrite()
        self.assertEqual(descriptor.events.pop(), WRITABLE)
        self.poller.forget(descriptor)
        self.poller.forget(descriptor)
        self.assertEqual(self.reactor.writers, set())

    def test_an_idle_descriptor_is_asked_for_a_reset(self):
        descriptor: Any = Descriptor(
            self, lambda events: self.poller.forget(descriptor)
        )
        self.poller.watch(descriptor, 0)
        self.reactor.advance(1.0)
        self.assertEqual(descriptor.events, [])
        descriptor.is_broken = True
        self.reactor.advance(1.0)
        self.assertEqual(len(descriptor.events), 1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_no_idle_descriptor_no_timer(self):
        descriptor: Any = Descriptor(self)
        self.poller.watch(descriptor, 0)
        self.poller.watch(descriptor, READABLE)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_the_end_of_the_reactor_fails_the_descriptor(self):
        descriptor: Any = Descriptor(self)
        self.poller.watch(descriptor, READABLE)
        (seat,) = self.reactor.readers
        seat.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(len(descriptor.failures), 1)


class ChoiceTests(SynchronousTestCase):
    """Which poller is taken."""

    def test_epoll_is_taken_where_it_is(self):
        reactor: Any = FakeReactor()
        self.assertIsInstance(poller_for(reactor), Poller)
        self.patch(select, "epoll", None)
        del select.epoll
        self.assertIsInstance(poller_for(reactor), ReactorPoller)
