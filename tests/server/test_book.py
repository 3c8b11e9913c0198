"""The book of mappings, and the ports that follow it."""

import errno
import os
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.python.failure import Failure

from gateway.errors import CallerError, MappingMissingError, PortMappedError
from gateway.policy.mapping import MappingChanges, MappingWish, derived_id
from gateway.policy.visitors import VisitorRules
from gateway.server.book import Change
from tests.server.rig import GatewayCase
from tests.server.test_mappings import a_mapping

PORTS = st.integers(10000, 10001)
STEPS = st.one_of(
    st.tuples(st.just("create"), PORTS, st.booleans()),
    st.tuples(st.just("create"), PORTS, st.just(True)),
    st.tuples(st.just("create_any")),
    st.tuples(st.just("remove"), PORTS),
    st.tuples(st.just("switch"), PORTS, st.booleans()),
    st.tuples(st.just("move"), PORTS, st.sampled_from(["", "127.0.0.1"])),
    st.tuples(st.just("reload"), PORTS),
    st.tuples(st.just("edit_row"), PORTS, st.booleans()),
    st.tuples(st.just("drop_row"), PORTS),
    st.tuples(st.just("agent_opens"), PORTS),
    st.tuples(st.just("agent_closes"), PORTS),
    st.tuples(st.just("expire"), st.integers(1, 30)),
    st.tuples(st.just("break_port"), PORTS),
    st.tuples(st.just("mend_port"), PORTS),
    st.tuples(st.just("break_store")),
    st.tuples(st.just("mend_store")),
    st.tuples(st.just("restart")),
)


class LawTests(GatewayCase):
    """Every enabled mapping listens or has its error, and nothing else listens."""

    def fresh(self):
        """Return to a gateway without any mapping."""
        self.setUp()
        self.by_agent = {}
        self.edited = set()  # ports whose rows were changed behind the gateway's back

    @settings(max_examples=60, deadline=None)
    @given(st.lists(STEPS, min_size=10, max_size=40))
    def test_ports_agree_with_the_book_after_any_changes(self, steps):
        self.fresh()
        for name, *given_ in steps:
            getattr(self, f"do_{name}")(*given_)
            self.check_ports()
            self.check_store()
        self.stop()

    def check_ports(self):
        listening = set()
        for view in self.mappings.views():
            port, enabled = view.mapping.port, view.mapping.enabled
            served = port in self.network.served_ports()
            reachable = view.state == "listening"
            self.assertEqual(reachable, view.error is None and enabled)
            if reachable or view.state == "unreachable":
                listening.add(port)
                place = self.network.at(port).address
                self.assertEqual((True, view.mapping.listen), (served, place))
            self.assertEqual(enabled, served or view.error is not None)
            self.assertFalse(served and view.state == "error")
        self.assertCountEqual(listening, self.network.open_ports())

    def check_store(self):
        if self.edited:
            return  # by somebody else, and not reloaded yet
        stored = [view for view in self.mappings.views() if view.source == "stored"]
        self.assertEqual(
            {view.mapping.port: view.mapping for view in stored}, self.stored()
        )

    def stored(self):
        rows = self.store._by_id.values()
        return {one.port: one for one in rows}

    def attempt(self, change):
        """Make a change that may be refused; return why it was, or None."""
        outcome: list[object] = []
        self.ensure(change).addBoth(outcome.append)
        (result,) = outcome
        if not isinstance(result, Failure):
            return None
        result.trap(CallerError)
        return result.value

    def do_create(self, port, enabled):
        wish = MappingWish(port=port, enabled=enabled, expires_in=20)
        self.attempt(self.mappings.create(wish))

    def do_create_any(self):
        self.attempt(self.mappings.create(MappingWish(port=0)))

    def do_remove(self, port):
        self.attempt(self.mappings.remove(port))

    def do_switch(self, port, enabled):
        self.attempt(self.mappings.update(port, MappingChanges(enabled=enabled)))

    def do_move(self, port, listen):
        """Edit the address of a stored row, and have it reloaded."""
        row = self.stored().get(port)
        if row is not None:
            self.store._by_id[row.id] = replace(row, listen=listen)
            self.edited = self.edited | {port}
        self.do_reload(port)

    def do_reload(self, port):
        fault = self.attempt(self.mappings.reload(port))
        if fault is None or isinstance(fault, MappingMissingError):
            self.edited = self.edited - {port}

    def do_edit_row(self, port, enabled):
        """Put a row into the store behind the gateway's back."""
        if port not in self.stored() and port not in self.ports():
            self.store._last_id += 1
            number = self.store._last_id
            self.store._by_id[number] = a_mapping(port, id=number, enabled=enabled)
            self.edited = self.edited | {port}

    def do_drop_row(self, port):
        row = self.stored().get(port)
        if row is not None:
            del self.store._by_id[row.id]
            self.edited = self.edited | {port}

    def ports(self):
        return {view.mapping.port for view in self.mappings.views()}

    def do_agent_opens(self, port):
        wish = MappingWish(port=port, use_tunnel=True, agent="web", name=str(port))
        try:
            self.by_agent[port] = self.mappings.open_for_agent(wish)
        except CallerError:
            self.assertTrue(port in self.ports() or port in self.network.faults)

    def do_agent_closes(self, port):
        mapping = self.by_agent.pop(port, None)
        if mapping is not None:
            self.mappings.close_for_agent(mapping)

    def do_expire(self, seconds):
        self.clock.advance(seconds)

    def do_break_port(self, port):
        self.network.faults[port] = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    def do_mend_port(self, port):
        self.network.faults.pop(port, None)

    def do_break_store(self):
        self.store.fail()

    def do_mend_store(self):
        self.store.fault = None

    def do_restart(self):
        self.stop()
        self.do_mend_store()
        self.by_agent = {}
        self.edited = set()
        self.build()
        self.successResultOf(self.ensure(self.mappings.restore()))

    def stop(self):
        self.mappings.stop_listening()
        self.mappings.close_visits("stop")
        self.assertEqual([], self.network.open_ports())


