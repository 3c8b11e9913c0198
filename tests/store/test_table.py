"""The statements agree with the store in memory, whatever is asked of them."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import BadRequestError, PortMappedError
from gateway.policy.mapping import Mapping, Match, Target
from gateway.store import schema, table
from gateway.store.memory import MemoryMappingStore

TEXT = st.text(max_size=20)
SECONDS = st.integers(0, 253_402_300_799)
TARGETS = st.builds(
    Target,
    host=TEXT.map(lambda text: text or "host"),
    port=st.integers(1, 65535),
    use_tunnel=st.booleans(),
    agent=st.none() | TEXT,
)
MAPPINGS = st.builds(
    Mapping,
    id=st.integers(0, 6),
    protocol=st.sampled_from(["tcp", "udp"]),
    port=st.integers(1, 4),
    listen=TEXT,
    targets=st.lists(TARGETS, min_size=1, max_size=3).map(tuple),
    name=TEXT,
    labels=st.dictionaries(TEXT, TEXT, max_size=3),
    enabled=st.booleans(),
    expected=st.booleans(),
    created_at=SECONDS,
    updated_at=SECONDS,
)


def empty_tables():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.text_factory = table.tolerant_text
    schema.migrate(connection, 0, 0)
    return connection


def result_of(call):
    """Return what a call returns, or the class of its refusal."""
    try:
        return call()
    except PortMappedError:
        return PortMappedError


def at_once(awaitable):
    """Return the result of a call that does not wait."""
    outcome: list[Any] = []
    ensureDeferred(awaitable).addBoth(outcome.append)
    (result,) = outcome
    if hasattr(result, "raiseException"):
        result.raiseException()
    return result


class TableMachine(RuleBasedStateMachine):
    """The same calls to both; equal answers, equal contents."""

    def __init__(self):
        super().__init__()
        self.connection = empty_tables()
        self.model = MemoryMappingStore()
        at_once(self.model.open())

    def agree(self, asked, model):
        assert result_of(asked) == result_of(lambda: at_once(model))
        assert table.load(self.connection) == at_once(self.model.load())

    @rule(mapping=MAPPINGS)
    def insert(self, mapping):
        """Store a mapping, taken ports included."""
        asked = lambda: table.insert(self.connection, mapping)  # noqa: E731
        self.agree(asked, self.model.insert(mapping))

    @rule(mapping=MAPPINGS)
    def update(self, mapping):
        """Replace a mapping, missing ones included."""
        asked = lambda: table.update(self.connection, mapping)  # noqa: E731
        self.agree(asked, self.model.update(mapping))

    @rule(protocol=st.sampled_from(["tcp", "udp"]), port=st.integers(-1, 5))
    def delete(self, protocol, port):
        """Remove a mapping, missing ones included."""
        asked = lambda: table.delete(self.connection, Match(protocol, port))  # noqa: E731
        self.agree(asked, self.model.delete(Match(protocol, port)))

    def teardown(self):
        self.connection.close()


class TableTests(SynchronousTestCase):
    """Laws of rows and statements."""

    def test_statements_and_memory_agree(self):
        """Every order of calls gives the same answers in both stores."""
        run_state_machine_as_test(
            TableMachine,
            settings=settings(
                max_examples=40, stateful_step_count=20, deadline=None, database=None
            ),
        )

    @given(MAPPINGS)
    @settings(max_examples=60, deadline=None, database=None)
    def test_row_and_back(self, mapping):
        """Every value survives the way into a row and back."""
        self.assertEqual(table.mapping_of(table.row_of(mapping)), mapping)

    @given(
        MAPPINGS,
        st.sampled_from(table.COLUMNS),
        st.none()
        | st.integers()
        | st.floats()
        | st.binary()
        | st.text(st.characters(), max_size=5),
    )
    @settings(
        max_examples=200,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    def test_a_spoilt_row_is_read_or_refused(self, mapping, column, value):
        """Nothing but `ValueError` comes of any value in any column."""
        row = {**table.row_of(mapping), column: value}
        with contextlib.suppress(ValueError):
            read = table.mapping_of(row)
            self.assertEqual(table.mapping_of(table.row_of(read)), read)

    def test_deeply_nested_labels_are_refused(self):
        """A text that would exhaust the stack is one bad row."""
        row = {"labels": "[" * 100_000}
        good = Mapping(
            port=1,
            targets=(Target(host="h", port=1, use_tunnel=True),),
            created_at=0,
            updated_at=0,
        )
        with self.assertRaisesRegex(ValueError, "not JSON"):
            table.mapping_of({**table.row_of(good), **row})
        with self.assertRaises(BadRequestError):
            table.row_of(replace(good, port=70000))
