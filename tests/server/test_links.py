"""Who is admitted, who takes over, and who gets a stream."""

import json

from twisted.internet.defer import Deferred, fail
from zope.interface import alsoProvides

from gateway import SOFTWARE
from gateway.interfaces import ICertified
from gateway.policy.shares import HOLD_SECONDS
from gateway.server.link_connections import MAX_UNDECIDED
from gateway.wire import frames
from gateway.wire.hello import Register
from tests.link.rig import (
    INSTANCE,
    KEEP_ALIVE,
    OTHER_INSTANCE,
    answer,
    data,
    goaway,
    hello,
)
from tests.server.rig import GatewayCase, opened
from tests.strategies import json_frame, raw_frame

TOKEN = "a secret that nobody gues\u00dfes"


def instance(number):
    return f"{number:016x}"


class AdmissionTests(GatewayCase):
    """What an agent must show."""

    def test_without_a_token_anybody_is_admitted(self):
        agent = self.agent("web")
        self.assertEqual([frames.HELLO_ACK], agent.kinds())
        self.assertTrue(self.links.has("web"))
        self.assertTrue(self.links.connected)

    def test_comings_and_goings_are_told(self):
        agent = self.agent("web", software="made by a test")
        self.assertEqual(
            [
                ("arrived", {"agent": "web", "software": "made by a test"}),
                (
                    "up",
                    {
                        "agent": "web",
                        "link": 0,
                        "address": "198.51.100.1:4000",
                        "reason": None,
                    },
                ),
            ],
            [(action, fields) for _, action, fields in self.told("link")],
        )
        agent.transport.ends_in_order()
        down, left = self.told("link")[2:]
        self.assertEqual(("down", "web"), (down[1], down[2]["agent"]))
        self.assertEqual(("link", "left", {"agent": "web"}), left)

    def test_refused_links_are_told(self):
        self.build(max_links=1)
        self.agent("web")
        self.agent("other", instance=OTHER_INSTANCE)
        (refused,) = [one for one in self.told("link") if one[1] == "refused"]
        self.assertEqual("max tunnels reached", refused[2]["reason"])
        self.build(token=TOKEN)
        self.agent("web", token="wrong")
        ((_, action, fields),) = self.told("refusal")
        self.assertEqual(
            ("refused", "link", 1), (action, fields["what"], fields["count"])
        )

    def test_the_right_token_is_needed_where_there_is_one(self):
        self.build(token=TOKEN)
        agent = self.agent("web", token=TOKEN)
        self.assertEqual([frames.HELLO_ACK], agent.kinds())
        self.assertTrue(self.links.connected)

    def test_a_wrong_or_missing_token_is_refused(self):
        for fields in (
            {},
            {"token": ""},
            {"token": None},
            {"token": TOKEN[:-1]},
            {"token": "\ud83d\ude00"},
        ):
            self.build(token=TOKEN)
            agent = self.agent("web", **fields)
            ((kind, payload),) = agent.heard()
            self.assertEqual(frames.HELLO_ACK, kind)
            self.assertIn(b"authentication failed", payload)
            self.assertTrue(agent.transport.half_closed)
            self.assertFalse(self.links.connected)

    def test_a_wrong_token_is_logged_without_the_token(self):
        self.build(token=TOKEN)
        self.agent("web", token="attempt-number-one")
        (line,) = self.lines("Unauthorized")
        self.assertIn("agent web", line)
        self.assertNotIn("attempt", "".join(self.lines()))

    def test_an_address_that_fails_too_often_is_kept_out_for_a_while(self):
        self.build(token=TOKEN, failures=3)
        admitted = self.agent("web", token=TOKEN, address="198.51.100.2")
        for _ in range(3):
            self.agent("web", OTHER_INSTANCE)
        self.assertEqual(1, len(self.lines("198.51.100.1 is kept out until")))
        self.assertIsNone(self.connect())
        self.assertEqual(1, len(self.lines("198.51.100.1 refused: it is banned")) or 1)
        self.assertIsNotNone(self.connect("198.51.100.3"))
        self.assertTrue(admitted.transport.connected)
        self.create()
        self.assertTrue(self.links.has("web"))
        self.clock.advance(600)
        self.assertIsNotNone(self.connect())

    def test_a_certificate_gives_the_names_that_an_agent_may_have(self):
        self.build(by_certificate=True)
        for name, names, admitted in (
            ("web", {"web"}, True),
            ("db", {"web", "db"}, True),
            ("web", {"db"}, False),
            ("web", {"WEB"}, False),
            ("web", set(), False),
        ):
            found = self.connect()
            assert found is not None
            found.transport.peer_names = frozenset(names)
            alsoProvides(found.transport, ICertified)
            found.says(hello(agent=name))
            ((_, payload),) = found.heard()[:1]
            self.assertEqual(admitted, b"Unauthorized" not in payload)
            self.assertEqual(admitted, not found.transport.half_closed)

    def test_refusals_of_an_address_fill_one_line_a_minute(self):
        self.build(token=TOKEN)
        for _ in range(50):
            self.agent("web")
        self.assertEqual(1, len(self.lines("Unauthorized")))
        self.clock.advance(60)
        self.assertEqual(2, len(self.lines("Unauthorized")))
        self.assertEqual(1, len(self.lines("49 more links from 198.51.100.1")))

    def test_who_says_no_hello_where_it_is_asked_for_is_refused(self):
        self.build(token=TOKEN)
        silent = self.connect()
        self.later(5.25, 0.25, silent.transport)
        self.assertTrue(silent.transport.aborted)
        self.assertEqual(1, len(self.lines("Unauthorized")))
        for noise in (b"GET / HTTP/1.0\r\n\r\n", KEEP_ALIVE, b"\x01\x10\0\0\0\0"):
            self.connect().says(noise)
        self.assertEqual(1, len(self.lines("Unauthorized")))
        self.clock.advance(60)
        self.assertEqual(1, len(self.lines("3 more links")))

    def test_garbage_on_an_open_gateway_is_no_matter_of_credentials(self):
        self.connect().says(b"\x00\x05\0\0\0\0")
        self.assertFalse(self.lines("Unauthorized"))
        self.assertEqual(1, len(self.lines("v1.x")))

    def test_a_protocol_error_of_an_admitted_agent_is_logged_as_such(self):
        self.build(token=TOKEN)
        agent = self.agent("web", token=TOKEN)
        agent.says(json_frame(0x04))
        self.assertFalse(self.lines("Unauthorized"))
        self.assertEqual(1, len(self.lines("dropped")))

    def test_there_is_a_limit_of_links(self):
        self.build(max_links=1)
        self.agent("one")
        agent = self.agent("two", instance(2))
        ((_, payload),) = agent.heard()
        self.assertIn(b"max tunnels reached", payload)
        self.assertFalse(self.links.has("two"))

    def test_a_lost_link_gives_its_place_back(self):
        self.build(max_links=1)
        self.agent("one").transport.peer_resets()
        self.agent("two", instance(2))
        self.assertTrue(self.links.has("two"))

    def test_a_scan_makes_its_own_oldest_connections_give_way(self):
        """Who has not said who it is; an agent that speaks at once gets in."""
        silent = [self.connect() for _ in range(MAX_UNDECIDED)]
        self.clock.advance(HOLD_SECONDS)
        agent = self.agent("web")
        self.assertEqual(
            [one.transport.aborted for one in silent],
            [True] + [False] * (MAX_UNDECIDED - 1),
        )
        self.assertFalse(agent.transport.aborted)

    def test_a_flood_gives_way_to_an_agent_from_elsewhere_at_once(self):
        flood = [self.connect("198.51.100.66") for _ in range(MAX_UNDECIDED)]
        slow = self.connect("198.51.100.1")
        self.assertTrue(flood[0].transport.aborted)
        flood += [self.connect("198.51.100.66") for _ in range(MAX_UNDECIDED)]
        self.clock.advance(HOLD_SECONDS)
        flood += [self.connect("198.51.100.66") for _ in range(MAX_UNDECIDED)]
        slow.says(hello(agent="web"))
        self.assertTrue(self.links.has("web"))
        left = [one for one in flood if one and not one.transport.aborted]
        self.assertLess(len(left), MAX_UNDECIDED)

    def test_a_flood_is_rejected_before_anything_is_made_for_it(self):
        for _ in range(MAX_UNDECIDED + 1):
            self.connect()
        made = len(self.links.named())
        calls = len(self.clock.getDelayedCalls())
        self.assertIsNone(self.connect())
        self.assertEqual(len(self.links.named()), made)
        self.assertEqual(len(self.clock.getDelayedCalls()), calls)
        self.assertEqual(1, len(self.lines("have not said who they are")))

    def test_neighbours_in_ipv6_are_one_flood(self):
        for number in range(MAX_UNDECIDED):
            self.connect(f"2001:db8::{number:x}")
        self.assertIsNone(self.connect("2001:db8::ffff"))
        self.assertIsNotNone(self.connect("2001:db8:0:1::1"))

    def test_a_decided_link_never_gives_way(self):
        agent = self.agent("web")
        for _ in range(2 * MAX_UNDECIDED):
            self.connect()
        self.assertFalse(agent.transport.aborted)
        self.assertTrue(self.links.has("web"))

    def test_refused_links_in_their_last_words_keep_no_agent_out(self):
        self.build(token=TOKEN)
        for _ in range(MAX_UNDECIDED):
            self.connect().says(b"GET / HTTP/1.0\r\n\r\n")
        self.clock.advance(HOLD_SECONDS)
        self.agent("web", token=TOKEN)
        self.assertTrue(self.links.has("web"))

    def test_the_ack_tells_what_was_settled(self):
        self.build()
        agent = self.agent(features=["register", "telepathy"])
        ((_, payload), _) = agent.heard()
        for part in (b'"features":["register"]', b'"open_timeout":10', b'"links":16'):
            self.assertIn(part, payload)


