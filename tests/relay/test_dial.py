"""Reaching targets."""

import errno
import os

from twisted.internet.defer import CancelledError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import (
    DeniedError,
    DialError,
    DialTimeoutError,
    LimitError,
    RefusedError,
    UnresolvableError,
)
from gateway.policy.access import TargetRules
from gateway.relay.dial import HEAD_START_SECONDS, MOST_ADDRESSES, Dialer
from tests.relay.fakes import FakeNetwork

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


def system_error(code):
    return OSError(code, os.strerror(code))


class DialCase(SynchronousTestCase):
    """A dialer over a network that the test plays."""

    entries: tuple[str, ...] | None = None

    own_port: int | None = None

    def setUp(self):
        self.clock = Clock()
        self.network = FakeNetwork()
        self.factory = Factory.forProtocol(Protocol)
        self.dialer = Dialer(
            self.network,
            self.clock,
            TargetRules.parse(self.entries),
            own_ports=None if self.own_port is None else self.own_ports,
            timeout_seconds=5.0,
        )

    def own_ports(self, address, port):
        return "that is ours" if port == self.own_port else None

    def dial(self, host, port=80, seconds=None):
        return self.dialer.dial(host, port, self.factory, seconds)

    def failure(self, outcome, kind):
        """Return the message of a failure of exactly this kind."""
        fault = self.failureResultOf(outcome, kind).value
        self.assertIs(type(fault), kind)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.network.waiting, [])
        return str(fault)


class LiteralTests(DialCase):
    """Targets that are addresses."""

    def test_an_address_is_dialled_without_look_up(self):
        outcome = self.dial("10.0.0.1", 22)
        (attempt,) = self.network.attempts
        self.assertEqual((attempt.address, attempt.port), ("10.0.0.1", 22))
        self.assertEqual(attempt.timeout_seconds, 5.0)
        self.assertEqual(self.network.lookups, [])
        transport = attempt.succeed()
        self.assertIs(self.successResultOf(outcome), transport.protocol)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_time_limit_may_be_another_one(self):
        outcome = self.dial("::1", seconds=2.5)
        self.assertEqual(self.network.attempts[0].timeout_seconds, 2.5)
        self.network.attempts[0].succeed()
        self.successResultOf(outcome)

    def test_what_the_system_says_becomes_a_dial_error(self):
        for fault, kind, text in [
            (REFUSED, RefusedError, "10.0.0.1:80: connection refused"),
            (TimeoutError(), DialTimeoutError, "10.0.0.1:80: no answer in time"),
            (
                system_error(errno.ETIMEDOUT),
                DialTimeoutError,
                "10.0.0.1:80: no answer in time",
            ),
            (
                system_error(errno.EHOSTUNREACH),
                DialError,
                "10.0.0.1:80: No route to host",
            ),
            (
                system_error(errno.EMFILE),
                LimitError,
                "10.0.0.1:80: Too many open files",
            ),
            (OSError("odd"), DialError, "10.0.0.1:80: odd"),
        ]:
            with self.subTest(text):
                outcome = self.dial("10.0.0.1")
                self.network.attempts[-1].fail(fault)
                self.assertEqual(self.failure(outcome, kind), text)

    def test_addresses_have_brackets_where_ports_follow(self):
        outcome = self.dial("::1", 22)
        self.network.attempts[0].fail(REFUSED)
        text = self.failure(outcome, RefusedError)
        self.assertEqual(text, "[::1]:22: connection refused")

    def test_a_bug_is_not_disguised(self):
        outcome = self.dial("10.0.0.1")
        self.network.attempts[0].fail(ZeroDivisionError())
        self.failureResultOf(outcome, ZeroDivisionError)

    def test_cancelling_abandons_the_attempt(self):
        outcome = self.dial("10.0.0.1")
        outcome.cancel()
        self.failureResultOf(outcome, CancelledError)
        self.assertTrue(self.network.attempts[0].cancelled)


