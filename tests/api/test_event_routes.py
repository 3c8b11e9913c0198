"""The stream of events: what is sent, to whom, and when it ends."""

import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import ITCPTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from gateway.api.event_routes import (
    BEAT_SECONDS,
    LONGEST_SECONDS,
    MOST_STREAMS,
    PIECE,
)
from gateway.api.site import make_site
from gateway.ops.events import GATHER_SECONDS, KEPT, Events
from tests.api.fakes import NOON, build_api
from tests.api.test_site import LIVEZ, Wire, message, status
from tests.fakes import TurnClock

PEER = IPv4Address("TCP", "127.0.0.1", 40000)


def pieces(text):
    """Return the parts of a stream: comments as they are, else dictionaries."""
    found = []
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line]
        if not lines:
            continue
        if lines[0].startswith(":"):
            found.append(lines[0])
        else:
            found.append(dict(line.split(": ", 1) for line in lines))
    return found


class Reader:
    """One connection to the API."""

    def __init__(self, site):
        self.channel = site.buildProtocol(PEER)
        self.wire = Wire(hostAddress=PEER, peerAddress=PEER)
        directlyProvides(self.wire, ITCPTransport)
        self.wire.protocol = self.channel
        self.channel.makeConnection(self.wire)

    def ask(self, query="", method=b"GET", **headers):
        lines = [f"{name.replace('_', '-')}: {headers[name]}" for name in headers]
        head = "\r\n".join(["Host: localhost", *lines])
        request = f"{method.decode()} /api/events{query} HTTP/1.1\r\n{head}\r\n\r\n"
        self.channel.dataReceived(request.encode())
        return self

    def text(self):
        """Return what came since the last call, without the chunks' lengths."""
        content = self.wire.value()
        self.wire.clear()
        if content.startswith(b"HTTP/1.1 "):
            content = content.partition(b"\r\n\r\n")[2]
        text = bytearray()
        while content:
            length, _, content = content.partition(b"\r\n")
            if not (size := int(length, 16)):
                return text.decode() + "END"
            text += content[:size]
            content = content[size + 2 :]
        return text.decode()

    def events(self):
        """Return ids, topics and actions."""
        return [
            (one["id"], one["event"], json.loads(one["data"])["action"])
            for one in pieces(self.text())
            if isinstance(one, dict) and "event" in one
        ]


