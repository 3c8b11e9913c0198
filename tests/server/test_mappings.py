"""Stored mappings and their ports: made, changed, removed, restored."""

import errno
import os
from dataclasses import replace

from twisted.internet.defer import CancelledError

from gateway.errors import (
    AgentMappingError,
    BadRequestError,
    BadTargetError,
    ConfiguredMappingError,
    ListenError,
    MappingMissingError,
    NoFreePortError,
    NotAvailableError,
    PortBlacklistedError,
    PortInUseError,
    PortMappedError,
    PortPrivilegedError,
    PortRangeError,
    StoppingError,
    StoreError,
    StoreFailedError,
    TargetDeniedError,
    TooManyMappingsError,
    TunnelDisabledError,
    UnresolvableError,
)
from gateway.interfaces import StoredFault
from gateway.policy.mapping import Mapping, MappingChanges, MappingWish, Match
from gateway.policy.visitors import VisitorRules
from gateway.wire import frames
from tests.mappings import a_target
from tests.server.rig import NOON, GatewayCase, opened
from tests.strategies import json_frame


def a_mapping(port=10080, **fields):
    return Mapping(
        port=port,
        targets=(a_target(fields),),
        **{"created_at": NOON, "updated_at": NOON, **fields},
    )


def os_error(code):
    return OSError(code, os.strerror(code))


class MappingsCase(GatewayCase):
    """Mappings over a store in memory."""

    def stored(self):
        """Return the mappings of the store by port."""
        fault, self.store.fault = self.store.fault, None
        loaded = self.successResultOf(self.ensure(self.store.load()))
        self.store.fault = fault
        return {one.port: one for one in loaded.mappings}

    def creating(self, port=10080, **wish):
        return self.ensure(self.mappings.create(MappingWish(port=port, **wish)))

    def refused(self, fault, port=10080, **wish):
        return self.failureResultOf(self.creating(port, **wish), fault).value

    def remove(self, port=10080, **how):
        return self.ensure(self.mappings.remove(port, **how))

    def updating(self, port=10080, **changes):
        return self.ensure(self.mappings.update(port, MappingChanges(**changes)))

    def states(self):
        return {view.mapping.port: view.state for view in self.mappings.views()}