class ProbeTests(GatewayCase):
    """A link that only asks whether its agent would be taken."""

    def test_it_is_answered_and_displaces_nobody(self):
        self.build(token=TOKEN)
        agent = self.agent("web", token=TOKEN)
        agent.heard()
        probe = self.agent("web", OTHER_INSTANCE, token=TOKEN, probe=10_000)
        (kind, payload), *rest = probe.heard()
        said = json.loads(payload)
        self.assertEqual((frames.HELLO_ACK, True), (kind, said["probe"]))
        self.assertEqual(SOFTWARE, said["software"])
        self.assertEqual(self.wall_now(), said["clock"])
        sizes = [len(body) for kind, body in rest if kind == frames.KEEP_ALIVE]
        self.assertEqual([4096, 4096, 1808], sizes)
        self.assertIn(frames.GOAWAY, [kind for kind, _ in rest])
        self.assertEqual([], agent.heard())
        [view] = self.links.views()
        self.assertEqual((INSTANCE, 1), (view.instance, view.links))
        probe.says(raw_frame(frames.PING, b"\0abcdefgh"))
        self.assertEqual([(frames.PING, b"\1abcdefgh")], probe.heard())
        self.assertFalse(probe.transport.half_closed)
        probe.says(goaway(frames.STOPPING))
        self.assertTrue(probe.transport.half_closed)
        self.assertEqual(
            [], self.lines("link up: agent web link 0 at 198.51.100.1")[1:]
        )

    def test_it_gets_no_visitors_and_no_ports(self):
        self.build()
        probe = self.agent("web", probe=0)
        self.assertFalse(self.links.connected)
        self.assertIsNone(self.links.pick("web"))
        probe.heard()
        probe.says(json_frame(frames.REGISTER, id="x", local=80))
        self.assertEqual([], probe.heard())

    def test_it_needs_the_credential_that_its_agent_needs(self):
        self.build(token=TOKEN)
        probe = self.agent("web", token="x" * 20, probe=0)
        ((_, payload),) = probe.heard()
        self.assertIn(b"authentication failed", payload)
        self.assertTrue(probe.transport.half_closed)


