"""The server's limits: in memory where time matters, on sockets where they do."""

import json
import socket
from typing import Any

from pydantic import SecretStr
from twisted.internet import reactor as global_reactor  # noqa: TID251 - on sockets
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import directlyProvides

from gateway.api.pages import shipped_pages
from gateway.api.settings import ApiSettings
from gateway.api.site import LINGER_BYTES, STALL_SECONDS, make_site
from gateway.ops.channel import READ_BYTES
from gateway.ops.slices import LINE, PER_TURN, REQUEST, Slices
from gateway.policy.budget import Budget
from gateway.policy.mapping import Mapping, Target
from gateway.policy.shares import HOLD_SECONDS
from gateway.server.mappings import MappingView
from tests.api.fakes import NOON, FakeMappings, build_api
from tests.fakes import TurnClock

reactor: Any = global_reactor
PEER = IPv4Address("TCP", "127.0.0.1", 40000)
ELSEWHERE = IPv4Address("TCP", "127.0.0.2", 40000)
BODY = b'{"port": 10001}'
HEAD = (
    b"POST /api/mapping/create HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\n"
)
POST = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Wire(StringTransportWithDisconnection):
    """A transport that tells how it was ended.

    Attributes:
        stuck: whether the client reads nothing, so that a close waits for it.
    """

    aborted = half_closed = stuck = False

    def setTcpNoDelay(self, enabled):
        pass

    def loseConnection(self):
        if self.stuck and not self.aborted:
            self.disconnecting = True
        else:
            super().loseConnection()

    def loseWriteConnection(self):
        self.half_closed = True

    def abortConnection(self):
        self.aborted = True
        self.loseConnection()


def status(answer):
    """Return the status code of the first answer in some bytes."""
    return int(answer.split(b" ", 2)[1])


def message(answer):
    """Return the message of a refusal."""
    return json.loads(answer.partition(b"\r\n\r\n")[2])["message"]


