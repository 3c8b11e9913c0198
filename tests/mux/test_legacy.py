"""Each state and event of a stream on a legacy link, at both ends."""

import struct

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import PayloadError, ProtocolError
from gateway.mux.stream import State
from tests.mux.doubles import legacy_agent, legacy_gateway
from tests.strategies import raw_frame, with_id

DATA = with_id(0x03, 1, b"abc")
CLOSE = with_id(0x04, 1)
SUCCESS = with_id(0x02, 1, b"\x00")
FAILURE = with_id(0x02, 1, b"\x01")
REQUEST = with_id(0x01, 1, b"\x00\x50")
SHORT_80 = (0x01, b"\x00\x00\x00\x01\x00\x50")
HEARD = {"Data": DATA, "Close": CLOSE, "success": SUCCESS, "failure": FAILURE}
NEAR = {
    "near bytes": lambda side, stream: side.rules.send(stream, b"xyz"),
    "near EOF": lambda side, stream: side.rules.finish(stream),
    "near lost": lambda side, stream: side.rules.reset(stream, 0, "lost"),
    "open timeout": lambda side, stream: side.rules.reset(stream, 2, "timeout"),
    "pause used up": lambda side, stream: side.rules.reset(stream, 3, "too slow"),
    "dial succeeds": lambda side, stream: side.rules.answer(stream, 0),
    "dial fails": lambda side, stream: side.rules.answer(stream, 3),
    "repaid": lambda side, stream: side.rules.repay(stream, 0),
    "link lost": lambda side, stream: side.session.end(),
}

# outcomes beside the states: T is gone and aborted, L is gone and flushed
# state, event, outcome, kinds said, what the near side is told
OPENED = [
    ("OPEN", "near bytes", "OPEN", [0x03], []),
    ("OPEN", "near EOF", "L", [0x04], ["ended"]),
    ("OPEN", "near lost", "T", [0x04], ["ended"]),
    ("OPEN", "pause used up", "T", [0x04], ["ended"]),
    ("OPEN", "Data", "OPEN", [], ["deliver"]),
    ("OPEN", "Close", "L", [], ["ended"]),
    ("OPEN", "repaid", "OPEN", [], []),
    ("OPEN", "link lost", "T", [], ["ended"]),
]
GATEWAY = [
    *OPENED,
    ("OPENING", "near bytes", "OPENING", [], []),
    ("OPENING", "near lost", "T", [0x04], ["ended"]),
    ("OPENING", "open timeout", "T", [0x04], ["ended"]),
    ("OPENING", "success", "OPEN", [], ["opened"]),
    ("OPENING", "failure", "T", [], ["ended"]),
    ("OPENING", "Data", "T", [0x04], ["ended"]),
    ("OPENING", "Close", "T", [], ["ended"]),
    ("OPENING", "link lost", "T", [], ["ended"]),
    ("OPEN", "success", "OPEN", [], []),
    ("OPEN", "failure", "OPEN", [], []),
]
AGENT = [
    *OPENED,
    ("DIALING", "dial succeeds", "OPEN", [0x02], []),
    ("DIALING", "dial fails", "T", [0x02], ["ended"]),
    ("DIALING", "near lost", "T", [0x04], ["ended"]),
    ("DIALING", "Data", "T", [0x04], ["ended"]),
    ("DIALING", "Close", "T", [], ["ended"]),
    ("DIALING", "link lost", "T", [], ["ended"]),
]


def gateway_stream(state, **settings):
    """Return a gateway and the end of a stream that stands in `state`."""
    side = legacy_gateway(**settings)
    end = side.open()
    if state == "OPEN":
        side.hear(SUCCESS)
    return _ready(side, end, state)


def agent_stream(state):
    """Return an agent and the end of a stream that stands in `state`."""
    side = legacy_agent()
    side.hear(REQUEST)
    [end] = side.observer.ends
    if state == "OPEN":
        side.rules.answer(end.stream, 0)
    return _ready(side, end, state)


