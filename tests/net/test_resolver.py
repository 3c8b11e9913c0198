"""Looking names up while some of them hang."""

import socket
import threading
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gateway.errors import UnresolvableError
from gateway.net.resolver import (
    ANSWER_SECONDS,
    FAILURE_SECONDS,
    MOST_ADDRESSES,
    MOST_QUEUED,
    MOST_REMEMBERED,
    PLACES,
    PROMPT,
    QUEUE_SECONDS,
    RESERVED,
    TOLD_PER_TURN,
    UNPROVEN,
    Found,
    Resolver,
    ask_system,
)
from tests.net.real import reactor, until


class ThreadClock(Clock):
    """A clock that threads may call back."""

    def callFromThread(self, call, *given):
        call(*given)


class ResolverCase(SynchronousTestCase):
    """Look-ups that the test answers."""

    def setUp(self):
        self.clock = ThreadClock()
        self.threads = []  # what runs in each thread that was started
        self.answers = {}
        self.asked = []
        self.no_threads = False
        clock: Any = self.clock
        self.resolver = Resolver(clock, self.ask, self.start)

    def start(self, work):
        if self.no_threads:
            raise RuntimeError("can't start new thread")
        self.threads.append(work)

    def ask(self, name):
        self.asked.append(name)
        return self.answers.get(name, Found(("192.0.2.1",)))

    def answer(self, seconds=0.0):
        """End every look-up that runs, after so many seconds."""
        self.clock.advance(seconds)
        running, self.threads = self.threads, []
        for work in running:
            work()

    def fill(self, kind, count=None, *, prefix="hung"):
        """Begin so many look-ups that do not end; the default fills every place."""
        count = PLACES[kind] if count is None else count
        names = [f"{prefix}-{number}.test" for number in range(count)]
        return [self.resolver.resolve(name) for name in names]

    def prove(self, *names):
        """Have names answered promptly, and their answers forgotten."""
        for name in names:
            self.successResultOf(self.asked_and_answered(name))
        self.clock.advance(ANSWER_SECONDS)

    def asked_and_answered(self, name):
        found = self.resolver.resolve(name)
        self.answer()
        return found

    def message(self, outcome):
        return str(self.failureResultOf(outcome, UnresolvableError).value)


class SharingTests(ResolverCase):
    """Equal names."""

    def test_equal_names_in_progress_share_one_look_up(self):
        found = [self.resolver.resolve(name) for name in ("a.test", "A.test") * 50]
        self.assertEqual(1, len(self.threads))
        self.answer()
        self.clock.advance(0)
        for one in found:
            self.assertEqual(["192.0.2.1"], self.successResultOf(one))

    def test_those_who_wait_are_told_some_in_each_turn(self):
        found = [self.resolver.resolve("a.test") for _ in range(2 * TOLD_PER_TURN + 1)]
        self.answer()
        self.assertEqual(TOLD_PER_TURN, sum(one.called for one in found))
        self.clock.advance(0)
        self.assertTrue(all(one.called for one in found))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_one_that_is_told_may_cancel_the_others(self):
        first, second = (self.resolver.resolve("a.test") for _ in range(2))
        first.addCallback(lambda _: second.cancel())
        self.answer()
        self.failureResultOf(second, CancelledError)

    def test_an_answer_is_remembered_for_5_seconds(self):
        self.asked_and_answered("a.test")
        self.clock.advance(ANSWER_SECONDS - 0.1)
        self.assertEqual(
            ["192.0.2.1"], self.successResultOf(self.resolver.resolve("a.test"))
        )
        self.assertEqual(["a.test"], self.asked)
        self.clock.advance(0.1)
        self.assertNoResult(self.resolver.resolve("a.test"))

    def test_a_failure_is_remembered_for_1_second(self):
        self.answers["a.test"] = Found(fault="nothing")
        self.assertEqual("nothing", self.message(self.asked_and_answered("a.test")))
        self.clock.advance(FAILURE_SECONDS - 0.1)
        self.assertEqual("nothing", self.message(self.resolver.resolve("a.test")))
        self.clock.advance(0.1)
        self.assertNoResult(self.resolver.resolve("a.test"))

    def test_what_is_remembered_is_bounded(self):
        for number in range(MOST_REMEMBERED + 10):
            self.asked_and_answered(f"{number}.test")
        self.assertEqual(MOST_REMEMBERED, len(self.resolver._remembered))
        self.assertEqual(MOST_REMEMBERED, len(self.resolver._prompt))

    def test_each_gets_a_list_of_its_own(self):
        self.successResultOf(self.asked_and_answered("a.test")).clear()
        self.assertEqual(
            ["192.0.2.1"], self.successResultOf(self.resolver.resolve("a.test"))
        )

    def test_who_waits_no_longer_is_forgotten(self):
        found = [self.resolver.resolve("a.test") for _ in range(1000)]
        for one in found:
            one.cancel()
            self.failureResultOf(one, CancelledError)
        (look_up,) = self.resolver._current.values()
        self.assertEqual({}, look_up.waiters)
        self.answer()
        self.assertEqual({}, self.resolver._current)

    def test_a_look_up_that_raises_gives_its_place_back(self):
        def ask(name):
            raise ZeroDivisionError

        self.resolver._ask = ask
        self.assertIn("ZeroDivision", self.message(self.asked_and_answered("a.test")))
        self.assertEqual(0, sum(self.resolver._running.values()))

    def test_a_system_without_threads_fails_the_look_up_only(self):
        self.no_threads = True
        found = self.resolver.resolve("a.test")
        self.assertIn("can't start new thread", self.message(found))
        self.no_threads = False
        self.successResultOf(self.asked_and_answered("a.test"))