class CreateTests(MappingsCase):
    """Reserve, store, accept."""

    def test_a_tunnel_mapping_is_made_before_its_agent_exists(self):
        view = self.create(10080)
        self.assertEqual(
            ("unreachable", "no agent is connected", 0, "stored"), view[1:5]
        )
        self.assertEqual(
            (80, True, NOON),
            (
                view.mapping.target_port,
                view.mapping.use_tunnel,
                view.mapping.created_at,
            ),
        )
        self.assertEqual(view.mapping, self.stored()[10080])
        self.assertEqual([10080], self.network.served_ports())
        self.assertEqual(view, self.mappings.get(10080))
        self.assertTrue(self.visit().aborted)
        self.assertEqual(1, len(self.lines("no agent is connected")))

    def test_the_port_is_reserved_before_and_served_after_the_store_has_it(self):
        gate = self.store.hold()
        making = self.creating()
        self.assertEqual(
            ([10080], []), (self.network.open_ports(), self.network.served_ports())
        )
        gate.callback(None)
        self.assertEqual([10080], self.network.served_ports())
        self.assertEqual(1, self.successResultOf(making).mapping.id)

    def test_two_creates_of_one_port_leave_one_mapping(self):
        gate = self.store.hold()
        first, second = self.creating(), self.creating()
        gate.callback(None)
        self.successResultOf(first)
        self.failureResultOf(second, PortMappedError)
        self.assertEqual([10080], self.network.open_ports())

    def test_a_failing_store_leaves_nothing(self):
        self.store.fail("disk full")
        fault = self.refused(StoreFailedError)
        self.assertIn("disk full", str(fault))
        self.assertEqual(
            ([], {}, []),
            (self.network.open_ports(), self.stored(), self.mappings.views()),
        )
        self.store.fault = None
        self.create()

    def test_a_bug_of_the_store_leaves_nothing_either(self):
        self.store.fault = ZeroDivisionError()
        self.refused(ZeroDivisionError)
        self.assertEqual([], self.network.open_ports())
        self.assertEqual([], self.mappings.views())

    def test_a_row_that_nobody_serves_keeps_its_port(self):
        self.successResultOf(self.ensure(self.store.insert(a_mapping())))
        self.refused(PortMappedError)
        self.assertEqual([], self.network.open_ports())

    def test_a_create_whose_caller_has_left_goes_on_to_its_end(self):
        gate = self.store.hold()
        making = self.creating()
        making.cancel()
        self.failureResultOf(making)
        gate.callback(None)
        self.assertEqual([10080], self.network.served_ports())
        self.assertIn(10080, self.stored())
        self.assertEqual({10080: "unreachable"}, self.states())

    def test_a_busy_port_is_said_as_such(self):
        for code, kind in (
            (errno.EADDRINUSE, PortInUseError),
            (errno.EACCES, PortPrivilegedError),
            (errno.EPERM, PortPrivilegedError),
            (errno.EADDRNOTAVAIL, BadRequestError),
        ):
            self.network.faults[10080] = os_error(code)
            self.refused(kind)
        self.assertEqual({}, self.stored())

    def test_a_fault_without_a_system_text_is_told_all_the_same(self):
        self.network.faults[10080] = OSError("out of luck")
        self.assertIn("out of luck", str(self.refused(ListenError)))

    def test_the_port_rules_are_asked_first(self):
        self.refused(PortRangeError, 9999)
        self.refused(PortBlacklistedError, 10022)
        self.create(10080)
        self.refused(PortMappedError, 10080)
        self.refused(NotAvailableError, 10081, protocol="udp")
        self.assertEqual([10080], self.network.open_ports())

    def test_there_is_a_limit_of_mappings(self):
        self.build(max_mappings=1)
        self.create(10080)
        self.refused(TooManyMappingsError, 10081)

    def test_a_tunnel_mapping_needs_the_tunnel(self):
        self.build(tunnel_enabled=False)
        self.refused(TunnelDisabledError, use_tunnel=True)
        self.create_direct()

    def test_port_0_takes_a_free_one(self):
        self.create(10000)
        self.network.faults[10001] = os_error(errno.EADDRINUSE)
        self.network.faults[10002] = os_error(errno.EACCES)
        view = self.create(0)
        self.assertEqual((10003, 3), (view.mapping.port, view.mapping.target_port))
        self.assertIn(10003, self.stored())

    def test_port_0_may_find_nothing(self):
        self.build(last_port=10001)
        self.create(10000)
        self.network.faults[10001] = os_error(errno.EADDRINUSE)
        self.refused(NoFreePortError, 0)

    def test_port_0_does_not_hide_a_bad_listen_address(self):
        self.network.faults[10000] = os_error(errno.EADDRNOTAVAIL)
        self.refused(BadRequestError, 0, listen="192.0.2.1")

    def test_the_listen_address_is_used(self):
        self.create(listen="::1")
        self.assertEqual("::1", self.network.at(10080).address)

    def test_a_direct_target_must_resolve(self):
        making = self.creating(target_host="db.test", target_port=80)
        self.network.lookups[-1][1].errback(UnresolvableError("nothing"))
        fault = self.failureResultOf(making, BadTargetError).value
        self.assertIn("'db.test' does not resolve: nothing", str(fault))
        self.assertEqual([], self.network.open_ports())

    def test_a_look_up_takes_5_seconds_at_most(self):
        making = self.creating(target_host="db.test", target_port=80)
        self.clock.advance(4.9)
        self.assertNoResult(making)
        self.clock.advance(0.2)
        fault = self.failureResultOf(making, BadTargetError).value
        self.assertIn("no answer from the name server within 5 seconds", str(fault))
        self.assertEqual(["db.test"], self.network.given_up)
        self.assertFalse(self.clock.getDelayedCalls())

    def test_names_that_hang_hold_up_no_other_change(self):
        self.create(10090)
        for port in range(10081, 10087):
            self.creating(port, target_host=f"hung-{port}.test", target_port=80)
        self.updating(10090, target_host="hung.test", use_tunnel=False)
        self.assertEqual(7, len(self.network.lookups))
        view = self.successResultOf(self.ensure(self.mappings.disable(10090)))
        self.assertEqual("disabled", view.state)
        self.successResultOf(self.remove(10090))
        self.assertEqual([], self.network.open_ports())

    def test_a_port_that_was_taken_during_the_look_up_is_found_so(self):
        making = self.creating(target_host="db.test", target_port=80)
        self.create(10080)
        self.network.answer("192.0.2.7")
        self.failureResultOf(making, PortMappedError)

    def test_who_goes_away_during_the_look_up_leaves_nothing(self):
        making = self.creating(target_host="db.test", target_port=80)
        making.cancel()
        self.failureResultOf(making, CancelledError)
        self.assertEqual(["db.test"], self.network.given_up)
        self.assertEqual(({}, []), (self.stored(), self.network.open_ports()))

    def test_a_direct_target_must_be_given(self):
        self.refused(BadTargetError, use_tunnel=False)

    def test_a_direct_target_must_be_allowed_at_one_address_at_least(self):
        self.build(allow_targets=["192.0.2.0/24"])
        making = self.creating(target_host="db.test", target_port=80)
        self.network.answer("198.51.100.1", "198.51.100.2")
        self.failureResultOf(making, TargetDeniedError)
        making = self.creating(target_host="db.test", target_port=80)
        self.network.answer("198.51.100.1", "192.0.2.2")
        self.successResultOf(making)

    def test_creation_is_logged(self):
        self.create(agent="web")
        self.create_direct(10081)
        self.assertEqual(
            [
                "port forwarding started: port 10080 to the agent:80 (agent web)",
                "port forwarding started: port 10081 to 192.0.2.7:80 (direct)",
            ],
            self.lines("port forwarding started"),
        )

    def test_a_gateway_that_stops_makes_nothing_new(self):
        self.create(10080)
        self.mappings.stop_listening()
        self.refused(StoppingError, 10081)
        self.assertEqual([], self.network.open_ports())

    def test_a_create_that_is_overtaken_by_the_stop_opens_nothing(self):
        gate = self.store.hold()
        making = self.creating()
        self.mappings.stop_listening()
        gate.callback(None)
        self.assertEqual("error", self.successResultOf(making).state)
        self.assertEqual([], self.network.open_ports())


