"""What every `IMappingStore` does, whatever it stores in."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import ensureDeferred
from zope.interface.verify import verifyObject

from gateway.errors import BadRequestError, PortMappedError, StoreError
from gateway.interfaces import (
    AuditEntry,
    IAuditStore,
    IBanStore,
    ICredentialStore,
    IHistoryStore,
    IMappingStore,
    IReservationStore,
)
from gateway.policy.bans import Ban
from gateway.policy.credentials import AgentCredential, AgentScope, Verifier
from gateway.policy.history import (
    DAY,
    HOUR,
    History,
    Lifetime,
    Point,
    TrafficRecord,
)
from gateway.policy.mapping import Mapping, Match, Target
from gateway.policy.reservations import Reservation
from gateway.policy.visitors import VisitorRules
from tests.mappings import a_target

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _Test
else:
    _Test = object


def a_mapping(port: int = 10022, **changes: Any) -> Mapping:
    """Return a tunnel mapping that only its port tells from others."""
    plain = Mapping(
        port=port,
        targets=(a_target(changes, port=22),),
        created_at=1_700_000_000,
        updated_at=1_700_000_001,
    )
    return replace(plain, **changes)


FULL = Mapping(
    protocol="tcp",
    port=65535,
    listen="::1",
    targets=(
        Target(host="büro.example", port=1, use_tunnel=False, agent="家"),
        Target(host="", port=65535, use_tunnel=True),
    ),
    name="端口 \N{CAT} 'quoted\" \\ \n line",
    labels={"": "", "ключ": "значение", 'a"b': "c\td"},
    rules=VisitorRules(
        access_rule="whitelist",
        access_ips=("192.0.2.0/24", "2001:db8::1/128"),
        max_connections=1,
        max_connections_per_ip=2,
        bandwidth_limit=3,
        connection_bandwidth_limit=4,
        idle_timeout=5.5,
        proxy_protocol="v2",
        trusted_proxies=("10.0.0.0/8",),
    ),
    expires_at=253_402_300_799,
    created_at=0,
    updated_at=253_402_300_799,
)


def a_credential(name: str = "office", **changes: Any) -> AgentCredential:
    """Return a credential with every value that it can have."""
    plain = AgentCredential(
        name=name,
        verifiers=(
            Verifier("00000001", b"salt" * 4, b"s" * 32, b"k" * 32, 4096),
            Verifier("00000002", b"SALT" * 4, b"S" * 32, b"K" * 32, 5000),
        ),
        scope=AgentScope(
            ports="1-9,80",
            targets=("10.0.0.0/8:80", "db"),
            max_links=1,
            max_streams=2,
            bandwidth_limit=3,
        ),
        expires_at=4,
        created_at=5,
        updated_at=6,
    )
    return replace(plain, **changes)


def a_record(
    recorded_at: int, port: int = 0, *, is_tunnel: bool = False, sent: int = 1
) -> TrafficRecord:
    """Return a record of a minute."""
    return TrafficRecord(port, is_tunnel, recorded_at, 60, sent, 2, 3, 4)


class MappingStoreContract(_Test):
    """Mix into a `trial` `TestCase` and say what `make_store` returns."""

    def make_store(self):
        """Return a store that is empty and not open."""
        raise NotImplementedError

    async def opened(self):
        """Return an empty open store, closed when the test ends."""
        store = self.make_store()
        self.addCleanup(lambda: ensureDeferred(store.close()))
        await store.open()
        return store

    async def fails(self, expected, awaitable):
        """Return the failure of a call."""
        with self.assertRaises(expected) as caught:
            await awaitable
        return caught.exception

    def test_provides_the_interface(self):
        """Every method is there, with the arguments of the interface."""
        verifyObject(IMappingStore, self.make_store())

    async def test_new_store_is_empty(self):
        """A new store holds nothing and says so without a fault."""
        store = await self.opened()
        self.assertEqual(await store.load(), ([], []))

    async def test_insert_gives_an_id_and_keeps_every_value(self):
        """What was inserted is what is loaded, texts in any script included."""
        store = await self.opened()
        stored = await store.insert(FULL)
        self.assertGreater(stored.id, 0)
        self.assertEqual(replace(stored, id=0), FULL)
        self.assertEqual((await store.load()).mappings, [stored])

    async def test_ids_are_not_given_twice(self):
        """The id of a removed mapping is not given to another."""
        store = await self.opened()
        first = await store.insert(a_mapping(1))
        await store.delete(Match("tcp", 1))
        second = await store.insert(a_mapping(1))
        self.assertGreater(second.id, first.id)

    async def test_the_id_of_a_new_mapping_is_the_stores_choice(self):
        """An id that a caller puts into a new mapping is not taken over."""
        store = await self.opened()
        first = await store.insert(a_mapping(1))
        second = await store.insert(a_mapping(2, id=first.id))
        self.assertNotEqual(first.id, second.id)

    async def test_load_is_ordered_by_protocol_and_port(self):
        """The order of insertion does not matter."""
        store = await self.opened()
        for protocol, port in [("udp", 1), ("tcp", 65535), ("tcp", 2), ("tcp", 10)]:
            await store.insert(a_mapping(port, protocol=protocol))
        loaded = (await store.load()).mappings
        self.assertEqual(
            [(m.protocol, m.port) for m in loaded],
            [("tcp", 2), ("tcp", 10), ("tcp", 65535), ("udp", 1)],
        )

    async def test_port_of_a_protocol_is_unique(self):
        """A second mapping on a port is refused; the first stays."""
        store = await self.opened()
        stored = await store.insert(a_mapping(80))
        error = await self.fails(PortMappedError, store.insert(a_mapping(80, name="2")))
        self.assertEqual(error.fields, {"port": 80})
        await store.insert(a_mapping(80, protocol="udp"))
        self.assertEqual((await store.load()).mappings[0], stored)

    async def test_update_replaces_everything_but_the_id(self):
        """Every value of the row with that id is the new one."""
        store = await self.opened()
        other = await store.insert(a_mapping(1))
        stored = await store.insert(a_mapping(2))
        changed = replace(FULL, id=stored.id)
        self.assertIs(await store.update(changed), True)
        self.assertEqual((await store.load()).mappings, [other, changed])

    async def test_update_of_a_missing_mapping_is_false(self):
        """Nothing is created by an update."""
        store = await self.opened()
        self.assertIs(await store.update(a_mapping(1, id=7)), False)
        self.assertIs(await store.update(a_mapping(1)), False)
        self.assertEqual(await store.load(), ([], []))

    async def test_update_to_a_taken_port_changes_nothing(self):
        """Two mappings cannot be brought to one port."""
        store = await self.opened()
        first = await store.insert(a_mapping(1))
        second = await store.insert(a_mapping(2))
        await self.fails(PortMappedError, store.update(replace(second, port=1)))
        self.assertEqual((await store.load()).mappings, [first, second])

    async def test_delete_tells_whether_there_was_one(self):
        """Only the mapping of that protocol and port goes."""
        store = await self.opened()
        await store.insert(a_mapping(1))
        kept = await store.insert(a_mapping(2))
        for protocol, port, expected in [
            ("udp", 1, False),
            ("tcp", 3, False),
            ("tcp", 1 << 70, False),
            ("tcp", 1, True),
            ("tcp", 1, False),
        ]:
            self.assertIs(await store.delete(Match(protocol, port)), expected)
        self.assertEqual((await store.load()).mappings, [kept])

    async def test_values_that_could_not_be_read_back_are_refused(self):
        """A mapping is checked before it is stored, not when it is loaded."""
        store = await self.opened()
        stored = await store.insert(a_mapping(1))
        wrong: list[dict[str, Any]] = [
            {"port": 0},
            {"port": 70000},
            {"port": True},
            {"target_port": "22"},
            {"name": "\ud800"},
            {"labels": {"a": 1}},
            {"labels": {"a": "\udc00"}},
            {"agent": 7},
            {"protocol": ""},
            {"use_tunnel": False, "target_host": ""},
            {"created_at": -1},
            {"updated_at": 1 << 60},
        ]
        for changes in wrong:
            bad = a_mapping(**{"port": 2, **changes})
            await self.fails(BadRequestError, store.insert(bad))
            await self.fails(BadRequestError, store.update(replace(bad, id=stored.id)))
        self.assertEqual((await store.load()).mappings, [stored])

    async def test_callers_labels_are_copied(self):
        """A dictionary that the caller changes later does not change the store."""
        store = await self.opened()
        labels = {"a": "1"}
        stored = await store.insert(a_mapping(1, labels=labels))
        labels["a"] = "2"
        self.assertEqual(stored.labels, {"a": "1"})
        self.assertEqual((await store.load()).mappings, [stored])

    async def test_ping_answers_while_open(self):
        """The health check gets an answer."""
        store = await self.opened()
        await store.ping()

    async def test_close_may_be_called_twice_and_without_open(self):
        """Closing is always allowed."""
        store = self.make_store()
        await store.close()
        await store.open()
        await store.close()
        await store.close()

    async def test_a_store_that_is_not_open_refuses(self):
        """Before `open` and after `close` every call fails clearly."""
        store = self.make_store()
        for _ in range(2):
            for call in [
                store.load,
                store.ping,
                lambda: store.insert(a_mapping()),
                lambda: store.update(a_mapping(id=1)),
                lambda: store.delete(Match("tcp", 1)),
            ]:
                error = await self.fails(StoreError, call())
                self.assertIn("not open", str(error))
            await store.open()
            await store.close()

    async def test_open_twice_is_refused(self):
        """An open store stays open and usable."""
        store = await self.opened()
        await self.fails(StoreError, store.open())
        await store.ping()

    async def test_mappings_survive_closing_and_opening(self):
        """What was stored is there again, and new ids go on."""
        store = await self.opened()
        stored = await store.insert(FULL)
        await store.close()
        await store.open()
        self.assertEqual((await store.load()).mappings, [stored])
        self.assertGreater((await store.insert(a_mapping())).id, stored.id)

    async def test_any_calls_leave_what_a_dictionary_would_hold(self):
        """Two hundred random calls on few ports agree with a plain model."""
        chance = random.Random(20_260_101)
        store = await self.opened()
        model: dict[int, Mapping] = {}
        for number in range(200):
            port = chance.randint(1, 6)
            taken = {m.port: m.id for m in model.values()}
            wish = a_mapping(port, name=str(number))
            match chance.choice(["insert", "insert", "update", "delete"]):
                case "insert" if port in taken:
                    await self.fails(PortMappedError, store.insert(wish))
                case "insert":
                    stored = await store.insert(wish)
                    self.assertNotIn(stored.id, model)
                    model[stored.id] = replace(wish, id=stored.id)
                case "update":
                    wish = replace(wish, id=chance.choice([*model, 10_000]))
                    if wish.id in model and taken.get(port, wish.id) != wish.id:
                        await self.fails(PortMappedError, store.update(wish))
                        continue
                    self.assertEqual(await store.update(wish), wish.id in model)
                    if wish.id in model:
                        model[wish.id] = wish
                case "delete":
                    self.assertEqual(
                        await store.delete(Match("tcp", port)), port in taken
                    )
                    model.pop(taken.get(port, 0), None)
        expected = sorted(model.values(), key=lambda m: m.port)
        self.assertEqual(await store.load(), (expected, []))

    async def test_credentials_are_kept_by_name(self):
        """What was put last is what is loaded, in the order of names."""
        store = await self.opened()
        verifyObject(ICredentialStore, store)
        self.assertEqual(await store.load_credentials(), ([], []))
        for credential in (
            a_credential("web"),
            a_credential(expires_at=None),
            a_credential(scope=AgentScope()),
        ):
            await store.put_credential(credential)
        expected = [a_credential(scope=AgentScope()), a_credential("web")]
        self.assertEqual(await store.load_credentials(), (expected, []))
        self.assertTrue(await store.delete_credential("office"))
        self.assertFalse(await store.delete_credential("office"))
        self.assertEqual(await store.load_credentials(), (expected[1:], []))

    async def test_ports_are_kept_by_owner(self):
        """What was written last for an agent and entry is what is loaded."""
        store = await self.opened()
        verifyObject(IReservationStore, store)
        self.assertEqual(await store.load_reservations(), [])
        site = Reservation("web", "site", 10000)
        other = Reservation("web", "other", 10001, 5)
        await store.write_reservations([site, other], [])
        self.assertEqual(await store.load_reservations(), [site, other])
        left = site._replace(until=7, port=10002)
        await store.write_reservations([left], [other.owner, ("nobody", "")])
        self.assertEqual(await store.load_reservations(), [left])
        await store.close()
        await store.open()
        self.assertEqual(await store.load_reservations(), [left])

    async def test_bans_are_kept_by_network(self):
        """What was put last is what is loaded."""
        store = await self.opened()
        verifyObject(IBanStore, store)
        first = Ban("192.0.2.0/24", None, "why", True)
        second = Ban("192.0.2.0/24", 5, "", True)
        await store.put_ban(first)
        await store.put_ban(second)
        self.assertEqual(await store.load_bans(), [second])
        self.assertTrue(await store.delete_ban("192.0.2.0/24"))
        self.assertFalse(await store.delete_ban("192.0.2.0/24"))
        self.assertEqual(await store.load_bans(), [])

    async def test_the_audit_log_keeps_what_is_new_enough(self):
        """Numbers grow; old entries and those beyond the most are removed."""
        store = await self.opened()
        verifyObject(IAuditStore, store)
        for at in range(1, 7):
            entry = AuditEntry(0, at, "me", "::1", "act", "x", None, {"at": [at, "é"]})
            await store.note(entry, oldest=2, most=4)
        found = await store.load_audit(None, 100)
        self.assertEqual([one.at for one in found], [6, 5, 4, 3])
        self.assertEqual(found[0].after, {"at": [6, "é"]})
        self.assertIsNone(found[0].before)
        numbers = [one.id for one in found]
        self.assertEqual(numbers, sorted(numbers, reverse=True))
        older = await store.load_audit(found[1].id, 1)
        self.assertEqual([one.at for one in older], [4])

    async def test_what_passed_ever_adds_up_and_survives(self):
        """Whatever is recorded, and however often the store is opened."""
        store = await self.opened()
        verifyObject(IHistoryStore, store)
        self.assertEqual(await store.load_lifetime(), Lifetime())
        self.assertEqual(
            await store.record([], Lifetime(1, 2, 3, 1 << 50)),
            Lifetime(1, 2, 3, 1 << 50),
        )
        await store.record([a_record(60)], Lifetime(1, 0, 0, 1))
        await store.close()
        await self.fails(StoreError, store.load_lifetime())
        await self.fails(StoreError, store.record([], Lifetime()))
        await store.open()
        self.assertEqual(await store.load_lifetime(), Lifetime(2, 2, 3, (1 << 50) + 1))

    async def test_the_past_is_told_by_port_and_span(self):
        """In order, and in no more points than are wanted."""
        store = await self.opened()
        minutes = [a_record(60 * number) for number in (3, 1, 2)]
        others = [
            a_record(60, port=80, sent=7),
            a_record(60, is_tunnel=True, sent=8),
        ]
        await store.record([*minutes, *others], Lifetime())
        self.assertEqual(
            await store.load_history(0, False, 0, 180, 200),
            History(60, [Point(60 * n, 1, 2, 3, 4) for n in (1, 2, 3)]),
        )
        self.assertEqual(
            await store.load_history(0, False, 60, 120, 200),
            History(60, [Point(120, 1, 2, 3, 4)]),
        )
        self.assertEqual(
            await store.load_history(0, False, 0, 180, 1),
            History(300, [Point(300, 3, 6, 9, 4)]),
        )
        for port, is_tunnel, sent in ((80, False, 7), (0, True, 8)):
            found = await store.load_history(port, is_tunnel, 0, 180, 200)
            self.assertEqual([point.sent for point in found.points], [sent])
        self.assertEqual((await store.load_history(81, False, 0, 180, 9)).points, [])

    async def test_the_past_becomes_coarser_and_ends(self):
        """By the hour after two days, by the day after a month; nothing is lost."""
        store = await self.opened()
        now = 100 * DAY
        ages = [5 * 60, 3 * DAY, 3 * DAY + 60, 40 * DAY, 40 * DAY + HOUR, 99 * DAY]
        await store.record([a_record(now - age) for age in ages], Lifetime())
        for _ in range(2):
            await store.tidy_history(now, now - 90 * DAY, 1000)
        found = await store.load_history(0, False, 0, now, 1000)
        self.assertEqual(found.step, DAY)
        self.assertEqual(
            [(point.at, point.sent) for point in found.points],
            [(60 * DAY, 2), (97 * DAY, 2), (100 * DAY, 1)],
        )
        found = await store.load_history(0, False, now - 4 * DAY, now, 1000)
        self.assertEqual(found.step, HOUR)
        self.assertEqual(
            [(point.at, point.sent) for point in found.points],
            [(97 * DAY, 2), (100 * DAY, 1)],
        )
        found = await store.load_history(0, False, now - HOUR, now, 1000)
        self.assertEqual((found.step, len(found.points)), (60, 1))

    async def test_the_oldest_records_give_way(self):
        """Never more than so many are kept."""
        store = await self.opened()
        await store.record([a_record(60 * n) for n in range(1, 31)], Lifetime())
        await store.tidy_history(1801, 0, 10)
        found = await store.load_history(0, False, 0, 1800, 1000)
        self.assertEqual(
            [point.at for point in found.points], [60 * n for n in range(21, 31)]
        )

    async def test_credentials_need_an_open_store(self):
        """As everything else does."""
        store = self.make_store()
        await self.fails(StoreError, store.load_credentials())
        await self.fails(StoreError, store.put_credential(a_credential()))
        await self.fails(StoreError, store.delete_credential("office"))