def _ready(side, end, state):
    if end.stream.state is not State[state]:
        raise AssertionError(f"{end.stream.state}, not {state}")
    side.said()
    end.events.clear()
    return side, end


class CellTests(SynchronousTestCase):
    """The legacy table, cell by cell."""

    def _check(self, make, rows):
        for state, event, outcome, said, told in rows:
            label = f"{state}, {event}"
            side, end = make(state)
            if event in HEARD:
                side.hear(HEARD[event])
            else:
                NEAR[event](side, end.stream)
            self.assertIsNone(side.fault, msg=label)
            self.assertEqual([kind for kind, _ in side.said()], said, msg=label)
            self.assertEqual(end.events, told, msg=label)
            if outcome in ("T", "L"):
                self.assertEqual(end.ending.flush, outcome == "L", msg=label)
                self.assertIs(end.stream.state, State.ENDED, msg=label)
                self.assertEqual(side.core.streams, {}, msg=label)
                self.assertIn(1, side.core.tombstones, msg=label)
            else:
                self.assertIs(end.stream.state, State[outcome], msg=label)

    def test_gateway(self):
        """Every cell of the gateway's column."""
        self._check(gateway_stream, GATEWAY)

    def test_agent(self):
        """Every cell of the agent's column."""
        self._check(agent_stream, AGENT)

    def test_no_frame_of_the_plain_protocol_is_left_out(self):
        """In any state."""
        for rows, states, heard in (
            (GATEWAY, {"OPENING", "OPEN"}, set(HEARD)),
            (AGENT, {"DIALING", "OPEN"}, {"Data", "Close"}),
        ):
            cells = {(state, event) for state, event, _, _, _ in rows}
            wanted = {(s, e) for s in states for e in heard}
            self.assertEqual(wanted - cells, set())


class OddFrameTests(SynchronousTestCase):
    """Nothing that arrives on a legacy link is an error, unless unreadable."""

    def test_misplaced_and_short_frames_are_dropped_and_counted(self):
        """Also those of the negotiated protocol."""
        kinds = (0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x1A)
        for kind in (0x01, *kinds):
            side = legacy_gateway()
            side.hear(raw_frame(kind, bytes(64)))
            self.assertEqual(side.core.counts, {"misplaced": 1}, msg=hex(kind))
            self.assertEqual((side.said(), side.fault), ([], None))
        for kind in (0x02, 0x10, *kinds[1:]):
            side = legacy_agent()
            side.hear(raw_frame(kind, bytes(64)))
            self.assertEqual(side.core.counts, {"misplaced": 1}, msg=hex(kind))
            self.assertEqual((side.said(), side.fault), ([], None))
        for side, kind in (
            (legacy_gateway(), 0x02),
            (legacy_gateway(), 0x03),
            (legacy_gateway(), 0x04),
            (legacy_agent(), 0x01),
        ):
            side.hear(raw_frame(kind, b"\x00\x00\x00"))
            self.assertEqual(side.core.counts, {"payload": 1}, msg=hex(kind))

    def test_unknown_kinds_are_dropped_and_counted(self):
        """The link lives."""
        for side in (legacy_gateway(), legacy_agent()):
            side.hear(raw_frame(0x7F), raw_frame(0x00), raw_frame(0x19))
            self.assertEqual(side.core.counts, {"unknown_kind": 3})
            self.assertFalse(side.session.ended)

    def test_unreadable_bytes_end_the_link_without_a_word(self):
        """A legacy peer does not know GOAWAY."""
        for side in (legacy_gateway(), legacy_agent()):
            side.hear(b"\x00\x00\x00\x08")
            self.assertEqual(side.fault and side.fault.kind, "version")
            self.assertEqual(side.said(), [])

    def test_data_of_no_bytes_is_not_delivered(self):
        """As on the other kind of link."""
        side, end = agent_stream("OPEN")
        side.hear(with_id(0x03, 1))
        self.assertEqual(end.events, [])