class RemoveTests(MappingsCase):
    """The port closes at once."""

    def setUp(self):
        super().setUp()
        self.created = self.create()
        self.peer = self.agent()
        self.visitor = self.visit()

    def test_visitors_are_closed(self):
        self.peer.reached()
        view = self.successResultOf(self.remove())
        self.assertEqual(self.created.mapping, view.mapping)
        self.visitor.pump()
        self.assertTrue(self.visitor.aborted)
        self.assertEqual(
            ([], {}, []),
            (self.network.open_ports(), self.stored(), self.mappings.views()),
        )
        self.assertEqual(0, self.slots.active)
        self.failureResultOf(self.remove(), MappingMissingError)
        self.assertRaises(MappingMissingError, self.mappings.get, 10080)

    def test_removal_is_logged(self):
        self.successResultOf(self.remove())
        self.assertEqual(["port forwarding stopped: port 10080"], self.lines("stopped"))

    def test_a_visitor_whose_target_is_being_dialled_is_closed_too(self):
        self.successResultOf(self.remove())
        self.visitor.pump()
        self.assertTrue(self.visitor.aborted)
        self.assertEqual(0, self.mappings.visitors)

    def test_a_drain_lets_visitors_stay_for_a_while(self):
        self.peer.reached()
        view = self.successResultOf(self.remove(drain_seconds=20))
        self.assertEqual("draining", view.state)
        self.assertEqual([], self.network.open_ports())
        self.clock.advance(19.9)
        self.visitor.pump()
        self.assertFalse(self.visitor.aborted)
        self.assertEqual(1, self.mappings.visitors)
        self.clock.advance(0.2)
        self.visitor.pump()
        self.assertTrue(self.visitor.aborted)
        self.assertEqual(0, self.mappings.visitors)

    def test_a_drain_ends_with_the_last_visitor(self):
        self.successResultOf(self.remove(drain_seconds=20))
        before = len(self.clock.getDelayedCalls())
        self.visitor.peer_resets()
        self.assertEqual(0, self.mappings.visitors)
        self.assertEqual(before - 2, len(self.clock.getDelayedCalls()))

    def test_a_drain_without_visitors_is_over_at_once(self):
        self.visitor.peer_resets()
        before = len(self.clock.getDelayedCalls())
        self.successResultOf(self.remove(drain_seconds=20))
        self.assertEqual(before, len(self.clock.getDelayedCalls()))

    def test_the_end_of_a_drain_spares_a_new_mapping_of_the_port(self):
        self.peer.reached(1)
        self.successResultOf(self.remove(drain_seconds=20))
        self.create()
        new = self.visit()
        self.peer.reached(2)
        self.later(20.5)
        self.visitor.pump()
        new.pump()
        self.assertTrue(self.visitor.aborted)
        self.assertFalse(new.aborted)
        self.assertEqual([10080], self.network.served_ports())
        self.assertEqual(1, self.mappings.visitors)

    def test_a_store_that_fails_keeps_everything_as_it_was(self):
        self.store.fail("locked")
        self.failureResultOf(self.remove(), StoreFailedError)
        self.assertEqual([10080], self.network.served_ports())
        self.visitor.pump()
        self.assertFalse(self.visitor.aborted)
        self.assertIn(10080, self.stored())

    def test_a_port_whose_removal_is_under_way_is_not_free(self):
        gate = self.store.hold()
        removing = self.remove()
        self.assertEqual([10080], self.network.open_ports())
        making = self.creating()
        gate.callback(None)
        self.successResultOf(removing)
        self.successResultOf(making)
        self.assertEqual([10080], self.network.open_ports())

    def test_a_removal_whose_caller_has_left_goes_on_to_its_end(self):
        gate = self.store.hold()
        removing = self.remove()
        removing.cancel()
        self.failureResultOf(removing)
        gate.callback(None)
        self.assertEqual(([], {}), (self.network.open_ports(), self.stored()))