class FeedTests(GatewayCase):
    """One feed of numbered changes."""

    def setUp(self):
        super().setUp()
        self.changes: list[Change] = []
        self.mappings.book.follow(self.changes.append)

    def test_every_change_has_the_next_number(self):
        self.create(10080)
        self.successResultOf(
            self.ensure(self.mappings.update(10080, MappingChanges(name="new")))
        )
        self.successResultOf(self.ensure(self.mappings.remove(10080)))
        self.assertEqual([1, 2, 3], [one.version for one in self.changes])
        self.assertEqual(3, self.mappings.book.version)
        made, renamed, removed = self.changes
        self.assertIsNone(made.before)
        self.assertEqual(made.after, renamed.before)
        self.assertEqual(renamed.after, removed.before)
        self.assertIsNone(removed.after)

    def test_what_was_before_is_read_in_the_step_of_the_change(self):
        self.create(10080, name="first")
        held = self.store.hold()
        one = self.ensure(self.mappings.update(10080, MappingChanges(name="second")))
        two = self.ensure(self.mappings.update(10080, MappingChanges(name="third")))
        held.callback(None)
        found = [self.successResultOf(change) for change in (one, two)]
        self.assertEqual(
            [("first", "second"), ("second", "third")],
            [(view.before.name, view.mapping.name) for view in found],
        )

    def test_a_refused_change_has_no_number(self):
        self.create(10080)
        again = self.ensure(self.mappings.create(MappingWish(port=10080)))
        self.failureResultOf(again, PortMappedError)
        self.store.fail()
        self.failureResultOf(self.ensure(self.mappings.remove(10080)))
        self.assertEqual([1], [one.version for one in self.changes])

    def test_a_port_that_is_being_stored_is_nobody_elses(self):
        held = self.store.hold()
        making = self.ensure(self.mappings.create(MappingWish(port=10080)))
        wish = MappingWish(port=10080, use_tunnel=True, agent="web", name="a")
        self.assertRaises(PortMappedError, self.mappings.open_for_agent, wish)
        self.assertEqual([], self.mappings.views())
        held.callback(None)
        self.successResultOf(making)
        self.assertEqual([10080], self.network.served_ports())


class IdTests(GatewayCase):
    """Ids of mappings that are not stored."""

    def opened(self, port, agent, name):
        wish = MappingWish(port=port, use_tunnel=True, agent=agent, name=name)
        return self.mappings.open_for_agent(wish).id

    def test_an_agents_mapping_keeps_its_id_when_it_comes_back(self):
        first = self.opened(10080, "web", "site")
        self.assertNotEqual(first, self.opened(10081, "web", "other"))
        self.mappings.close_for_agent(self.mappings.get(10080).mapping)
        self.assertEqual(first, self.opened(10085, "web", "site"))

    def test_a_configured_mapping_has_the_same_id_after_a_restart(self):
        mapping = a_mapping(10080, rules=VisitorRules(max_connections=1))
        self.mappings.serve_configured(mapping)
        first = self.mappings.get(10080).mapping.id
        self.mappings.stop_listening()
        self.build()
        self.mappings.serve_configured(mapping)
        self.assertEqual(first, self.mappings.get(10080).mapping.id)

    @given(st.lists(st.text(max_size=5), min_size=1, max_size=3))
    def test_they_are_none_that_a_store_gives(self, parts):
        self.assertTrue(1 << 48 <= derived_id(*parts) < 1 << 52)