class NameTests(GatewayCase):
    """Several agents, or several processes of one name."""

    def test_another_process_takes_the_name_over(self):
        old = self.agent("web")
        self.create(agent="web")
        visitor = self.visit()
        old.heard()
        new = self.agent("web", OTHER_INSTANCE)
        ((kind, payload),) = old.heard()
        self.assertEqual((frames.GOAWAY, frames.REPLACED), (kind, payload[0]))
        self.assertTrue(old.transport.half_closed)
        self.assertTrue(visitor.aborted)
        self.assertIs(new.link, self.picked("web"))
        self.assertEqual(OTHER_INSTANCE, self.links.views()[0].instance)

    def test_the_replaced_process_is_refused_while_the_winner_lives(self):
        self.agent("web")
        winner = self.agent("web", OTHER_INSTANCE)
        ((_, payload),) = self.agent("web").heard()
        self.assertIn(b"another agent uses this name", payload)
        winner.transport.peer_resets()
        self.assertEqual([frames.HELLO_ACK], self.agent("web").kinds())
        self.assertTrue(self.links.has("web"))

    def test_the_last_16_replaced_processes_are_remembered(self):
        for number in range(18):
            self.agent("web", instance(number))
        for number in (1, 16):
            ((_, payload),) = self.agent("web", instance(number)).heard()
            self.assertIn(b"another agent", payload, number)
        self.agent("web", instance(0))
        self.assertEqual(instance(0), self.links.views()[0].instance)

    def test_one_place_is_enough_for_a_takeover(self):
        self.build(max_links=1)
        self.agent("web")
        new = self.agent("web", OTHER_INSTANCE)
        self.assertEqual([frames.HELLO_ACK], new.kinds())
        self.assertEqual(1, len(self.links.views()))

    def test_links_of_one_process_live_side_by_side(self):
        self.agent("web", link=0)
        self.agent("web", link=1)
        (view,) = self.links.views()
        self.assertEqual((2, True), (view.links, view.negotiated))

    def test_a_link_replaces_its_predecessor_of_the_same_number(self):
        old = self.agent("web", link=0)
        other = self.agent("web", link=1)
        new = self.agent("web", link=0)
        old.transport.pump()
        self.assertTrue(old.transport.aborted)
        self.assertFalse(other.transport.aborted)
        self.assertEqual([frames.HELLO_ACK], new.kinds())
        self.assertEqual(2, self.links.views()[0].links)

    def test_one_dying_link_closes_only_its_own_streams(self):
        first = self.agent("web", link=0)
        self.create(agent="web")
        one = self.visit()
        self.agent("web", link=1)
        two = self.visit()
        first.transport.peer_resets()
        self.assertTrue(one.aborted)
        self.assertFalse(two.aborted)
        self.assertTrue(self.links.has("web"))

    def test_every_way_up_and_down_is_logged_in_pairs(self):
        silent = self.connect()
        self.later(2.25)  # legacy by its silence
        silent.says(hello())  # and then not
        self.agent(OTHER_INSTANCE[:4], instance(2))
        self.agent(link=0)  # the same number
        self.agent(instance=OTHER_INSTANCE)  # another process
        self.links.abort()
        self.assertEqual(5, len(self.lines("agent link up")))
        self.assertEqual(5, len(self.lines("agent link down")))