class SwitchTests(MappingsCase):
    """A mapping whose port is closed for a while."""

    def setUp(self):
        super().setUp()
        self.create()
        self.peer = self.agent()

    def disabling(self, **given):
        return self.ensure(self.mappings.disable(10080, **given))

    def test_the_port_is_closed_and_visitors_stay(self):
        visitor = self.visit()
        self.peer.reached()
        view = self.successResultOf(self.disabling())
        self.assertEqual(
            ("disabled", None, 1), (view.state, view.error, view.connections)
        )
        self.assertEqual([], self.network.open_ports())
        visitor.pump()
        self.assertFalse(visitor.aborted)

    def test_visitors_end_if_asked_for(self):
        visitor = self.visit()
        self.peer.reached()
        self.successResultOf(self.disabling(close=True))
        visitor.pump()
        self.assertTrue(visitor.aborted)

    def test_it_comes_back(self):
        self.successResultOf(self.disabling())
        view = self.successResultOf(self.updating(enabled=True))
        self.assertEqual("listening", view.state)
        self.visit()

    def test_it_stays_closed_over_a_restart_and_keeps_its_port(self):
        self.successResultOf(self.disabling())
        self.assertFalse(self.stored()[10080].enabled)
        self.build()
        self.successResultOf(self.ensure(self.mappings.restore()))
        self.assertEqual("disabled", self.mappings.get(10080).state)
        self.assertEqual([], self.network.open_ports())
        wish = self.ensure(self.mappings.create(MappingWish(port=10080)))
        self.failureResultOf(wish, PortMappedError)

    def test_other_changes_do_not_open_it(self):
        self.successResultOf(self.disabling())
        view = self.successResultOf(self.updating(name="site"))
        self.assertEqual("disabled", view.state)

    def test_it_may_be_made_closed(self):
        view = self.create(10081, enabled=False)
        self.assertEqual("disabled", view.state)
        self.assertEqual([10080], self.network.open_ports())

    def test_a_store_that_fails_keeps_it_open(self):
        self.store.fail()
        self.failureResultOf(self.disabling(), StoreFailedError)
        self.assertEqual("listening", self.mappings.get(10080).state)