class LocalhostTests(DialCase):
    """`localhost`, on behalf of a visitor."""

    def setUp(self):
        super().setUp()
        self.failures: list[Failure] = []

    def reach(self, host="localhost"):
        return self.dialer.reach(host, 80, self.factory, self.failures.append)

    def addresses(self):
        return [attempt.address for attempt in self.network.attempts]

    def test_ipv4_is_enough_where_something_listens(self):
        self.reach()
        self.network.attempts[0].succeed()
        self.assertEqual(["127.0.0.1"], self.addresses())
        self.assertEqual([], self.network.lookups)
        self.assertEqual([], self.failures)

    def test_ipv6_follows_a_refusal(self):
        self.reach()
        self.network.attempts[0].fail(REFUSED)
        self.assertEqual(["127.0.0.1", "::1"], self.addresses())
        self.network.attempts[1].succeed()
        self.assertEqual([], self.failures)

    def test_refused_by_both(self):
        for second in (REFUSED, system_error(errno.EADDRNOTAVAIL)):
            self.reach()
            self.network.attempts[-1].fail(REFUSED)
            self.network.attempts[-1].fail(second)
            fault = self.failures.pop().value
            self.assertIsInstance(fault, RefusedError)
            self.assertEqual("localhost:80 (127.0.0.1): connection refused", str(fault))

    def test_what_is_no_refusal_ends_it(self):
        for fault, kind in (
            (TimeoutError(), DialTimeoutError),
            (ZeroDivisionError(), ZeroDivisionError),
        ):
            self.reach()
            self.network.attempts[-1].fail(fault)
            self.assertIsInstance(self.failures.pop().value, kind)
        self.assertEqual(["127.0.0.1", "127.0.0.1"], self.addresses())

    def test_cancelling_abandons_the_attempt_under_way(self):
        reaching = self.reach()
        self.network.attempts[0].fail(REFUSED)
        reaching.cancel()
        self.assertTrue(self.network.attempts[1].cancelled)
        self.assertEqual([], self.failures)

    def test_only_what_the_rules_allow_is_dialled(self):
        for rules, dialled in (("127.0.0.0/8", "127.0.0.1"), ("::1", "::1")):
            self.entries = (rules,)
            self.setUp()
            self.reach()
            self.network.attempts[-1].fail(REFUSED)
            self.assertEqual([dialled], self.addresses())
            self.assertIsInstance(self.failures[0].value, RefusedError)
        self.entries = ("10.0.0.0/8",)
        self.setUp()
        self.reach()
        self.assertIsInstance(self.failures[0].value, DeniedError)


class RulesTests(DialCase):
    """Targets that may not be dialled."""

    entries = ("127.0.0.0/8", "db.internal:5432")
    own_port = 9000

    def test_a_denied_address_is_not_dialled(self):
        text = self.failure(self.dial("10.0.0.1"), DeniedError)
        self.assertEqual(text, "10.0.0.1:80: 10.0.0.1 is not among the allowed targets")
        self.assertEqual(self.network.attempts, [])

    def test_our_own_ports_are_denied_whatever_the_rules_say(self):
        text = self.failure(self.dial("127.0.0.1", 9000), DeniedError)
        self.assertEqual(text, "127.0.0.1:9000: that is ours")
        outcome = self.dial("localhost", 9000)
        self.network.answer("127.0.0.1")
        self.failure(outcome, DeniedError)
        self.assertEqual(self.network.attempts, [])

    def test_names_are_judged_by_the_address_they_lead_to(self):
        outcome = self.dial("rebound.example")
        self.network.answer("10.0.0.1", "192.168.0.1")
        self.failure(outcome, DeniedError)
        self.assertEqual(self.network.attempts, [])

    def test_denied_addresses_of_a_name_are_left_out(self):
        outcome = self.dial("both.example")
        self.network.answer("10.0.0.1", "127.0.0.1", "192.168.0.1")
        self.assertEqual(self.network.waiting, ["127.0.0.1"])
        self.network.attempts[0].fail(REFUSED)
        self.failure(outcome, RefusedError)

    def test_an_allowed_name_may_lead_anywhere(self):
        outcome = self.dial("DB.internal", 5432)
        self.network.answer("10.0.0.1")
        self.network.attempts[0].succeed()
        self.successResultOf(outcome)

    def test_the_same_questions_can_be_asked_without_dialling(self):
        refusal = self.dialer.refusal
        self.assertIsNone(refusal("127.0.0.1", "127.0.0.1", 80))
        self.assertEqual(refusal("localhost", "127.0.0.1", 9000), "that is ours")
        self.assertIn("port 80", refusal("db.internal", "10.0.0.1", 80))