class PhraseTests(GatewayCase):
    """The documented words."""

    language = "zh"

    def test_another_version_is_refused_in_them(self):
        self.connect().says(b"\x07\x05\0\0\0\0")
        self.assertEqual(1, len(self.lines("不支持的协议版本: 7")))

    def test_an_unknown_kind_is_told_of_once(self):
        agent = self.agent("web")
        for kind in (0x7F, 0x7F, 0x60):
            agent.says(bytes((1, kind, 0, 0, 0, 0)))
        self.assertEqual(1, len(self.lines("未知消息类型: 127")))
        self.assertEqual([], self.lines("未知消息类型: 96"))
        self.assertTrue(self.links.has("web"))

    def test_links_are_logged_with_the_documented_words(self):
        agent = self.agent()
        self.assertEqual(1, len(self.lines("隧道客户端已连接")))
        agent.transport.peer_resets()
        self.assertEqual(1, len(self.lines("隧道客户端已断开")))


class ChoiceTests(GatewayCase):
    """Which link a new stream gets."""

    def test_nobody_is_there(self):
        self.assertIsNone(self.links.pick(None))
        self.assertIsNone(self.links.pick("web"))

    def test_without_a_name_the_default_agent_is_meant(self):
        self.agent("web", instance(1))
        default = self.agent("default", instance(2))
        self.assertIs(default.link, self.picked(None))

    def test_without_a_default_agent_the_only_one_is(self):
        web = self.agent("web")
        self.assertIs(web.link, self.picked(None))
        self.agent("db", instance(2))
        self.assertIsNone(self.links.pick(None))

    def test_new_streams_go_to_the_least_loaded_link(self):
        one = self.agent("web", link=0)
        two = self.agent("web", link=1)
        self.create(agent="web")
        for _ in range(4):
            self.visit()
        self.assertEqual([2, 2], [opened(one.heard()), opened(two.heard())])

    def test_bytes_of_the_last_second_count_as_streams_do(self):
        """One download fills a link more than three idle streams do."""
        one = self.agent("web", link=0)
        two = self.agent("web", link=1)
        self.create(agent="web")
        for _ in range(6):
            self.visit()
        started = [payload for kind, payload in one.heard() if kind == frames.OPEN]
        two.heard()
        self.clock.advance(1)
        self.links.pick("web")
        for payload in started:
            stream_id = int.from_bytes(payload[:4], "big")
            one.reached(stream_id)
            one.says(*[data(stream_id, bytes(20_000))] * 12)
        for _ in range(2):
            self.visit()
        self.assertEqual([0, 2], [opened(one.heard()), opened(two.heard())])
        self.clock.advance(2)
        self.links.pick("web")
        for _ in range(2):
            self.visit()
        self.assertEqual([2, 0], [opened(one.heard()), opened(two.heard())])

    def test_a_link_has_room_for_so_many_streams_only(self):
        self.build(streams_per_link=1)
        self.agent("web")
        self.create(agent="web")
        self.visit()
        visitor = self.visit()
        self.assertTrue(visitor.aborted)
        self.assertEqual(1, len(self.lines("agent web has no room")))

    def test_the_fullest_link_is_told_and_who_found_no_room(self):
        self.build(streams_per_link=2)
        self.create()
        agent = self.agent()
        for _ in range(3):
            self.visit()
        self.assertEqual((2, 2, 2, 1), self.links.stream_places)
        agent.transport.peer_resets()
        self.visit()  # nobody is there, which is no matter of room
        self.assertEqual((2, 0, 2, 1), self.links.stream_places)

    def test_a_link_that_its_agent_needs_no_more_was_not_lost(self):
        self.agent("web", link=0)
        other = self.agent("web", link=1)
        other.says(goaway(frames.SURPLUS, "not needed"))
        self.assertEqual([frames.GOAWAY], other.kinds()[-1:])
        other.transport.peer_resets()
        self.assertEqual([], self.lines("link down"))
        self.assertEqual(1, len(self.lines("agent web closed its link 1")))
        actions = [action for _, action, _ in self.told("link")]
        self.assertEqual(["arrived", "up", "up", "closed"], actions)
        [view] = self.links.views()
        self.assertEqual(1, view.links)

    def test_a_leaving_agent_gets_no_new_streams(self):
        agent = self.agent("web")
        agent.says(goaway(frames.STOPPING, "bye"))
        self.assertIsNone(self.links.pick("web"))
        self.assertEqual(1, len(self.lines("leaves: bye")))

    def test_a_goodbye_without_a_text_is_logged_by_its_number(self):
        self.agent("web").says(goaway(frames.RELOAD))
        self.assertEqual(1, len(self.lines("leaves: reason 4")))

    def test_a_view_tells_of_streams_and_round_trips(self):
        agent = self.agent("web", software="gotunnel 1")
        self.create(agent="web")
        self.visit()
        agent.reached()
        self.clock.advance(15.5)
        agent.heard()
        agent.says(b"\x01\x1a\0\0\0\x09\x01" + bytes(range(8)))
        (view,) = self.links.views()
        self.assertEqual(
            ("web", 1, "gotunnel 1"), (view.name, view.streams, view.software)
        )
        self.assertEqual("198.51.100.1:4000", view.address)
        self.assertIsNotNone(view.rtt_seconds)