class LateFrameTests(SynchronousTestCase):
    """Frames for streams that are over, or never were."""

    def _closed(self, make):
        side, end = make("OPEN")
        side.hear(CLOSE)
        side.said()
        return side, end

    def test_a_late_success_is_answered_by_close(self):
        """Always, or the agent would keep its target."""
        side, _ = self._closed(gateway_stream)
        side.hear(SUCCESS * 150)
        self.assertEqual(side.said(), [(0x04, b"\x00\x00\x00\x01")] * 150)
        side.hear(with_id(0x02, 77, b"\x00") * 150)
        self.assertEqual(side.said(), [(0x04, b"\x00\x00\x00\x4d")] * 150)

    def test_other_late_frames_are_dropped(self):
        """And counted."""
        for make, frame in (
            (gateway_stream, FAILURE),
            (gateway_stream, DATA),
            (gateway_stream, CLOSE),
            (agent_stream, DATA),
            (agent_stream, CLOSE),
        ):
            side, _ = self._closed(make)
            side.hear(frame)
            self.assertEqual(side.said(), [])
            self.assertEqual(sum(side.core.counts.values()), 1)

    def test_stray_data_is_answered_by_close_100_times_a_second(self):
        """The rest is counted only."""
        for side in (legacy_gateway(), legacy_agent()):
            stray = b"".join(with_id(0x03, number, b"x") for number in range(1000))
            side.hear(stray)
            said = side.said()
            self.assertEqual([payload[-1] for _, payload in said], list(range(100)))
            side.now += 1
            side.hear(stray)
            self.assertEqual(len(side.said()), 100)
            self.assertEqual(side.core.counts["stray_data"], 2000)

    def test_data_for_an_old_stream_is_stray(self):
        """Once two minutes have passed."""
        side, _ = self._closed(gateway_stream)
        side.now += 120
        side.hear(DATA)
        self.assertEqual(side.said(), [(0x04, b"\x00\x00\x00\x01")])

    def test_a_stray_failure_or_close_is_dropped(self):
        """There is nothing to close."""
        side = legacy_gateway()
        side.hear(FAILURE, CLOSE)
        self.assertEqual(side.said(), [])


class ReuseTests(SynchronousTestCase):
    """A gateway that uses an id again."""

    def test_a_request_on_a_closed_id_opens_anew(self):
        """Nothing of the old stream is mixed in."""
        side, old = agent_stream("OPEN")
        side.hear(CLOSE, REQUEST)
        new = side.observer.ends[1]
        side.rules.answer(new.stream, 0)
        side.hear(DATA)
        self.assertEqual((bytes(old.received), bytes(new.received)), (b"", b"abc"))
        self.assertIsNone(side.fault)

    def test_a_request_on_a_live_id_aborts_the_old_target_silently(self):
        """Before the new one is dialled."""
        for state in ("DIALING", "OPEN"):
            side, old = agent_stream(state)
            side.hear(REQUEST)
            self.assertFalse(old.ending.flush)
            self.assertEqual(side.said(), [])
            new = side.observer.ends[1]
            self.assertEqual(new.events, ["requested"])
            self.assertIs(side.core.streams[1], new.stream)

    def test_an_answer_does_not_overtake_the_old_stream(self):
        """Else the gateway would take old bytes for new ones."""
        side, old = agent_stream("OPEN")
        side.rules.send(old.stream, b"old")
        side.rules.finish(old.stream)
        side.hear(REQUEST)
        new = side.observer.ends[1]
        side.rules.answer(new.stream, 0)
        side.rules.send(new.stream, b"new")
        self.assertEqual([kind for kind, _ in side.said()], [0x03, 0x04, 0x02, 0x03])

    def test_a_leaving_agent_survives_it(self):
        """The old stream was the last one, and its end is the end of the link."""
        side, old = agent_stream("OPEN")
        side.session.leave(0, "stopping")
        old.on_ended = side.session.settle
        side.hear(REQUEST)
        self.assertTrue(side.session.ended)
        self.assertEqual(side.observer.names(), ["finished"])
        self.assertEqual(side.core.streams, {})
        self.assertEqual(len(side.observer.ends), 1)