class ReloadTests(MappingsCase):
    """One mapping is read from the store anew."""

    def setUp(self):
        super().setUp()
        self.create()
        self.peer = self.agent()

    def reloading(self, port=10080):
        return self.ensure(self.mappings.reload(port))

    def put(self, **changes):
        """Change what is stored, behind the gateway's back."""
        mapping = replace(self.stored()[10080], **changes)
        self.assertTrue(self.successResultOf(self.ensure(self.store.update(mapping))))

    def test_visitors_that_stay_admitted_do_not_notice(self):
        visitor = self.visit()
        self.peer.reached()
        self.put(name="new", rules=VisitorRules(max_connections=5))
        self.assertEqual("", self.mappings.get(10080).mapping.name)
        view = self.successResultOf(self.reloading())
        self.assertEqual("new", view.mapping.name)
        self.assertEqual(5, view.mapping.rules.max_connections)
        self.assertEqual(("listening", 1), (view.state, view.connections))
        visitor.pump()
        self.assertFalse(visitor.aborted)

    def test_others_go(self):
        visitor = self.visit()
        self.peer.reached()
        rules = VisitorRules(access_rule="whitelist", access_ips=("192.0.2.0/24",))
        self.put(rules=rules)
        self.successResultOf(self.reloading())
        visitor.pump()
        self.assertTrue(visitor.aborted)

    def test_another_address_is_listened_on(self):
        self.put(listen="127.0.0.1")
        view = self.successResultOf(self.reloading())
        self.assertEqual("listening", view.state)
        self.assertEqual("127.0.0.1", self.network.at(10080).address)

    def test_one_that_was_stored_meanwhile_is_served(self):
        mapping = replace(self.stored()[10080], port=10081)
        self.successResultOf(self.ensure(self.store.insert(mapping)))
        view = self.successResultOf(self.reloading(10081))
        self.assertEqual("listening", view.state)
        self.assertEqual([10080, 10081], self.network.served_ports())

    def test_one_that_is_gone_is_closed(self):
        self.successResultOf(self.ensure(self.store.delete(Match("tcp", 10080))))
        self.failureResultOf(self.reloading(), MappingMissingError)
        self.assertEqual([], self.network.open_ports())
        self.failureResultOf(self.reloading(), MappingMissingError)

    def test_an_unreadable_row_harms_only_itself(self):
        self.store.unreadable = [StoredFault("tcp:10085", "id 7 cannot be read")]
        self.failureResultOf(self.reloading(10086), MappingMissingError)
        fault = self.failureResultOf(self.reloading(10085), StoreFailedError).value
        self.assertIn("id 7 cannot be read", str(fault))

    def test_there_are_no_more_than_may_be(self):
        mapping = replace(self.stored()[10080], port=10081)
        self.build(max_mappings=1)
        self.successResultOf(self.ensure(self.mappings.restore()))
        self.successResultOf(self.ensure(self.store.insert(mapping)))
        self.failureResultOf(self.reloading(10081), TooManyMappingsError)

    def test_a_store_that_fails_changes_nothing(self):
        self.store.fail()
        self.failureResultOf(self.reloading(), StoreFailedError)
        self.assertEqual("listening", self.mappings.get(10080).state)

    def test_one_of_an_agent_is_not_in_the_store(self):
        self.peer.says(json_frame(frames.REGISTER, id="web", local=80, port=10081))
        self.failureResultOf(self.reloading(10081), AgentMappingError)