class LegacyTests(GatewayCase):
    """Agents that say no HELLO."""

    def test_a_talking_one_is_the_default_agent(self):
        agent = self.connect()
        agent.says(KEEP_ALIVE)
        (view,) = self.links.views()
        self.assertEqual(
            ("default", "", False), (view.name, view.instance, view.negotiated)
        )
        self.create()
        self.visit()
        self.assertEqual(1, opened(agent.heard()))

    def test_a_silent_one_takes_a_free_name(self):
        self.connect()
        self.later(2.25)
        self.assertTrue(self.links.has("default"))

    def test_a_port_scan_displaces_no_agent(self):
        agent = self.connect()
        agent.says(KEEP_ALIVE)
        scan = self.connect()
        self.later(3)
        self.assertIs(agent.link, self.picked(None))
        scan.says(b"GET / HTTP/1.0\r\n\r\n")
        self.assertIs(agent.link, self.picked(None))
        self.assertFalse(agent.transport.aborted)

    def test_a_port_scan_beside_a_named_agent_gets_no_visitors(self):
        agent = self.agent("office")
        self.connect()
        self.later(3)
        self.assertIs(agent.link, self.picked(None))
        self.assertEqual(["office"], [view.name for view in self.links.views()])

    def test_a_port_scan_that_came_first_gives_visitors_back(self):
        self.connect()
        self.later(3)
        agent = self.agent("office")
        self.assertIs(agent.link, self.picked(None))
        self.assertTrue(self.links.reachable(None))
        self.assertFalse(self.links.reachable("home"))

    def test_who_comes_before_a_silent_one_has_spoken_shares_no_visitors(self):
        self.connect()
        self.later(3)
        self.agent("office")
        self.agent("home", instance(2))
        self.assertIsNone(self.links.pick(None))

    def test_a_silent_one_takes_the_name_with_its_first_frame(self):
        old = self.connect()
        old.says(KEEP_ALIVE)
        new = self.connect()
        self.later(3)
        new.says(KEEP_ALIVE)
        old.transport.pump()
        self.assertTrue(old.transport.aborted)
        self.assertIs(new.link, self.picked(None))

    def test_a_silent_one_that_leaves_is_forgotten(self):
        old = self.connect()
        old.says(KEEP_ALIVE)
        new = self.connect()
        self.later(3)
        new.transport.peer_resets()
        self.assertIs(old.link, self.picked(None))

    def test_a_silent_one_may_say_hello_after_all(self):
        old = self.connect()
        old.says(KEEP_ALIVE)
        new = self.connect()
        self.later(3)
        new.says(hello(agent="web"))
        self.assertIs(old.link, self.picked(None))
        self.assertIs(new.link, self.picked("web"))

    def test_a_negotiated_default_agent_keeps_its_name(self):
        agent = self.agent()
        legacy = self.connect()
        legacy.says(KEEP_ALIVE)
        legacy.transport.pump()
        self.assertTrue(legacy.transport.aborted)
        self.assertIs(agent.link, self.picked(None))

    def test_a_negotiated_default_agent_takes_the_name_of_a_legacy_one(self):
        legacy = self.connect()
        legacy.says(KEEP_ALIVE)
        agent = self.agent()
        self.assertIs(agent.link, self.picked(None))
        legacy.transport.pump()
        self.assertTrue(legacy.transport.half_closed)

    def test_it_needs_a_place_too(self):
        self.build(max_links=1)
        self.agent("web")
        legacy = self.connect()
        legacy.says(KEEP_ALIVE)
        legacy.transport.pump()
        self.assertTrue(legacy.transport.aborted)
        self.assertFalse(self.links.has("default"))