class ChannelTests(SynchronousTestCase):
    """One connection on a fake clock."""

    def setUp(self):
        self.clock = Clock()
        self.mappings = FakeMappings()
        api = build_api(self.clock, mappings=self.mappings)
        self.addCleanup(api.close)
        self.site = make_site(api, self.clock)
        self.channel: Any = None
        self.wire: Any = None
        self.connect()

    def connect(self, peer=PEER):
        """Take the place of the test's connection, if there is one."""
        if self.wire is not None:
            self.wire.abortConnection()
        self.channel = self.site.buildProtocol(peer)
        self.wire = Wire(hostAddress=PEER, peerAddress=peer)
        directlyProvides(self.wire, ITCPTransport)
        self.wire.protocol = self.channel
        self.channel.makeConnection(self.wire)

    def ports(self):
        return [view.mapping.port for view in self.mappings.views()]

    def assertGone(self):
        self.clock.advance(0)
        self.assertFalse(self.wire.connected)
        self.assertEqual(self.site.channels, set())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_requests_follow_each_other(self):
        self.channel.dataReceived(POST + LIVEZ)
        self.channel.dataReceived(LIVEZ)
        self.assertEqual(self.wire.value().count(b"HTTP/1.1 200 OK"), 3)
        self.assertEqual(self.ports(), [10001])

    def test_any_cut_of_a_request_is_the_same(self):
        for at in range(1, len(POST), 7):
            self.clock.advance(0)
            self.connect()
            self.channel.dataReceived(POST[:at])
            self.channel.dataReceived(POST[at:])
            self.assertIn(status(self.wire.value()), (200, 409), at)
        self.assertEqual(self.ports(), [10001])

    def test_a_silent_client_is_cut_after_the_timeout(self):
        self.clock.advance(9.9)
        self.assertTrue(self.wire.connected)
        self.clock.advance(0.1)
        self.assertGone()
        self.assertEqual(self.wire.value(), b"")

    def test_a_dripping_head_is_cut_after_the_timeout(self):
        for byte in range(10):
            self.channel.dataReceived(LIVEZ[byte : byte + 1])
            self.assertEqual(self.wire.value(), b"")
            self.clock.advance(1)
        self.assertEqual(status(self.wire.value()), 408)
        self.assertEqual(
            message(self.wire.value()), "the request took longer than 10 seconds"
        )

    def test_a_dripping_body_is_cut_after_the_timeout(self):
        for byte in range(20):
            self.channel.dataReceived(POST[byte * 10 : byte * 10 + 10])
            if self.wire.value():
                break
            self.clock.advance(1)
        self.assertEqual((byte, status(self.wire.value())), (10, 408))
        self.assertEqual(self.ports(), [])

    def test_each_request_has_the_whole_time(self):
        for _ in range(3):
            self.clock.advance(9)
            self.channel.dataReceived(LIVEZ[:10])
            self.clock.advance(9)
            self.channel.dataReceived(LIVEZ[10:])
        self.assertEqual(self.wire.value().count(b"HTTP/1.1 200 OK"), 3)

    def test_a_client_that_was_refused_is_gone_soon(self):
        self.channel.dataReceived(HEAD + b"Content-Length: 65537\r\n\r\n")
        self.assertEqual(status(self.wire.value()), 413)
        self.assertEqual(
            message(self.wire.value()),
            "request body is longer than 65536 bytes, which is the limit",
        )
        self.assertTrue(self.wire.connected and self.wire.half_closed)
        self.clock.advance(2)
        self.assertTrue(self.wire.aborted)
        self.assertGone()

    def test_what_a_refused_client_still_sends_is_not_served(self):
        self.channel.dataReceived(HEAD + b"Content-Length: 65537\r\n\r\n" + POST)
        self.channel.dataReceived(POST)
        self.assertEqual(self.wire.value().count(b"HTTP/1.1"), 1)
        self.assertEqual(self.ports(), [])

    def test_a_refused_client_that_sends_on_is_aborted(self):
        self.channel.dataReceived(b"garbage\r\n\r\n")
        self.channel.dataReceived(bytes(LINGER_BYTES))
        self.assertFalse(self.wire.aborted)
        self.channel.dataReceived(b"x")
        self.assertTrue(self.wire.aborted)
        self.assertGone()

    def test_a_body_of_the_limit_is_taken(self):
        body = BODY.ljust(65536)
        self.channel.dataReceived(HEAD + b"Content-Length: 65536\r\n\r\n" + body)
        self.assertEqual(status(self.wire.value()), 200)

    def test_a_chunked_body_is_taken_up_to_the_limit(self):
        chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        for size, code in ((65536, 200), (65537, 413)):
            self.connect()
            body = BODY.replace(b"1", b"2", 1).ljust(size)
            self.channel.dataReceived(chunked)
            for at in range(0, size, 16384):
                part = body[at : at + 16384]
                self.channel.dataReceived(b"%x\r\n%s\r\n" % (len(part), part))
            self.channel.dataReceived(b"0\r\n\r\n")
            self.assertEqual(status(self.wire.value()), code)
            self.assertEqual(self.wire.value().count(b"HTTP/1.1 "), 1)

    def test_a_chunked_body_is_refused_as_soon_as_it_is_too_long(self):
        chunk = b"10000\r\n%s\r\n1\r\nx\r\n" % bytes(65536)
        self.channel.dataReceived(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
        self.assertEqual(status(self.wire.value()), 413)

    def test_a_last_answer_that_nobody_reads_does_not_hold_the_connection(self):
        for request in (LIVEZ, LIVEZ[:-2] + b"Connection: close\r\n\r\n"):
            self.connect()
            self.wire.stuck = True
            self.channel.dataReceived(request)
            self.clock.advance(10)
            self.clock.advance(2)
            self.assertTrue(self.wire.aborted)
            self.assertGone()

    def test_continue_is_not_said_to_a_body_over_the_limit(self):
        for length, code in ((100, 100), (65537, 413)):
            self.connect()
            self.channel.dataReceived(
                HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % length
            )
            self.assertEqual(status(self.wire.value()), code)

    def test_refusals_honour_the_language_as_far_as_it_is_known(self):
        self.channel.dataReceived(
            HEAD + b"Accept-Language: zh\r\nContent-Length: 65537\r\n\r\n"
        )
        self.assertIn("请求体过大", message(self.wire.value()))

    def test_what_is_not_http_is_refused_in_json(self):
        for junk in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            b"\x00" * 20000,
            b"GET /livez\r\n\r\n",
            b"GET /livez HTTP/2.0\r\n\r\n",
            b"GET /livez HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET /livez HTTP/1.1\r\n" + b"X: %s\r\n" % (b"x" * 9000) * 3 + b"\r\n",
            b"GET /livez HTTP/1.1\r\n" + b"X: y\r\n" * 600 + b"\r\n",
            HEAD + b"Content-Length: x\r\n\r\n",
            HEAD + b"Content-Length: -1\r\n\r\n",
            HEAD + b"Content-Length: 15\r\nContent-Length: 16\r\n\r\n" + BODY,
            HEAD + b"Content-Length: 15\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY,
            HEAD + b"Transfer-Encoding: gzip\r\n\r\n" + BODY,
            HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        ):
            self.connect()
            self.channel.dataReceived(junk)
            self.clock.advance(0)  # a turn parses few lines
            answer = self.wire.value()
            self.assertEqual(status(answer), 400, junk[:60])
            self.assertEqual(answer.count(b"HTTP/1.1 "), 1, junk[:60])
            self.assertIn(b"nosniff", answer)
            self.assertIn("malformed request", message(answer))
        self.clock.advance(2)
        self.assertGone()

    def test_forms_of_other_sites_are_refused(self):
        for kind in (b"text/plain", b"multipart/form-data; boundary=x"):
            self.connect()
            self.channel.dataReceived(POST.replace(b"application/json", kind))
            self.assertEqual(status(self.wire.value()), 415)
        self.assertEqual(self.ports(), [])

    def test_the_star_path_is_no_way_around_the_gate(self):
        self.channel.dataReceived(b"OPTIONS * HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        self.assertEqual(status(self.wire.value()), 403)
        self.assertNotIn(b"Server:", self.wire.value())

    def ask(self, target, host=b"localhost"):
        self.connect()
        head = b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (target, host)
        self.channel.dataReceived(head)
        return self.wire.value()

    def test_a_target_may_name_the_server(self):
        for target in (
            b"http://localhost:8080/livez",
            b"HTTP://127.0.0.1/livez?x=1",
            b"https://[::1]:8080/livez",
        ):
            self.assertEqual(status(self.ask(target)), 200, target)
        self.assertEqual(status(self.ask(b"http://localhost?x=/nowhere")), 200)

    def test_the_server_that_a_target_names_stands_above_the_header(self):
        target = b"http://%s/api/mapping/list"
        self.assertEqual(status(self.ask(target % b"localhost", b"evil.example")), 200)
        self.assertEqual(status(self.ask(target % b"evil.example", b"localhost")), 403)

    def test_a_target_without_a_server_is_no_path(self):
        for target in (b"http:///livez", b"ftp://localhost/livez", b"http://u@/livez"):
            self.assertEqual(status(self.ask(target)), 404, target)

    def test_old_clients_and_closing_ones_are_closed(self):
        for request in (
            b"GET /livez HTTP/1.0\r\n\r\n",
            LIVEZ[:-2] + b"Connection: close\r\n\r\n",
        ):
            self.connect()
            self.channel.dataReceived(request)
            self.assertEqual(status(self.wire.value()), 200)
            self.assertGone()

    def test_a_create_completes_after_its_caller_left(self):
        go_on = self.mappings.hold()
        self.channel.dataReceived(POST)
        self.wire.loseConnection()
        self.assertGone()
        self.assertEqual(self.ports(), [])
        go_on.callback(None)
        self.assertEqual(self.ports(), [10001])

    def test_a_create_that_fails_unseen_leaves_a_line_in_the_log(self):
        go_on = self.mappings.hold()
        self.channel.dataReceived(POST)
        self.wire.loseConnection()
        go_on.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def crowd(self, count, sent=b""):
        """Open connections that send something, and return their wires."""
        wires = []
        for _ in range(count):
            self.wire = None
            self.connect()
            self.channel.dataReceived(sent)
            self.clock.advance(0)  # a turn admits few requests
            wires.append(self.wire)
        return wires

    def flood(self, count):
        """Open connections that ask for nothing yet, a while after any others."""
        self.clock.advance(HOLD_SECONDS)
        return self.crowd(count, LIVEZ[:20])

    def test_connections_beyond_those_being_served_are_closed_at_once(self):
        self.mappings.hold()
        served = [self.wire, *self.crowd(199, POST)]
        served[0].protocol.dataReceived(POST)
        self.assertIsNone(self.site.buildProtocol(PEER))
        self.assertTrue(all(wire.connected for wire in served))
        served[0].abortConnection()
        self.crowd(1, LIVEZ)
        self.assertEqual(status(self.wire.value()), 200)
        self.site.abort_connections()
        self.assertEqual(self.site.channels, set())
        self.assertEqual(len(self.site.waiting), 0)

    def test_slow_requests_keep_nobody_out(self):
        """Whatever of a request is there, the one that waits longest gives way."""
        self.wire.abortConnection()
        for sent in (b"", LIVEZ[:20], LIVEZ, POST[:-1], b"garbage\r\n\r\n"):
            slow = self.crowd(200, sent)
            self.clock.advance(HOLD_SECONDS)
            self.crowd(1, LIVEZ)
            self.assertEqual(status(self.wire.value()), 200, sent)
            self.assertTrue(slow[0].aborted)
            self.assertFalse(any(wire.aborted for wire in slow[1:]))
            self.assertEqual(len(self.site.channels), 200)
            self.site.abort_connections()
        self.assertGone()

    def test_a_flood_gives_way_to_a_caller_from_elsewhere_at_once(self):
        flood = [self.wire, *self.crowd(199)]
        self.assertIsNone(self.site.buildProtocol(PEER))
        self.wire = None
        self.connect(ELSEWHERE)
        self.channel.dataReceived(LIVEZ[:20])
        caller, channel = self.wire, self.channel
        self.clock.advance(HOLD_SECONDS)
        self.crowd(199)
        channel.dataReceived(LIVEZ[20:])
        self.assertEqual(status(caller.value()), 200)
        self.assertTrue(all(wire.aborted for wire in flood))

    def test_places_are_counted_and_given_back(self):
        places = self.site.api.connections
        self.crowd(199)
        self.flood(100)
        self.assertEqual((places.limit, places.active), (200, 200))
        self.assertEqual((places.total, places.rejected), (300, 100))
        self.site.abort_connections()
        self.assertEqual(places.active, 0)

    def test_zero_places_are_any_number(self):
        self.site.api.connections.limit = 0
        self.crowd(300, LIVEZ[:20])
        self.assertEqual(len(self.site.channels), 301)

    def test_who_was_served_last_gives_way_last(self):
        first = self.wire
        slow = self.crowd(199, LIVEZ[:20])
        first.protocol.dataReceived(LIVEZ)
        self.flood(199)
        self.assertTrue(all(wire.aborted for wire in slow))
        self.assertFalse(first.aborted)

    def test_a_request_that_is_served_never_gives_way(self):
        go_on = self.mappings.hold()
        self.channel.dataReceived(POST)
        served = self.wire
        self.crowd(199)
        self.flood(199)
        self.assertEqual(len(self.site.channels), 200)
        go_on.callback(None)
        self.assertEqual(status(served.value()), 200)

    def test_there_is_neither_an_access_log_nor_its_timer(self):
        self.site.doStart()
        self.channel.dataReceived(LIVEZ)
        self.wire.loseConnection()
        self.assertGone()
        self.site.doStop()
        self.assertFalse(self.site.noisy)


class SlowWire(Wire):
    """A transport whose far end reads when it is told to.

    Attributes:
        unsent: bytes that wait.
    """

    unsent, paused = 0, False
    memory = Budget()
    protocol: Any

    def write(self, data):
        super().write(data)
        self.unsent += len(data)
        self.memory.hold(len(data))
        if self.unsent > 65536 and not self.paused:
            self.paused = True
            self.protocol.pauseProducing()

    def writeSequence(self, iovec):
        self.write(b"".join(iovec))

    def read(self, size=None):
        """Take some bytes, or all."""
        size = self.unsent if size is None else size
        self.unsent -= size
        self.memory.let_go(size)
        if self.paused and not self.unsent:
            self.paused = False
            self.protocol.resumeProducing()

    def abortConnection(self):
        size, self.unsent = self.unsent, 0
        self.memory.let_go(size)
        super().abortConnection()


SECRET = "s3cret"


class SlowReaderTests(SynchronousTestCase):
    """Callers who do not read what they are sent."""

    def setUp(self):
        self.clock = TurnClock()
        self.memory = Budget(4 << 20)
        self.mappings = FakeMappings()
        api = build_api(
            self.clock,
            mappings=self.mappings,
            settings=ApiSettings(api_key=SecretStr(SECRET)),
        )
        self.addCleanup(api.close)
        self.slices = Slices(self.clock)
        self.site = make_site(api, self.clock, self.memory, self.slices)
        path, file = max(
            shipped_pages().static.items(), key=lambda item: len(item[1].plain)
        )
        self.size = len(file.plain)
        self.page = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        self.listing = (
            b"GET /api/mapping/list HTTP/1.1\r\nHost: localhost\r\n"
            b"X-API-Key: %s\r\n\r\n" % SECRET.encode()
        )

    def connect(self, host="192.0.2.1"):
        peer = IPv4Address("TCP", host, 40000)
        channel: Any = self.site.buildProtocol(peer)
        wire = SlowWire(hostAddress=PEER, peerAddress=peer)
        wire.memory = self.memory
        directlyProvides(wire, ITCPTransport)
        wire.protocol = channel
        channel.makeConnection(wire)
        return wire

    def say(self, wire, data):
        wire.protocol.dataReceived(data)
        self.clock.advance(0)

    def stall(self, host="192.0.2.1", *, known=False):
        """Return a connection with answers that nobody reads."""
        wire = self.connect(host)
        if known:
            name = "x" * 100_000
            view = MappingView(
                Mapping(
                    id=1,
                    port=10022,
                    targets=(Target(host="", port=22, use_tunnel=True),),
                    name=name,
                    created_at=NOON,
                    updated_at=NOON,
                ),
                "listening",
                None,
                0,
                "stored",
            )
            self.mappings.put(view)
        while not wire.paused:
            self.say(wire, self.listing if known else self.page)
        self.clock.advance(0.01)
        return wire

    def test_pipelined_requests_wait_until_the_answers_before_are_read(self):
        wire = self.connect()
        self.say(wire, self.page * 50)
        head = 2048
        self.assertLess(wire.unsent, 65536 + self.size + head)
        for _ in range(50):
            self.assertLess(wire.unsent, 65536 + self.size + head)
            wire.read()
            self.clock.advance(0)
        self.assertEqual(wire.value().count(b"HTTP/1.1 200 OK"), 50)
        self.assertEqual(self.memory.held, 0)

    def test_requests_are_read_no_further_while_an_answer_waits(self):
        wire = self.stall()
        for _ in range(100):
            if wire.producerState != "producing":
                break
            self.say(wire, self.page * 10)
        self.assertEqual(wire.producerState, "paused")
        while wire.unsent:
            wire.read()
            self.clock.advance(0)
        self.assertEqual(wire.producerState, "producing")

    def test_a_turn_answers_few_requests(self):
        wires = [self.connect() for _ in range(30)]
        for wire in wires:
            wire.protocol.dataReceived(LIVEZ * 10)
        most = PER_TURN // REQUEST

        def answered():
            return sum(wire.value().count(b"HTTP/1.1 200 OK") for wire in wires)

        before = 0
        for _ in range(40):
            self.assertLessEqual(answered() - before, most)
            before = answered()
            self.clock.turn()
        self.assertEqual(before, 300)

    def read_slowly(self, request, ready):
        """Send a request on many connections; return the turns until all is read.

        Args:
            request: costs more to parse than others of its length.
            ready: tells whether a connection has got its answer.
        """
        wires = [self.connect() for _ in range(20)]
        for wire in wires:
            wire.protocol.dataReceived(request)
        turns = 0
        while not all(map(ready, wires)):
            self.assertLess(turns, 10000)
            self.clock.turn()
            turns += 1
        return turns

    def test_short_chunks_of_bodies_share_turns(self):
        head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        request = head + b"1\r\n{\r\n" * 1000 + b"0\r\n\r\n"
        turns = self.read_slowly(request, lambda wire: b"HTTP/1.1 4" in wire.value())
        self.assertGreater(turns, 20 * 2000 * LINE // PER_TURN // 2)

    def test_short_lines_of_heads_share_turns(self):
        request = LIVEZ[:-2] + b"X:y\r\n" * 400 + b"\r\n"
        turns = self.read_slowly(request, lambda wire: b"HTTP/1.1 200" in wire.value())
        self.assertGreater(turns, 20 * 400 * LINE // PER_TURN // 2)

    def test_what_waits_to_be_parsed_is_not_read(self):
        wire = self.connect()
        wire.protocol.dataReceived(LIVEZ[:-2] + b"X:y\r\n" * 400)
        self.assertEqual(wire.producerState, "paused")
        self.assertEqual(wire.read_size, READ_BYTES)
        self.clock.advance(0)
        self.assertEqual(wire.producerState, "producing")
        wire.protocol.dataReceived(b"\r\n")
        self.assertIn(b"HTTP/1.1 200", wire.value())

    def test_what_waits_to_be_parsed_goes_with_its_connection(self):
        wire = self.connect()
        wire.protocol.dataReceived(LIVEZ[:-2] + b"X:y\r\n" * 400 + b"\r\n")
        wire.loseConnection()
        self.clock.advance(0)
        self.assertNotIn(b"HTTP/1.1", wire.value())

    def test_a_caller_who_leaves_before_its_turn_is_not_answered(self):
        wires = [self.connect() for _ in range(30)]
        for wire in wires:
            wire.protocol.dataReceived(LIVEZ)
        wires[-1].loseConnection()
        self.clock.advance(0)
        self.assertEqual(wires[-1].value(), b"")
        self.assertEqual(status(wires[-2].value()), 200)

    def test_a_reader_that_takes_nothing_is_cut_after_a_while(self):
        wire = self.stall()
        self.clock.advance(STALL_SECONDS)
        self.assertTrue(wire.aborted)

    def test_a_reader_that_takes_a_little_is_not_cut(self):
        wire = self.stall()
        for _ in range(20):
            wire.read(1000)
            self.clock.advance(STALL_SECONDS)
            self.assertFalse(wire.aborted)

    def fill(self):
        """Stall connections of one address until memory is tight."""
        wires: list[SlowWire] = []
        while not any(one.aborted for one in wires):
            wires.append(self.stall("198.51.100.9"))
        return wires

    def test_the_oldest_stall_of_who_holds_most_goes_first(self):
        first = self.stall("192.0.2.1")
        wires = self.fill()
        self.assertEqual([one.aborted for one in wires].index(True), 0)
        self.assertEqual(sum(one.aborted for one in wires), self.memory.broken)
        self.assertFalse(first.aborted)
        self.assertFalse(self.memory.tight)

    def test_callers_with_a_credential_go_last(self):
        known = [self.stall("192.0.2.7", known=True) for _ in range(20)]
        self.fill()
        self.assertFalse(any(one.aborted for one in known))

    def test_callers_with_a_credential_are_bounded_too(self):
        known = [self.stall(f"192.0.2.{n}", known=True) for n in range(100)]
        self.assertTrue(any(one.aborted for one in known))
        self.assertLess(self.memory.held, self.memory.limit)

    def test_unfinished_bodies_count(self):
        head = HEAD + b"Content-Length: 65536\r\n\r\n"
        wires = [self.connect() for _ in range(150)]
        for wire in wires:
            self.say(wire, head + bytes(65000))
        self.assertTrue(wires[0].aborted)
        self.assertLess(self.memory.held, self.memory.limit)
        self.site.abort_connections()
        self.assertEqual(self.memory.held, 0)

    def test_a_place_is_taken_from_a_stalled_reader_if_all_are_in_use(self):
        go_on = self.mappings.hold()
        post = POST.replace(b"Host:", b"X-API-Key: %s\r\nHost:" % SECRET.encode())
        wire = self.stall()
        for _ in range(199):
            self.say(self.connect(), post)
        newcomer = self.connect()
        self.say(newcomer, LIVEZ)
        self.assertEqual(status(newcomer.value()), 200)
        self.assertTrue(wire.aborted)
        go_on.callback(None)


class Caller(Protocol):
    """Sends some pieces, a little apart, and keeps what comes back."""

    transport: Any

    def __init__(self, pieces, pause):
        self.pieces, self.pause = list(pieces), pause
        self.got = b""
        self.ended: Deferred[bytes] = Deferred()

    def connectionMade(self):
        if self.pieces and self.transport.connected:
            self.transport.write(self.pieces.pop(0))
            self.next = reactor.callLater(self.pause, self.connectionMade)

    def dataReceived(self, data):
        self.got += data

    def connectionLost(self, reason: Failure = connectionDone):
        if self.next.active():
            self.next.cancel()
        self.ended.callback(self.got)


class SocketTests(TestCase):
    """Real sockets and the real clock."""

    timeout = 20

    def listen(self, **settings):
        api = build_api(reactor, settings=ApiSettings(**settings))
        site = make_site(api, reactor)
        port = reactor.listenTCP(0, site, backlog=300, interface="127.0.0.1")
        self.addCleanup(api.close)
        self.addCleanup(port.stopListening)
        self.addCleanup(site.abort_connections)
        self.port = port.getHost().port

    async def call(self, *pieces, pause=0.05, source="127.0.0.1"):
        caller = Caller(pieces, pause)
        point = TCP4ClientEndpoint(
            reactor, "127.0.0.1", self.port, bindAddress=(source, 0)
        )
        await connectProtocol(point, caller)
        return await caller.ended

    async def test_a_slow_sender_is_answered_and_cut(self):
        self.listen(request_timeout_seconds=0.3)
        answer = await self.call(*(POST[i : i + 1] for i in range(len(POST))))
        self.assertEqual(status(answer), 408)

    async def test_a_silent_client_is_cut(self):
        self.listen(request_timeout_seconds=0.2)
        self.assertEqual(await self.call(b""), b"")

    async def test_a_huge_body_is_answered_although_it_is_still_sent(self):
        """The refusal arrives: no reset overtakes it."""
        self.listen()
        body = bytes(900_000)
        answer = await self.call(
            HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        self.assertEqual(status(answer), 413)
        answer = await self.call(
            HEAD
            + b"Transfer-Encoding: chunked\r\n\r\n"
            + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        )
        self.assertEqual(status(answer), 413)

    async def test_garbage_beside_real_requests(self):
        self.listen()
        junk = self.call(b"SSH-2.0-OpenSSH_9.2\r\n\x00\x01\x02\r\n\r\n")
        good = self.call(LIVEZ[:-2] + b"Connection: close\r\n\r\n")
        self.assertEqual(status(await Deferred.fromCoroutine(junk)), 400)
        self.assertEqual(status(await Deferred.fromCoroutine(good)), 200)

    async def test_a_burst_of_unfinished_heads_keeps_nobody_out(self):
        """More at once than the loop accepts in a turn, from another address."""
        self.listen()
        slow = []
        for _ in range(250):
            client = socket.create_connection(("127.0.0.1", self.port), 5)
            self.addCleanup(client.close)
            client.sendall(LIVEZ[:20])
            slow.append(client)
        request = LIVEZ[:-2] + b"Connection: close\r\n\r\n"
        answer = await self.call(request, source="127.0.0.2")
        self.assertEqual(status(answer), 200)

    def test_a_plain_blocking_client_gets_its_answers(self):
        """As curl and scripts do it: send all, then read."""
        self.listen()

        def talk():
            with socket.create_connection(("127.0.0.1", self.port), 5) as client:
                client.sendall(POST[:40])
                client.sendall(POST[40:-3])
                client.sendall(POST[-3:] + LIVEZ)
                got = b""
                while got.count(b"HTTP/1.1 200 OK") < 2:
                    chunk = client.recv(65536)
                    if not chunk:
                        break
                    got += chunk
                return got

        return deferToThread(talk).addCallback(
            lambda got: self.assertEqual(got.count(b"HTTP/1.1 200 OK"), 2)
        )