class PlacesTests(ResolverCase):
    """Names that hang, and those that must not wait for them."""

    def test_one_name_holds_one_place_however_often_it_is_asked_for(self):
        for _ in range(1000):
            self.resolver.resolve("hung.test").addErrback(lambda _: None).cancel()
        self.assertEqual(1, len(self.threads))
        self.assertEqual(1, sum(self.resolver._running.values()))

    def test_a_name_beside_one_that_hangs_does_not_wait(self):
        self.resolver.resolve("hung.test")
        (hung,) = self.threads
        self.threads.clear()
        self.successResultOf(self.asked_and_answered("good.test"))
        hung()

    def test_names_that_hang_leave_places_to_those_that_answered_promptly(self):
        self.prove("good.test")
        self.fill(UNPROVEN, 5 * PLACES[UNPROVEN])
        self.assertEqual(PLACES[UNPROVEN], len(self.threads))
        hung, self.threads = self.threads, []
        self.successResultOf(self.asked_and_answered("good.test"))
        self.assertEqual(PLACES[UNPROVEN], len(hung))

    def test_a_name_that_begins_to_hang_loses_its_good_name(self):
        names = [f"{number}.test" for number in range(PLACES[PROMPT])]
        self.prove(*names)
        for name in names:
            self.resolver.resolve(name)
        self.assertEqual(PLACES[PROMPT], len(self.threads))
        self.answer(30.0)
        self.clock.advance(ANSWER_SECONDS)
        for name in names:
            self.resolver.resolve(name)
        self.assertEqual(PLACES[UNPROVEN], len(self.threads))

    def test_reserved_names_have_places_of_their_own(self):
        self.prove(*(f"prompt-{number}.test" for number in range(PLACES[PROMPT])))
        self.fill(UNPROVEN)
        self.fill(PROMPT, prefix="prompt")
        self.assertEqual(PLACES[PROMPT], len(self.threads))
        self.threads.clear()
        found = self.resolver.resolve("gateway.test", reserved=True)
        self.answer()
        self.successResultOf(found)

    def test_a_reserved_name_does_not_wait_behind_itself(self):
        """A target of the same name may be in the queue already."""
        self.fill(UNPROVEN)
        waiting = self.resolver.resolve("gateway.test")
        found = self.resolver.resolve("gateway.test", reserved=True)
        self.threads = self.threads[-1:]
        self.answer()
        self.successResultOf(found)
        self.successResultOf(waiting)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_threads_are_bounded(self):
        self.prove(*(f"prompt-{number}.test" for number in range(PLACES[PROMPT])))
        self.fill(UNPROVEN, 100)
        self.fill(PROMPT, 100, prefix="prompt")
        for number in range(100):
            self.resolver.resolve(f"reserved-{number}.test", reserved=True)
        self.assertEqual(PLACES[PROMPT] + PLACES[RESERVED], len(self.threads))

    def test_a_name_without_a_place_fails_soon_and_says_why(self):
        self.fill(UNPROVEN)
        found = self.resolver.resolve("late.test")
        self.clock.advance(QUEUE_SECONDS - 0.1)
        self.assertNoResult(found)
        self.clock.advance(0.1)
        self.assertEqual(
            "'late.test' cannot be looked up: too many look-ups are waiting for the "
            "name server (16 names)",
            self.message(found),
        )

    def test_a_place_that_becomes_free_is_taken(self):
        self.fill(UNPROVEN)
        found = self.resolver.resolve("late.test")
        self.answer()
        self.answer()
        self.successResultOf(found)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_many_names_at_once_all_get_their_turn(self):
        found = self.fill(UNPROVEN, PLACES[UNPROVEN] + MOST_QUEUED)
        while self.threads:
            self.answer(0.01)
        for one in found:
            self.successResultOf(one)

    def test_the_queue_is_bounded(self):
        self.fill(UNPROVEN, PLACES[UNPROVEN] + MOST_QUEUED)
        found = self.resolver.resolve("one-too-many.test")
        self.assertIn("too many look-ups", self.message(found))

    def test_a_queued_name_that_nobody_waits_for_is_dropped(self):
        self.fill(UNPROVEN)
        found = self.resolver.resolve("late.test")
        found.cancel()
        self.failureResultOf(found, CancelledError)
        self.assertNotIn("late.test", self.resolver._current)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.answer()
        self.assertEqual([], self.threads)