class SendingTests(SynchronousTestCase):
    """Near bytes to Data."""

    def test_frames_hold_32_kib(self):
        """Whatever was read at once, and all of it is taken."""
        side, end = gateway_stream("OPEN")
        data = bytes(range(256)) * 400
        self.assertEqual(side.rules.send(end.stream, data), len(data))
        payloads = [payload for _, payload in side.said()]
        sizes = [len(payload) - 4 for payload in payloads]
        self.assertEqual(sizes, [32768, 32768, 32768, 4096])
        self.assertEqual(b"".join(payload[4:] for payload in payloads), data)

    def test_the_chunk_size_can_be_set(self):
        """By the operator."""
        side, end = gateway_stream("OPEN", chunk_bytes=1000)
        side.rules.send(end.stream, bytes(2500))
        self.assertEqual([len(p) - 4 for _, p in side.said()], [1000, 1000, 500])

    def test_nothing_is_sent_for_no_bytes(self):
        """Not even a header."""
        side, end = gateway_stream("OPEN")
        self.assertEqual((side.rules.send(end.stream, b""), side.said()), (0, []))

    def test_an_agent_answers_with_0_or_1(self):
        """A legacy gateway knows no other status; the log does."""
        for status, words in ((2, "refused by the target"), (99, "99")):
            side, end = agent_stream("DIALING")
            side.rules.answer(end.stream, status)
            self.assertEqual(side.said(), [(0x02, b"\x00\x00\x00\x01\x01")])
            self.assertEqual(end.ending.reason, f"refused: {words}")

    def test_any_status_but_0_is_a_failure(self):
        """Known or not."""
        for status, words in ((1, "failure"), (0xEE, "status 238")):
            side, end = gateway_stream("OPENING")
            side.hear(with_id(0x02, 1, bytes((status,))))
            self.assertEqual(end.ending.reason, f"refused: {words}")

    def test_resetting_twice_is_resetting_once(self):
        """The second call has no effect."""
        side, end = gateway_stream("OPEN")
        side.rules.reset(end.stream, 0, "first")
        side.rules.reset(end.stream, 0, "second")
        self.assertEqual(side.said(), [(0x04, b"\x00\x00\x00\x01")])
        self.assertEqual(len(end.endings), 1)


class MisuseTests(SynchronousTestCase):
    """What the owner must not ask for."""

    def test_nothing_is_said_for_a_step_that_is_not_in_the_table(self):
        """A stream that is over stays so."""
        side, end = agent_stream("DIALING")
        side.rules.reset(end.stream, 0, "gone")
        side.said()
        for status in (0, 1):
            self.assertRaises(ProtocolError, side.rules.answer, end.stream, status)
        self.assertRaises(ProtocolError, side.rules.finish, end.stream)
        self.assertIs(end.stream.state, State.ENDED)
        self.assertEqual((side.said(), len(end.endings)), ([], 1))


class RequestTests(SynchronousTestCase):
    """How an agent is asked for a target."""

    def test_the_short_form_asks_for_the_agents_own_host(self):
        """Loopback or nothing, unless the long form is known or wished for."""
        for host in ("", "127.0.0.1", "localhost", "::1"):
            for setting in ("auto", "short"):
                side = legacy_gateway(connect_request=setting)
                side.open(80, host)
                self.assertEqual(side.said(), [SHORT_80], msg=host)

    def test_the_long_form_names_the_host(self):
        """Loopback too, if it was configured."""
        long = struct.pack("!IH", 1, 80)
        for setting, host, named in (
            ("auto", "db.lan", b"db.lan"),
            ("short", "db.lan", b"db.lan"),
            ("long", "db.lan", b"db.lan"),
            ("long", "", b"127.0.0.1"),
            ("long", "localhost", b"localhost"),
        ):
            side = legacy_gateway(connect_request=setting)
            side.open(80, host)
            payload = long + bytes((len(named),)) + named
            self.assertEqual(side.said(), [(0x01, payload)], msg=(setting, host))

    def test_a_host_that_does_not_fit_opens_nothing(self):
        """The caller is told."""
        side = legacy_gateway()
        self.assertRaises(PayloadError, side.open, 80, "h" * 256)
        self.assertRaises(PayloadError, side.open, 80, "", {}, 2)
        self.assertEqual((side.core.streams, side.said()), ({}, []))

    def test_both_forms_are_understood(self):
        """No host means the agent's default one."""
        for payload, host in (
            (b"\x00\x50", ""),
            (b"\x00\x50\x00", ""),
            (b"\x00\x50\x06db.lan", "db.lan"),
        ):
            side = legacy_agent()
            side.hear(with_id(0x01, 0, payload))
            request = side.observer.ends[0].request
            self.assertEqual(
                (request.stream_id, request.port, request.host), (0, 80, host)
            )

    def test_an_agent_takes_any_id(self):
        """The ends of the range too."""
        for stream_id in (0, (1 << 32) - 1):
            side = legacy_agent()
            side.hear(with_id(0x01, stream_id, b"\x00\x50"))
            side.rules.answer(side.observer.ends[0].stream, 0)
            self.assertEqual(side.said(), [(0x02, struct.pack("!IB", stream_id, 0))])