class UpdateTests(MappingsCase):
    """New visitors get the changed mapping."""

    def setUp(self):
        super().setUp()
        self.create()
        self.peer = self.agent()

    def test_visitors_under_way_stay(self):
        visitor = self.visit()
        self.peer.reached()
        self.peer.heard()
        self.clock.advance(5)
        view = self.successResultOf(self.updating(target_port=81, name="site"))
        self.assertEqual((81, "site"), (view.mapping.target_port, view.mapping.name))
        self.assertEqual(
            (NOON, NOON + 5), (view.mapping.created_at, view.mapping.updated_at)
        )
        self.assertEqual(view.mapping, self.stored()[10080])
        visitor.pump()
        self.assertFalse(visitor.aborted)
        self.visit()
        ((_, payload),) = self.peer.heard()
        self.assertEqual((81).to_bytes(2, "big"), payload[5:7])

    def test_an_unknown_mapping(self):
        self.failureResultOf(self.updating(10081, name="x"), MappingMissingError)

    def test_a_store_that_fails_keeps_the_mapping(self):
        self.store.fail()
        self.failureResultOf(self.updating(target_port=81), StoreFailedError)
        self.assertEqual(80, self.mappings.get(10080).mapping.target_port)

    def test_a_row_that_has_vanished_is_said(self):
        self.successResultOf(self.ensure(self.store.delete(Match("tcp", 10080))))
        self.failureResultOf(self.updating(target_port=81), StoreFailedError)
        self.assertEqual(80, self.mappings.get(10080).mapping.target_port)

    def test_a_new_direct_target_is_judged(self):
        self.failureResultOf(self.updating(use_tunnel=False), BadTargetError)
        changing = self.updating(use_tunnel=False, target_host="192.0.2.9")
        self.network.answer("192.0.2.9")
        self.assertFalse(self.successResultOf(changing).mapping.use_tunnel)

    def test_a_target_that_others_have_moved_meanwhile_is_looked_up_again(self):
        """One change names the port alone, the other one the host."""
        self.create_direct(10081, "a.test")
        moving = self.updating(10081, target_port=81)
        first = self.network.lookups[-1][1]
        other = self.updating(10081, target_host="b.test")
        self.network.answer("192.0.2.8")
        self.successResultOf(other)
        first.callback(["192.0.2.7"])
        self.assertEqual("b.test", self.network.lookups[-1][0])
        self.network.answer("192.0.2.8")
        mapping = self.successResultOf(moving).mapping
        self.assertEqual(("b.test", 81), (mapping.target_host, mapping.target_port))

    def test_a_mapping_that_never_stays_is_given_up(self):
        self.create_direct(10081, "host-0.test")
        moving = self.updating(10081, target_port=81)
        for number in range(1, 5):
            mine = self.network.lookups[-1][1]
            other = self.updating(10081, target_host=f"host-{number}.test")
            self.network.answer("192.0.2.8")
            self.successResultOf(other)
            mine.callback(["192.0.2.7"])
            if moving.called:
                break
        fault = self.failureResultOf(moving, BadTargetError).value
        self.assertIn("try again", str(fault))

    def test_a_new_name_asks_no_name_server(self):
        self.create_direct(10081, "db.test")
        asked = len(self.network.lookups)
        self.successResultOf(self.updating(10081, name="database"))
        self.assertEqual(asked, len(self.network.lookups))

    def test_an_update_serves_what_could_not_be_served(self):
        self.successResultOf(self.ensure(self.store.insert(a_mapping(10090))))
        self.network.faults[10090] = os_error(errno.EADDRINUSE)
        self.restart()
        self.assertEqual("error", self.states()[10090])
        self.network.faults.clear()
        view = self.successResultOf(self.updating(10090, name="x"))
        self.assertEqual(
            ("unreachable", "no agent is connected"), (view.state, view.error)
        )

    def test_an_update_during_the_stop_opens_nothing(self):
        self.mappings.stop_listening()
        view = self.successResultOf(self.updating(name="x"))
        self.assertEqual("error", view.state)
        self.assertEqual([], self.network.open_ports())

    def test_a_direct_mapping_cannot_be_moved_into_a_tunnel_that_is_off(self):
        self.build(tunnel_enabled=False)
        self.create_direct(10081)
        self.failureResultOf(self.updating(10081, use_tunnel=True), TunnelDisabledError)

    def restart(self):
        for one in self.network.opened:
            one.stopListening()
        self.build()
        self.successResultOf(self.ensure(self.mappings.restore()))