class EventStreamTests(SynchronousTestCase):
    """Streams on a fake clock."""

    def setUp(self):
        self.clock = TurnClock()
        self.events = Events(self.clock, lambda: NOON + self.clock.seconds(), "feed")
        self.api = build_api(self.clock, events=self.events)
        self.site = make_site(self.api, self.clock)
        self.addCleanup(self.close)

    def close(self):
        self.api.close()
        self.site.abort_connections()

    def reader(self, query="", **headers):
        reader = Reader(self.site).ask(query, **headers)
        self.clock.advance(0)  # a turn admits few requests
        return reader

    def soon(self):
        self.clock.advance(GATHER_SECONDS)

    def test_a_stream_begins_with_its_place(self):
        self.events.emit("ban", "added")
        reader = self.reader()
        head = reader.wire.value()
        self.assertIn(b"HTTP/1.1 200 OK", head)
        self.assertIn(b"Content-Type: text/event-stream\r\n", head)
        self.assertIn(b"Cache-Control: no-store\r\n", head)
        self.assertEqual(
            pieces(reader.text()), [{"retry": "2000", "id": "feed-1"}, ": now"]
        )

    def test_an_event_is_told_soon(self):
        reader = self.reader()
        reader.text()
        self.events.emit("mapping", "created", port=10022, name="门")
        self.assertEqual(reader.text(), "")
        self.soon()
        data = f'{{"at_unix":{NOON}.0,"action":"created","port":10022,"name":"门"}}'
        self.assertEqual(reader.text(), f"id: feed-1\nevent: mapping\ndata: {data}\n\n")

    def test_text_cannot_break_out_of_its_event(self):
        reader = self.reader()
        reader.text()
        self.events.emit("mapping", "created", name="a\n\ndata: b\r\x85\u2028\udce9")
        self.soon()
        self.assertEqual(len(reader.text().split("\n")), 5)

    def test_topics_are_chosen(self):
        reader = self.reader("?topics=ban,link&topics=reload")
        for topic in ("ban", "mapping", "connection", "reload", "link"):
            self.events.emit(topic, "x")
        self.soon()
        self.assertEqual(
            [topic for _, topic, _ in reader.events()], ["ban", "reload", "link"]
        )

    def test_unknown_topics_are_refused(self):
        answer = self.reader("?topics=ban,lnk").wire.value()
        self.assertEqual(status(answer), 400)
        self.assertIn("'lnk' is none of mapping, link", message(answer))

    def test_a_reader_goes_on_where_it_was(self):
        for topic in ("ban", "mapping", "ban", "link"):
            self.events.emit(topic, "x")
        reader = self.reader("?topics=ban,link", Last_Event_ID="feed-1")
        self.assertEqual(
            reader.events(), [("feed-3", "ban", "x"), ("feed-4", "link", "x")]
        )
        self.assertEqual(self.reader(Last_Event_ID="feed-4").events(), [])
        self.assertEqual(self.reader(Last_Event_ID="feed-999").events(), [])

    def test_what_is_lost_is_said_first(self):
        for _ in range(KEPT + 2):
            self.events.emit("connection", "opened")
        found = self.reader(Last_Event_ID="feed-1").events()
        self.assertEqual(found[0], ("feed-1", "gap", "lost"))
        self.assertEqual(found[1][0], "feed-3")
        self.assertEqual(len(found), KEPT + 1)
        found = self.reader(Last_Event_ID="feed-2").events()
        self.assertEqual(found[0][0], "feed-3")

    def test_an_id_of_another_process_is_a_gap(self):
        self.events.emit("gateway", "started")
        for unknown in ("beef-1", "feed", "feed-x", "-", "feed-1-2"):
            self.assertEqual(
                self.reader(Last_Event_ID=unknown).events(),
                [("feed-0", "gap", "lost"), ("feed-1", "gateway", "started")],
            )

    def test_the_last_events_can_be_had(self):
        for number in range(5):
            self.events.emit("ban", str(number))
        found = self.reader("?recent=2").events()
        self.assertEqual([action for _, _, action in found], ["3", "4"])
        found = self.reader("?recent=2", Last_Event_ID="feed-4").events()
        self.assertEqual([action for _, _, action in found], ["4"])
        self.assertEqual(status(self.reader("?recent=0").wire.value()), 400)

    def test_a_stream_outlives_the_deadlines_of_requests_and_beats(self):
        reader = self.reader()
        for _ in range(40):
            reader.text()
            self.clock.advance(BEAT_SECONDS)
            self.assertEqual(reader.text(), ": beat\n\n")
        self.assertTrue(reader.wire.connected)

    def test_after_an_hour_the_reader_comes_again(self):
        reader = self.reader()
        for _ in range(int(LONGEST_SECONDS / BEAT_SECONDS)):
            self.clock.advance(BEAT_SECONDS)
        self.assertTrue(reader.text().endswith(": beat\n\nEND"))
        reader.channel.dataReceived(LIVEZ)
        self.assertEqual(status(reader.wire.value()), 200)

    def test_a_slow_reader_gets_all_once_it_reads(self):
        reader = self.reader()
        reader.text()
        reader.channel.pauseProducing()
        for _ in range(10):
            self.events.emit("connection", "opened")
            self.soon()
        self.clock.advance(BEAT_SECONDS)
        self.assertEqual(reader.text(), "")
        reader.channel.resumeProducing()
        self.assertEqual(len(reader.events()), 10)

    def test_a_reader_that_reads_nothing_is_cut(self):
        reader = self.reader()
        reader.channel.pauseProducing()
        self.clock.advance(BEAT_SECONDS)
        self.assertTrue(reader.wire.connected)
        self.clock.advance(BEAT_SECONDS)
        self.assertTrue(reader.wire.aborted)

    def test_a_reader_that_is_overtaken_is_cut(self):
        reader, other = self.reader(), self.reader()
        reader.channel.pauseProducing()
        for _ in range(KEPT):
            self.events.emit("connection", "opened")
        self.soon()
        self.assertFalse(reader.wire.aborted)
        self.events.emit("connection", "opened")
        self.soon()
        self.assertTrue(reader.wire.aborted)
        self.assertEqual(len(other.events()), KEPT + 1)

    def test_a_long_past_is_written_as_far_as_the_reader_takes_it(self):
        for _ in range(KEPT):
            self.events.emit("ban", "x")
        reader = Reader(self.site)
        wire: Any = reader.wire
        write = wire.writeSequence

        def full(data):
            write(data)
            reader.channel.pauseProducing()

        wire.writeSequence = full
        reader.ask("?recent=2000")
        taken = len(reader.events())
        self.assertLess(taken, 200)
        wire.writeSequence = write
        reader.channel.resumeProducing()
        self.clock.advance(0)
        self.assertEqual(taken + len(reader.events()), KEPT)

    def test_a_long_past_is_written_a_piece_a_turn(self):
        for _ in range(KEPT):
            self.events.emit("ban", "x")
        readers = [Reader(self.site).ask("?recent=2000") for _ in range(3)]
        counts = [0, 0, 0]
        for _ in range(2 * 3 * KEPT // PIECE):
            found = [len(reader.events()) for reader in readers]
            self.assertLessEqual(sum(found), 4 * PIECE)
            counts = [sum(both) for both in zip(counts, found, strict=True)]
            self.clock.turn()
        self.assertEqual(counts, [KEPT] * 3)

    def test_what_waits_to_be_written_goes_with_its_reader(self):
        for _ in range(KEPT):
            self.events.emit("ban", "x")
        reader = Reader(self.site).ask("?recent=2000")
        reader.wire.loseConnection()
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_number_of_streams_is_limited(self):
        readers = [self.reader() for _ in range(MOST_STREAMS)]
        answer = self.reader().wire.value()
        self.assertEqual(status(answer), 503)
        self.assertIn("100 event streams are open", message(answer))
        readers[0].wire.loseConnection()
        self.assertEqual(status(self.reader().wire.value()), 200)

    def test_nothing_stays_of_readers_that_left(self):
        for reader in [self.reader() for _ in range(3)]:
            reader.wire.loseConnection()
        self.events.emit("ban", "added")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_head_is_answered_without_a_stream(self):
        reader = self.reader(method=b"HEAD")
        self.assertIn(b"text/event-stream", reader.wire.value())
        reader.wire.clear()
        reader.channel.dataReceived(LIVEZ)
        self.assertEqual(status(reader.wire.value()), 200)

    def test_the_stop_ends_streams_in_order(self):
        readers = [self.reader() for _ in range(2)]
        readers[1].wire.stuck = True
        self.events.emit("gateway", "stopped")
        self.close()
        for reader in readers:
            self.assertFalse(reader.wire.aborted)
            self.assertTrue(reader.text().endswith('"stopped"}\n\nEND'))
        self.assertFalse(readers[0].wire.connected)
        self.clock.advance(12)
        self.assertTrue(readers[1].wire.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])