class WishTests(GatewayCase):
    """Agents ask for public ports."""

    def test_a_wish_is_answered_on_the_same_link(self):
        agent = self.agent("web")
        agent.heard()
        agent.says(json_frame(frames.REGISTER, id="site", local=80))
        ((kind, payload),) = agent.heard()
        self.assertEqual(frames.REGISTER_ACK, kind)
        self.assertIn(b"tcp://:10000", payload)

    def test_a_bug_is_logged_and_answered(self):
        agent = self.agent("web")
        agent.heard()
        self.patch(
            self.registrations,
            "agent_registers",
            lambda name, wish, scope: fail(ValueError("x")),
        )
        agent.says(json_frame(frames.REGISTER, id="site", local=80))
        ((_, payload),) = agent.heard()
        self.assertIn(b"internal error", payload)
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))

    def test_an_answer_to_an_agent_that_has_gone_is_dropped(self):
        agent = self.agent("web")
        agent.heard()
        late: Deferred[None] = Deferred()
        self.patch(
            self.registrations, "agent_registers", lambda name, wish, scope: late
        )
        agent.says(json_frame(frames.REGISTER, id="site", local=80))
        agent.transport.peer_resets()
        late.errback(ValueError("x"))
        self.assertEqual([], agent.heard())
        self.flushLoggedErrors(ValueError)

    def test_a_link_that_is_nobodys_may_not_ask(self):
        agent = self.agent("web")
        link = agent.link
        agent.transport.peer_resets()
        self.links.admission.link_register(link, Register(id="site", local=80))
        self.assertFalse(self.network.opened)