class SystemTests(SynchronousTestCase):
    """What the system says."""

    def says(self, answer):
        def getaddrinfo(*given, **options):
            if isinstance(answer, Exception):
                raise answer
            return answer

        self.patch(socket, "getaddrinfo", getaddrinfo)
        return ask_system("a.test")

    def row(self, address):
        return socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, 0)

    def test_addresses_keep_their_order_and_come_once(self):
        rows = [self.row(one) for one in ("::2", "10.0.0.2", "::2", "10.0.0.1")]
        self.assertEqual(("::2", "10.0.0.2", "10.0.0.1"), self.says(rows).addresses)

    def test_addresses_are_bounded(self):
        found = self.says([self.row(f"10.0.0.{n}") for n in range(200)])
        self.assertEqual(MOST_ADDRESSES, len(found.addresses))

    def test_a_name_without_address_is_told_from_a_server_without_answer(self):
        for fault, words in (
            (socket.gaierror(socket.EAI_NONAME, "?"), "'a.test' has no address"),
            (
                socket.gaierror(socket.EAI_AGAIN, "Temporary failure"),
                "'a.test' cannot be looked up: Temporary failure",
            ),
            (OSError(24, "Too many files"), "'a.test' cannot be looked up: "),
        ):
            self.assertIn(words, self.says(fault).fault)
        self.assertEqual("'a.test' has no address", self.says([]).fault)


class ThreadTests(TestCase):
    """Real threads, and names that hang."""

    timeout = 60

    async def test_names_that_hang_hold_up_no_other_one(self):
        released = threading.Event()
        self.addCleanup(released.set)

        def ask(name):
            if name.startswith("hung"):
                released.wait(30)
            return Found(("192.0.2.1",))

        resolver = Resolver(reactor, ask)
        hung: list[Deferred[Any]] = []
        outcomes: list[Any] = []
        for number in range(2 * PLACES[UNPROVEN]):
            hung += [resolver.resolve(f"hung-{number}.test") for _ in range(10)]
            hung[-1].addErrback(lambda _: None).cancel()
        self.assertLessEqual(
            sum(one.name == "look-up" for one in threading.enumerate()),
            PLACES[UNPROVEN],
        )
        began = reactor.seconds()
        await resolver.resolve("gateway.test", reserved=True)
        self.assertLess(reactor.seconds() - began, 1.0)
        released.set()
        for one in hung:
            one.addBoth(lambda outcome: outcomes.append(outcome))
        await until(lambda: len(outcomes) == len(hung))
