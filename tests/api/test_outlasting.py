"""A change goes on without its caller."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gateway.api.outlasting import outlast
from gateway.errors import PortMappedError, SlowAnswerError


class OutlastTests(SynchronousTestCase):
    """`outlast`."""

    def setUp(self):
        self.clock = Clock()
        self.step: Deferred[str] = Deferred()
        self.done: list[str] = []
        self.answer = outlast(self.change(), self.clock, 10, what="create 1")

    async def change(self):
        self.done.append(await self.step)
        return "made"

    def test_the_result_is_passed_on(self):
        self.step.callback("step")
        self.assertEqual(self.successResultOf(self.answer), "made")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_failure_is_passed_on(self):
        self.step.errback(PortMappedError(port=1))
        self.failureResultOf(self.answer, PortMappedError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_change_that_is_done_at_once(self):
        async def quick():
            return 5

        answer = outlast(quick(), self.clock, 10, what="x")
        self.assertEqual(self.successResultOf(answer), 5)
        self.step.callback("")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelling_ends_the_waiting_alone(self):
        self.answer.cancel()
        self.failureResultOf(self.answer, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.step.callback("step")
        self.assertEqual(self.done, ["step"])

    def test_the_timeout_ends_the_waiting_alone(self):
        self.clock.advance(10)
        self.failureResultOf(self.answer, SlowAnswerError)
        self.step.callback("step")
        self.assertEqual(self.done, ["step"])

    def test_a_refusal_that_nobody_hears_is_one_line(self):
        self.answer.addErrback(lambda _: None).cancel()
        events: list[Any] = []
        note: Any = events.append
        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        self.step.errback(PortMappedError(port=1))
        (event,) = events
        self.assertIn("create 1 failed", event["log_format"].format(**event))
        self.assertEqual(event["log_level"].name, "warn")