class NameTests(DialCase):
    """Targets that are names."""

    def test_the_first_address_is_tried_first(self):
        outcome = self.dial("host")
        self.assertEqual(self.network.lookups[0][0], "host")
        self.network.answer("10.0.0.1", "10.0.0.2")
        self.assertEqual(self.network.waiting, ["10.0.0.1"])
        transport = self.network.attempts[0].succeed()
        self.assertIs(self.successResultOf(outcome), transport.protocol)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.network.attempts), 1)

    def test_a_slow_address_meets_competition_after_its_head_start(self):
        outcome = self.dial("host")
        self.network.answer("10.0.0.1", "10.0.0.2", "10.0.0.3")
        self.clock.advance(HEAD_START_SECONDS - 0.01)
        self.assertEqual(self.network.waiting, ["10.0.0.1"])
        self.clock.advance(0.01)
        self.assertEqual(self.network.waiting, ["10.0.0.1", "10.0.0.2"])
        self.network.attempts[1].succeed()
        self.successResultOf(outcome)
        self.assertTrue(self.network.attempts[0].cancelled)
        self.clock.advance(60)
        self.assertEqual(len(self.network.attempts), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_slow_one_may_still_win(self):
        outcome = self.dial("host")
        self.network.answer("10.0.0.1", "10.0.0.2")
        self.clock.advance(HEAD_START_SECONDS)
        self.network.attempts[0].succeed()
        self.successResultOf(outcome)
        self.assertTrue(self.network.attempts[1].cancelled)

    def test_a_failure_lets_the_next_one_start_at_once(self):
        outcome = self.dial("host")
        self.network.answer("10.0.0.1", "10.0.0.2", "10.0.0.3")
        self.network.attempts[0].fail(REFUSED)
        self.assertEqual(self.network.waiting, ["10.0.0.2"])
        self.clock.advance(HEAD_START_SECONDS)
        self.assertEqual(self.network.waiting, ["10.0.0.2", "10.0.0.3"])
        self.network.attempts[1].fail(REFUSED)
        self.assertNoResult(outcome)
        self.network.attempts[2].succeed()
        self.successResultOf(outcome)

    def test_the_message_names_host_address_port_and_reason(self):
        outcome = self.dial("host", 22)
        self.network.answer("10.0.0.1")
        self.network.attempts[0].fail(REFUSED)
        text = self.failure(outcome, RefusedError)
        self.assertEqual(text, "host:22 (10.0.0.1): connection refused")

    def test_of_several_failures_the_most_telling_is_reported(self):
        for first, second in [(0, 1), (1, 0)]:
            faults = [REFUSED, system_error(errno.ENETUNREACH)]
            outcome = self.dial("host")
            self.network.answer("10.0.0.1", "10.0.0.2")
            self.network.attempts[-1].fail(faults[first])
            self.network.attempts[-1].fail(faults[second])
            self.failure(outcome, RefusedError)

    def test_look_up_and_dial_share_the_time(self):
        outcome = self.dial("host")
        self.clock.advance(3)
        self.network.answer("10.0.0.1", "10.0.0.2")
        self.assertEqual(self.network.attempts[0].timeout_seconds, 2)
        self.clock.advance(HEAD_START_SECONDS)
        self.assertEqual(self.network.attempts[1].timeout_seconds, 1.75)
        self.clock.advance(1.74)
        self.assertNoResult(outcome)
        self.clock.advance(0.02)
        text = self.failure(outcome, DialTimeoutError)
        self.assertEqual(text, "host:80: no answer within 5 s")
        self.assertTrue(all(attempt.cancelled for attempt in self.network.attempts))

    def test_a_slow_look_up_is_given_up(self):
        outcome = self.dial("host", seconds=2.5)
        self.clock.advance(2.5)
        text = self.failure(outcome, DialTimeoutError)
        self.assertEqual(text, "host:80: the name was not looked up within 2.5 s")
        self.assertEqual(self.network.given_up, ["host"])

    def test_a_look_up_that_answers_too_late_in_one_turn_is_no_fault(self):
        """A late reactor may call a timer after the answer it was to prevent."""
        outcome = self.dial("host")
        self.clock.rightNow += 6
        self.network.answer("10.0.0.1")
        self.assertEqual(self.network.attempts[0].timeout_seconds, 0.0)
        self.clock.advance(0)
        self.failure(outcome, DialTimeoutError)

    def test_a_name_without_address(self):
        outcome = self.dial("host")
        fault = UnresolvableError("'host' has no address")
        self.network.lookups[0][1].errback(Failure(fault))
        text = self.failure(outcome, UnresolvableError)
        self.assertEqual(text, "host:80: 'host' has no address")

    def test_only_so_many_addresses_are_tried(self):
        outcome = self.dial("host")
        self.network.answer(*(f"10.0.{n // 256}.{n % 256}" for n in range(1000)))
        for _ in range(MOST_ADDRESSES):
            self.assertNoResult(outcome)
            self.network.attempts[-1].fail(REFUSED)
        self.failure(outcome, RefusedError)
        self.assertEqual(len(self.network.attempts), MOST_ADDRESSES)

    def test_bugs_are_not_disguised(self):
        outcome = self.dial("host")
        self.network.lookups[0][1].errback(Failure(ZeroDivisionError()))
        self.failure(outcome, ZeroDivisionError)
        outcome = self.dial("host")
        self.network.answer("10.0.0.1", "10.0.0.2")
        self.network.attempts[0].fail(ZeroDivisionError())
        self.failure(outcome, ZeroDivisionError)


class CancelTests(DialCase):
    """Nothing is left of a dial that was cancelled."""

    def assert_nothing_left(self, outcome):
        outcome.cancel()
        self.failureResultOf(outcome, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.network.waiting, [])

    def test_while_the_name_is_looked_up(self):
        self.assert_nothing_left(self.dial("host"))
        self.assertEqual(self.network.given_up, ["host"])

    def test_while_one_address_is_tried(self):
        outcome = self.dial("host")
        self.network.answer("10.0.0.1", "10.0.0.2")
        self.assert_nothing_left(outcome)
        self.assertEqual(len(self.network.attempts), 1)

    def test_while_several_addresses_are_tried(self):
        outcome = self.dial("host")
        self.network.answer("10.0.0.1", "10.0.0.2", "10.0.0.3")
        self.clock.advance(HEAD_START_SECONDS)
        self.assert_nothing_left(outcome)