class RestoreTests(MappingsCase):
    """What was stored is served again."""

    def store_all(self, *mappings):
        for mapping in mappings:
            self.successResultOf(self.ensure(self.store.insert(mapping)))

    def restore(self):
        return self.ensure(self.mappings.restore())

    def test_every_mapping_listens_again(self):
        self.store_all(a_mapping(10001), a_mapping(10002))
        self.successResultOf(self.restore())
        self.assertEqual([10001, 10002], self.network.served_ports())
        self.assertEqual({10001: "unreachable", 10002: "unreachable"}, self.states())

    def test_one_that_cannot_be_served_does_not_stop_the_others(self):
        self.store_all(a_mapping(10001), a_mapping(10002))
        self.network.faults[10001] = os_error(errno.EADDRINUSE)
        self.successResultOf(self.restore())
        self.assertEqual([10002], self.network.served_ports())
        view = self.mappings.get(10001)
        self.assertEqual("error", view.state)
        self.assertIn("in use", view.error)
        self.assertEqual(1, len(self.lines("cannot be served")))

    def test_a_port_that_may_not_be_opened_any_more_is_not(self):
        self.store_all(a_mapping(10022), a_mapping(9000), a_mapping(10001))
        self.successResultOf(self.restore())
        self.assertEqual([10001], self.network.open_ports())
        self.assertIn("blacklist", self.mappings.get(10022).error)
        self.assertIn("range", self.mappings.get(9000).error)

    def test_a_mapping_that_failed_can_be_removed(self):
        self.store_all(a_mapping(10022))
        self.successResultOf(self.restore())
        self.successResultOf(self.remove(10022))
        self.assertEqual({}, self.stored())

    def test_tunnel_mappings_wait_for_the_tunnel(self):
        self.build(tunnel_enabled=False)
        self.store_all(a_mapping())
        self.successResultOf(self.restore())
        self.assertEqual({10080: "error"}, self.states())

    def test_the_configuration_comes_first(self):
        self.store_all(a_mapping(10001))
        self.mappings.serve_configured(
            a_mapping(10001, use_tunnel=False, target_host="192.0.2.1")
        )
        self.successResultOf(self.restore())
        self.assertEqual("config", self.mappings.get(10001).source)
        self.assertEqual(1, len(self.lines("passed over")))

    def test_a_store_that_cannot_be_read_is_a_fault_of_the_start(self):
        self.store.fail("corrupt")
        self.failureResultOf(self.restore(), StoreError)

    def test_a_row_that_cannot_be_read_is_logged(self):
        async def load():
            stored = await type(self.store).load(self.store)
            return stored._replace(faults=["row 7: port 'x'"])

        self.store_all(a_mapping(10001))
        self.patch(self.store, "load", load)
        self.successResultOf(self.restore())
        self.assertEqual(1, len(self.lines("row 7")))
        self.assertEqual([10001], self.network.served_ports())


class ExpiryTests(MappingsCase):
    """A mapping that removes itself."""

    def stored(self):
        return self.successResultOf(self.ensure(self.store.load())).mappings

    def test_at_its_time_and_with_its_visitors(self):
        self.create(expires_in=3600)
        visitor = self.visit()
        self.later(3500, 100)
        self.assertEqual(
            ["unreachable"], [view.state for view in self.mappings.views()]
        )
        self.later(100, 100)
        self.assertEqual([], self.mappings.views())
        self.assertEqual([], self.stored())
        self.assertTrue(visitor.aborted)
        self.assertEqual(1, len(self.lines("mapping on port 10080 has expired")))

    def test_the_time_can_be_changed_and_taken_back(self):
        self.create(expires_in=100)
        self.update(expires_in=1000)
        self.later(900, 100)
        self.assertEqual(1, len(self.mappings.views()))
        self.update(expires_in=None)
        self.later(5000, 100)
        self.assertEqual(1, len(self.mappings.views()))
        self.update(expires_in=1)
        self.later(1)
        self.assertEqual([], self.mappings.views())

    def update(self, **changes):
        changing = self.mappings.update(10080, MappingChanges(**changes))
        return self.successResultOf(self.ensure(changing))

    def test_what_expired_while_the_gateway_was_down(self):
        self.create(expires_in=100)
        self.mappings.stop_listening()
        self.clock.advance(500)
        self.build()
        self.successResultOf(self.ensure(self.mappings.restore()))
        self.clock.advance(0)
        self.assertEqual(([], []), (self.mappings.views(), self.stored()))

    def test_a_store_that_fails_is_asked_again(self):
        self.create(expires_in=10)
        self.store.fail("the disk is full")
        self.clock.advance(10)
        self.assertEqual(1, len(self.mappings.views()))
        self.assertEqual(1, len(self.lines("cannot be removed yet: the disk is full")))
        self.store.fault = None
        self.clock.advance(60)
        self.assertEqual([], self.mappings.views())

    def test_a_removed_mapping_plans_nothing(self):
        self.create(expires_in=10)
        self.successResultOf(self.ensure(self.mappings.remove(10080)))
        self.create(expires_in=10)
        self.mappings.stop_listening()
        self.assertFalse(self.clock.getDelayedCalls())