class TwoFormsTests(SynchronousTestCase):
    """`auto`: nobody knows yet which form this agent reads."""

    LONG = (0x01, struct.pack("!IHB", 2, 80, 9) + b"127.0.0.1")

    def setUp(self):
        self.side = legacy_gateway()
        self.end = self.side.open()
        self.side.said()

    def _ask_again(self):
        self.side.rules.open_long(self.end.stream, 80)
        return self.side.said()

    def _form(self):
        return self.side.rules.form

    def test_the_long_form_goes_out_under_a_second_id(self):
        """The first stays."""
        self.assertEqual(self._ask_again(), [self.LONG])
        self.assertEqual(set(self.side.core.streams), {1, 2})
        self.assertEqual(self.end.events, [])

    def test_it_goes_out_once(self):
        """For one stream."""
        self._ask_again()
        self.assertEqual(self._ask_again(), [])

    def test_an_answer_in_time_makes_it_needless(self):
        """Of this stream or of another one."""
        for frame in (SUCCESS, FAILURE):
            self.setUp()
            self.side.hear(frame)
            self.assertEqual(self._ask_again(), [])
            self.assertEqual(self._form(), "short")
        self.setUp()
        other = self.side.open()
        self.side.said()
        self.side.hear(with_id(0x02, 2, b"\x00"))
        self.assertEqual(other.events, ["opened"])
        self.assertEqual(self._ask_again(), [])

    def test_a_stream_that_is_over_asks_no_more(self):
        """The visitor is gone."""
        self.side.rules.reset(self.end.stream, 0, "gone")
        self.side.said()
        self.assertEqual(self._ask_again(), [])

    def test_a_stream_that_was_asked_in_the_long_form_asks_no_more(self):
        """Its host was named already."""
        other = self.side.open(80, "db.lan")
        self.side.said()
        self.side.rules.open_long(other.stream, 80)
        self.assertEqual(self.side.said(), [])

    def test_a_configured_form_is_the_only_one(self):
        """No second request."""
        for setting in ("short", "long"):
            side, end = gateway_stream("OPENING", connect_request=setting)
            side.rules.open_long(end.stream, 80)
            self.assertEqual(side.said(), [])

    def test_the_first_success_wins_and_the_other_is_closed(self):
        """Whichever it is; bytes travel under its id from then on."""
        for winner, loser, form in ((1, 2, "short"), (2, 1, "long")):
            self.setUp()
            self._ask_again()
            self.side.hear(with_id(0x02, winner, b"\x00"))
            close = (0x04, struct.pack("!I", loser))
            self.assertEqual(self.side.said(), [close])
            self.assertEqual(self.end.events, ["opened"])
            self.assertEqual(self._form(), form)
            self.assertEqual(set(self.side.core.streams), {winner})
            self.side.hear(with_id(0x03, winner, b"yes"), with_id(0x03, loser, b"no"))
            self.assertEqual(bytes(self.end.received), b"yes")
            self.side.rules.send(self.end.stream, b"z")
            data = (0x03, struct.pack("!I", winner) + b"z")
            self.assertEqual(self.side.said(), [data])
            self.side.hear(with_id(0x02, loser, b"\x00"))
            self.assertEqual(self.side.said(), [close])
            self.side.hear(with_id(0x04, winner))
            self.assertTrue(self.end.ending.flush)
            self.assertEqual(self.side.core.streams, {})

    def test_a_failure_of_one_leaves_the_other(self):
        """Only when both have failed the visitor is refused."""
        for first, second in ((1, 2), (2, 1)):
            self.setUp()
            self._ask_again()
            self.side.hear(with_id(0x02, first, b"\x01"))
            self.assertEqual(self.end.events, [])
            self.side.hear(with_id(0x02, second, b"\x01"))
            self.assertEqual(self.end.events, ["ended"])
            self.assertEqual((self.side.said(), self.side.core.streams), ([], {}))

    def test_a_success_after_a_failure_opens(self):
        """Nothing needs to be closed then."""
        for first, second in ((1, 2), (2, 1)):
            self.setUp()
            self._ask_again()
            self.side.hear(
                with_id(0x02, first, b"\x01"), with_id(0x02, second, b"\x00")
            )
            self.assertEqual((self.end.events, self.side.said()), (["opened"], []))

    def test_a_close_of_one_leaves_the_other(self):
        """As a failure does, but teaches nothing."""
        for first, second in ((1, 2), (2, 1)):
            self.setUp()
            self._ask_again()
            self.side.hear(with_id(0x04, first))
            self.assertEqual((self.end.events, self._form()), ([], None))
            self.side.hear(with_id(0x02, second, b"\x00"))
            self.assertEqual(self.end.events, ["opened"])

    def test_the_end_of_the_stream_closes_both(self):
        """Reset, or data out of turn under either id."""
        for frame in (None, with_id(0x03, 1, b"x"), with_id(0x03, 2, b"x")):
            self.setUp()
            self._ask_again()
            if frame is None:
                self.side.rules.reset(self.end.stream, 2, "timeout")
            else:
                self.side.hear(frame)
            said = [payload for kind, payload in self.side.said() if kind == 0x04]
            self.assertEqual(said, [struct.pack("!I", 1), struct.pack("!I", 2)])
            self.assertEqual((self.end.events, self.side.core.streams), (["ended"], {}))

    def test_a_lost_link_ends_it_once(self):
        """Though it has two ids."""
        self._ask_again()
        self.side.session.end()
        self.assertEqual(len(self.end.endings), 1)
        self.assertEqual(self.side.core.streams, {})

    def test_a_late_answer_teaches(self):
        """Long after the visitor has gone."""
        for stream_id, form in ((1, "short"), (2, "long")):
            self.setUp()
            self._ask_again()
            self.side.rules.reset(self.end.stream, 2, "timeout")
            self.side.now += 60
            self.side.hear(with_id(0x02, stream_id, b"\x01"))
            self.assertEqual(self._form(), form)

    def test_an_answer_to_nothing_teaches_nothing(self):
        """The id was never asked under."""
        self.side.hear(with_id(0x02, 99, b"\x01"))
        self.assertIsNone(self._form())

    def test_what_was_learnt_is_used(self):
        """From the next request on."""
        self._ask_again()
        self.side.hear(with_id(0x02, 2, b"\x00"))
        self.side.said()
        self.side.open()
        [(_, payload)] = self.side.said()
        self.assertEqual(payload, struct.pack("!IHB", 3, 80, 9) + b"127.0.0.1")

    def test_an_agent_that_never_answers_is_remembered_in_part(self):
        """Of the last thousand requests."""
        for _ in range(1500):
            end = self.side.open()
            self.side.rules.reset(end.stream, 2, "timeout")
        self.side.hear(with_id(0x02, 400, b"\x01"))
        self.assertIsNone(self._form())
        self.side.hear(with_id(0x02, 1400, b"\x01"))
        self.assertEqual(self._form(), "short")
