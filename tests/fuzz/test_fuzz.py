"""Mutated input does no harm, and harm is noticed."""

from random import Random
from typing import Any

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from gateway.mux.session import Session
from gateway.server.link_admission import LinkAdmission
from tests.fuzz.mutator import LONGEST, Mutator
from tests.fuzz.targets import (
    TARGETS,
    AgentTarget,
    ApiTarget,
    FoundError,
    LinkTarget,
    ProxyTarget,
)

RUNS = 2000
SEED = 1


class FuzzCase(SynchronousTestCase):
    """Runs targets."""

    def fuzz(self, kind, runs=RUNS):
        """Run a target."""
        target = kind(SEED)
        self.addCleanup(target.close)
        target.run(runs)
        return target


class FuzzTests(FuzzCase):
    """Every kept input, and mutations of them."""

    def test_the_link_port(self):
        self.fuzz(LinkTarget)

    def test_a_port_behind_balancers(self):
        self.fuzz(ProxyTarget)

    def test_the_api(self):
        self.fuzz(ApiTarget)

    def test_an_agent(self):
        self.fuzz(AgentTarget)

    def test_the_corpus_has_something_for_each(self):
        for kind in TARGETS:
            target = kind(SEED)
            self.addCleanup(target.close)
            self.assertGreater(len(target.pool), 15, kind.name)


class OracleTests(FuzzCase):
    """What the fuzzer calls harm."""

    def assertFound(self, kind, words):
        found = self.assertRaises(FoundError, self.fuzz, kind, 500)
        self.assertIn(words, str(found.__cause__))
        self.assertTrue(found.data)

    def test_an_exception(self):
        self.patch(Session, "authenticate", lambda _self, _message: 1 // 0)
        self.assertRaises((FoundError, ZeroDivisionError), self.fuzz, LinkTarget)

    def test_a_traceback_in_the_log(self):
        def refuse(_self, _address, _why):
            try:
                raise KeyError("planted")
            except KeyError:
                Logger().failure("a bug")

        self.patch(LinkAdmission, "link_unknown_kind", refuse)
        self.assertFound(LinkTarget, "planted")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_a_table_that_grows(self):
        kept: Any = []
        closed = LinkAdmission.link_closed

        def link_closed(links, link):
            kept.append(link)
            links.forgotten = kept
            closed(links, link)

        self.patch(LinkAdmission, "link_closed", link_closed)
        self.assertFound(LinkTarget, "tables that have grown")


class MutatorTests(SynchronousTestCase):
    """The same seed makes the same inputs."""

    def test_a_seed_says_everything(self):
        pool = [b"one", b"two" * 100, b""]
        one, same, other = (Mutator(Random(seed), [b"word"]) for seed in (1, 1, 2))
        made = [one.mutate(pool) for _ in range(200)]
        self.assertEqual(made, [same.mutate(pool) for _ in range(200)])
        self.assertNotEqual(made, [other.mutate(pool) for _ in range(200)])
        self.assertGreater(len(set(made)), 150)
        self.assertLessEqual(max(map(len, made)), LONGEST)

    def test_cuts_join_to_the_whole(self):
        mutator = Mutator(Random(3))
        for size in range(50):
            data = bytes(range(size))
            self.assertEqual(b"".join(mutator.cuts(data)), data)