class VisitorRuleTests(MappingsCase):
    """Visitors that the rules turn away are counted and logged."""

    def test_by_the_setting_that_is_the_cause(self):
        self.create(
            rules=VisitorRules(access_rule="blacklist", access_ips=("203.0.113.0/24",))
        )
        self.assertTrue(self.visit().refused)
        view = self.mappings.get(10080)
        self.assertEqual(({"access_rule": 1}, 0), (view.rejected, view.total))
        (line,) = self.lines("Unauthorized")
        self.assertIn("visitor from 203.0.113.9 refused: port 10080: access_rule", line)

    def test_a_limit_is_no_offence(self):
        self.create(rules=VisitorRules(max_connections_per_ip=1))
        self.agent()
        self.assertFalse(self.visit().refused)
        self.assertTrue(self.visit().refused)
        self.assertEqual([], self.lines("Unauthorized"))
        self.assertEqual(
            1, len(self.lines("max_connections_per_ip of port 10080 is reached"))
        )

    def test_the_header_goes_to_the_target_before_the_visitors_bytes(self):
        self.create(rules=VisitorRules(proxy_protocol="v1"))
        agent = self.agent()
        agent.heard()
        visitor = self.visit()
        visitor.protocol.dataReceived(b"hello")
        agent.transport.pump()
        said = b"".join(
            bytes(payload[4:]) for kind, payload in agent.heard() if kind == frames.DATA
        )
        self.assertTrue(said.startswith(b"PROXY TCP4 203.0.113.9 "), said)
        self.assertTrue(said.endswith(b" 5000 12345\r\nhello"), said)


class OtherSourcesTests(MappingsCase):
    """Mappings that the API may look at only."""

    def test_those_of_the_configuration_are_changed_there(self):
        self.mappings.serve_configured(
            a_mapping(8080, use_tunnel=False, target_host="192.0.2.1")
        )
        self.failureResultOf(self.remove(8080), ConfiguredMappingError)
        self.failureResultOf(self.updating(8080, name="x"), ConfiguredMappingError)
        self.assertEqual([8080], self.network.served_ports())
        self.assertEqual({}, self.stored())

    def test_those_of_agents_are_changed_there(self):
        mapping = self.mappings.open_for_agent(MappingWish(port=10001, agent="web"))
        self.failureResultOf(self.remove(10001), AgentMappingError)
        self.assertEqual({}, self.stored())
        self.mappings.close_for_agent(mapping)
        self.assertEqual([], self.network.open_ports())
        self.mappings.close_for_agent(mapping)

    def test_an_agent_takes_no_stored_mapping_away(self):
        view = self.create(10001)
        self.mappings.close_for_agent(view.mapping)
        self.assertEqual([10001], self.network.served_ports())

    def test_an_agent_opens_nothing_in_a_gateway_that_stops(self):
        self.mappings.stop_listening()
        self.assertRaises(
            StoppingError, self.mappings.open_for_agent, MappingWish(port=10001)
        )


class StopTests(MappingsCase):
    """Ports first, visitors later."""

    def test_ports_are_released_and_visitors_stay(self):
        self.create(10001)
        self.create(10002)
        self.agent()
        visitor = self.visit(10001)
        for _ in range(2):
            self.mappings.stop_listening()
        visitor.pump()
        self.assertEqual([], self.network.open_ports())
        self.assertFalse(visitor.aborted)
        self.assertEqual(2, len(self.lines("port forwarding stopped")))
        for _ in range(2):
            self.mappings.close_visits("the gateway stops")
        visitor.pump()
        self.assertEqual(0, self.mappings.visitors)

    def test_drains_under_way_end_too(self):
        self.create()
        peer = self.agent()
        visitor = self.visit()
        self.successResultOf(self.remove(drain_seconds=30))
        self.mappings.close_visits("the gateway stops")
        self.mappings.close_visits("the gateway stops")
        visitor.pump()
        self.links.abort()
        peer.transport.pump()
        self.assertTrue(visitor.aborted)
        self.assertEqual(0, self.slots.active)
        self.assertFalse(self.clock.getDelayedCalls())

    def test_nobody_is_counted_twice(self):
        self.build(connections=1)
        self.create()
        peer = self.agent()
        visitor = self.visit()
        self.assertTrue(self.visit().refused)
        visitor.peer_resets()
        self.assertEqual(0, self.slots.active)
        self.assertFalse(self.visit().refused)
        self.assertEqual(2, opened(peer.heard()))

    def test_a_full_gateway_says_so_once_a_minute(self):
        self.build(connections=1)
        self.create()
        self.agent()
        self.visit()
        for _ in range(3):
            self.assertTrue(self.visit().refused)
        self.assertEqual(1, len(self.lines("limits.connections (1) is reached")))
        self.clock.advance(60)
        self.assertEqual(1, len(self.lines("Full: 2 more visitors")))