class LeavingTests(GatewayCase):
    """The gateway stops."""

    def test_every_agent_is_told_and_nobody_is_admitted(self):
        agent = self.agent()
        waiting = self.connect()
        agent.heard()
        self.links.leave("the gateway stops")
        ((kind, payload),) = agent.heard()
        self.assertEqual((frames.GOAWAY, frames.STOPPING), (kind, payload[0]))
        self.assertTrue(waiting.transport.half_closed)
        self.assertIsNone(self.connect())

    def test_gone_fires_with_the_last_connection(self):
        agent = self.agent()
        self.links.leave("the gateway stops")
        gone = self.links.gone()
        self.assertNoResult(gone)
        self.links.abort()
        agent.transport.pump()
        self.successResultOf(gone)
        self.successResultOf(self.links.gone())

    def test_waiting_for_it_can_be_given_up(self):
        agent = self.agent()
        gone = self.links.gone()
        gone.cancel()
        self.failureResultOf(gone)
        agent.transport.peer_resets()

    def test_abort_leaves_nothing_behind(self):
        self.build(token=TOKEN)
        agents = [self.agent("web", token=TOKEN), self.agent("web"), self.connect()]
        for _ in range(2):
            self.links.abort()
        for agent in agents:
            agent.transport.pump()
        self.assertFalse(self.clock.getDelayedCalls())
        self.assertFalse(self.links.connected)

    def test_a_running_stream_may_finish(self):
        agent = self.agent()
        self.create()
        visitor = self.visit()
        agent.says(answer(1))
        self.links.leave("the gateway stops")
        agent.says(goaway(frames.STOPPING))
        self.assertFalse(agent.transport.half_closed)
        visitor.peer_resets()
        self.assertTrue(agent.transport.half_closed)
