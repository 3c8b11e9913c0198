"""Each state and event of a stream on a negotiated link, at both ends."""

import struct

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import PayloadError, ProtocolError
from gateway.mux.stream import State
from gateway.policy.budget import Budget
from tests.mux.doubles import WINDOW, negotiated_agent, negotiated_gateway
from tests.strategies import open_payload, raw_frame, with_id

DATA = with_id(0x03, 1, b"abc")
FIN = with_id(0x12, 1)
CREDIT = with_id(0x13, 1, struct.pack("!I", 1000))
RESET = with_id(0x18, 1, b"\x00")
SUCCESS = with_id(0x02, 1, b"\x00")
FAILURE = with_id(0x02, 1, b"\x02")
OPEN = raw_frame(0x14, open_payload(1))
HEARD = {
    "Data": DATA,
    "FIN": FIN,
    "WINDOW": CREDIT,
    "RESET": RESET,
    "success": SUCCESS,
    "failure": FAILURE,
}

# what the near side does
NEAR = {
    "near bytes": lambda side, stream: side.rules.send(stream, b"xyz"),
    "near EOF": lambda side, stream: side.rules.finish(stream),
    "near lost": lambda side, stream: side.rules.reset(stream, 0, "lost"),
    "kill": lambda side, stream: side.rules.reset(stream, 5, "killed"),
    "dial succeeds": lambda side, stream: side.rules.answer(stream, 0),
    "dial fails": lambda side, stream: side.rules.answer(stream, 3),
    "link lost": lambda side, stream: side.session.end(),
}

# outcomes beside the states: T is gone and aborted, L is gone and flushed, PE is a
# protocol error
# state, event, outcome, kinds said, what the near side is told
OPENED = [
    ("OPEN", "near bytes", "OPEN", [0x03], []),
    ("FR", "near bytes", "FR", [0x03], []),
    ("OPEN", "near EOF", "FS", [0x12], []),
    ("FR", "near EOF", "L", [0x12], ["ended"]),
    ("OPEN", "near lost", "T", [0x18], ["ended"]),
    ("FS", "near lost", "T", [0x18], ["ended"]),
    ("FR", "near lost", "T", [0x18], ["ended"]),
    ("OPEN", "kill", "T", [0x18], ["ended"]),
    ("FS", "kill", "T", [0x18], ["ended"]),
    ("FR", "kill", "T", [0x18], ["ended"]),
    ("OPEN", "Data", "OPEN", [], ["deliver"]),
    ("FS", "Data", "FS", [], ["deliver"]),
    ("FR", "Data", "PE", [], []),
    ("OPEN", "FIN", "FR", [], ["far_finished"]),
    ("FS", "FIN", "L", [], ["ended"]),
    ("FR", "FIN", "PE", [], []),
    ("OPEN", "WINDOW", "OPEN", [], ["granted"]),
    ("FS", "WINDOW", "FS", [], []),
    ("FR", "WINDOW", "FR", [], ["granted"]),
    ("OPEN", "RESET", "T", [], ["ended"]),
    ("FS", "RESET", "T", [], ["ended"]),
    ("FR", "RESET", "T", [], ["ended"]),
    ("OPEN", "link lost", "T", [], ["ended"]),
    ("FS", "link lost", "T", [], ["ended"]),
    ("FR", "link lost", "L", [], ["ended"]),
]
GATEWAY = [
    *OPENED,
    ("OPENING", "near bytes", "OPENING", [0x03], []),
    ("OPENING", "near EOF", "OPENING_FS", [0x12], []),
    ("OPENING", "near lost", "T", [0x18], ["ended"]),
    ("OPENING_FS", "near lost", "T", [0x18], ["ended"]),
    ("OPENING", "kill", "T", [0x18], ["ended"]),
    ("OPENING_FS", "kill", "T", [0x18], ["ended"]),
    ("OPENING", "success", "OPEN", [], ["opened"]),
    ("OPENING_FS", "success", "FS", [], ["opened"]),
    ("OPEN", "success", "PE", [], []),
    ("FS", "success", "PE", [], []),
    ("FR", "success", "PE", [], []),
    ("OPENING", "failure", "T", [], ["ended"]),
    ("OPENING_FS", "failure", "T", [], ["ended"]),
    ("OPEN", "failure", "PE", [], []),
    ("FS", "failure", "PE", [], []),
    ("FR", "failure", "PE", [], []),
    ("OPENING", "Data", "PE", [], []),
    ("OPENING_FS", "Data", "PE", [], []),
    ("OPENING", "FIN", "PE", [], []),
    ("OPENING_FS", "FIN", "PE", [], []),
    ("OPENING", "WINDOW", "OPENING", [], []),
    ("OPENING_FS", "WINDOW", "OPENING_FS", [], []),
    ("OPENING", "RESET", "T", [], ["ended"]),
    ("OPENING_FS", "RESET", "T", [], ["ended"]),
    ("OPENING", "link lost", "T", [], ["ended"]),
    ("OPENING_FS", "link lost", "T", [], ["ended"]),
]
AGENT = [
    *OPENED,
    ("DIALING", "Data", "DIALING", [], ["deliver"]),
    ("DIALING_FR", "Data", "PE", [], []),
    ("DIALING", "FIN", "DIALING_FR", [], ["far_finished"]),
    ("DIALING_FR", "FIN", "PE", [], []),
    ("DIALING", "WINDOW", "DIALING", [], []),
    ("DIALING_FR", "WINDOW", "DIALING_FR", [], []),
    ("DIALING", "dial succeeds", "OPEN", [0x02], []),
    ("DIALING_FR", "dial succeeds", "FR", [0x02], []),
    ("DIALING", "dial fails", "T", [0x02], ["ended"]),
    ("DIALING_FR", "dial fails", "T", [0x02], ["ended"]),
    ("DIALING", "kill", "T", [0x18], ["ended"]),
    ("DIALING_FR", "kill", "T", [0x18], ["ended"]),
    ("DIALING", "RESET", "T", [], ["ended"]),
    ("DIALING_FR", "RESET", "T", [], ["ended"]),
    ("DIALING", "link lost", "T", [], ["ended"]),
    ("DIALING_FR", "link lost", "T", [], ["ended"]),
]
CREDIT_IS_ADDED = {"OPENING", "OPEN", "FR", "DIALING", "DIALING_FR"}


def gateway_stream(state):
    """Return a gateway and the end of a stream that stands in `state`."""
    side = negotiated_gateway()
    end = side.open()
    if state in ("OPEN", "FR"):
        side.hear(SUCCESS)
    if state in ("OPENING_FS", "FS"):
        side.rules.finish(end.stream)
    if state == "FS":
        side.hear(SUCCESS)
    if state == "FR":
        side.hear(FIN)
    return _ready(side, end, state)


def agent_stream(state):
    """Return an agent and the end of a stream that stands in `state`."""
    side = negotiated_agent()
    side.hear(OPEN)
    [end] = side.observer.ends
    if state in ("DIALING_FR", "FR"):
        side.hear(FIN)
    if state in ("OPEN", "FS", "FR"):
        side.rules.answer(end.stream, 0)
    if state == "FS":
        side.rules.finish(end.stream)
    return _ready(side, end, state)


def _ready(side, end, state):
    if end.stream.state is not State[state]:
        raise AssertionError(f"{end.stream.state}, not {state}")
    side.said()
    end.events.clear()
    return side, end


class CellTests(SynchronousTestCase):
    """The tables of the states, cell by cell."""

    def _check(self, make, rows):
        for state, event, outcome, said, told in rows:
            label = f"{state}, {event}"
            side, end = make(state)
            credit = end.stream.sending.left
            if event in HEARD:
                side.hear(HEARD[event])
            else:
                NEAR[event](side, end.stream)
            if outcome == "PE":
                self._check_error(side, end, label)
                continue
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
            if event == "WINDOW":
                added = 1000 if state in CREDIT_IS_ADDED else 0
                self.assertEqual(end.stream.sending.left, credit + added, msg=label)

    def _check_error(self, side, end, label):
        self.assertEqual(side.fault and side.fault.kind, "state", msg=label)
        [(kind, payload)] = side.said()
        self.assertEqual((kind, payload[:1]), (0x17, b"\x03"), msg=label)
        self.assertEqual(end.events, ["ended"], msg=label)
        self.assertTrue(side.session.ended, msg=label)
        self.assertEqual(side.core.streams, {}, msg=label)
        self.assertEqual(side.core.counts["fault_state"], 1, msg=label)

    def test_gateway(self):
        """Every cell of the gateway's table."""
        self._check(gateway_stream, GATEWAY)

    def test_agent(self):
        """Every cell of the agent's table."""
        self._check(agent_stream, AGENT)

    def test_every_frame_meets_every_state(self):
        """No cell is left out."""
        heard = {"gateway": set(HEARD), "agent": set(HEARD) - {"success", "failure"}}
        states = {
            "gateway": {"OPENING", "OPENING_FS", "OPEN", "FS", "FR"},
            "agent": {"DIALING", "DIALING_FR", "OPEN", "FS", "FR"},
        }
        for name, rows in (("gateway", GATEWAY), ("agent", AGENT)):
            cells = {(state, event) for state, event, _, _, _ in rows}
            wanted = {(s, e) for s in states[name] for e in heard[name]}
            self.assertEqual(wanted - cells, set(), msg=name)


class MisuseTests(SynchronousTestCase):
    """What the owner must not ask for."""

    def test_nothing_is_said_for_a_step_that_is_not_in_the_table(self):
        """The error is the caller's; the wire does not see it."""
        side, end = agent_stream("OPEN")
        for status in (0, 1):
            self.assertRaises(ProtocolError, side.rules.answer, end.stream, status)
        side.rules.reset(end.stream, 0, "gone")
        side.said()
        self.assertRaises(ProtocolError, side.rules.answer, end.stream, 1)
        self.assertRaises(ProtocolError, side.rules.finish, end.stream)
        self.assertEqual((side.said(), len(end.endings)), ([], 1))

    def test_resetting_twice_is_resetting_once(self):
        """The second call has no effect."""
        side, end = gateway_stream("OPEN")
        side.rules.reset(end.stream, 0, "first")
        side.rules.reset(end.stream, 5, "second")
        self.assertEqual(side.said(), [(0x18, b"\x00\x00\x00\x01\x00")])
        self.assertEqual(end.ending.reason, "first")


class LateFrameTests(SynchronousTestCase):
    """Frames for streams that are over, or never were."""

    def test_frames_for_a_closed_stream_are_dropped_and_counted(self):
        """For two minutes."""
        for make, heard in (
            (gateway_stream, set(HEARD)),
            (agent_stream, set(HEARD) - {"success", "failure"}),
        ):
            for event in heard:
                side, end = make("OPEN")
                side.rules.reset(end.stream, 0, "gone")
                side.said()
                side.now += 119.9
                side.hear(HEARD[event])
                self.assertEqual((side.said(), side.fault), ([], None), msg=event)
                late = {n: c for n, c in side.core.counts.items() if "late_" in n}
                self.assertEqual(list(late.values()), [1], msg=event)

    def test_data_and_success_for_an_unknown_stream_are_answered(self):
        """By RESET 1; the rest is dropped and counted."""
        for make, answered, dropped in (
            (negotiated_gateway, [DATA, SUCCESS], [FAILURE, FIN, CREDIT, RESET]),
            (negotiated_agent, [DATA], [FIN, CREDIT, RESET]),
        ):
            for frame in answered:
                side = make()
                side.hear(frame)
                self.assertEqual(side.said(), [(0x18, b"\x00\x00\x00\x01\x01")])
            for frame in dropped:
                side = make()
                side.hear(frame)
                self.assertEqual((side.said(), side.fault), ([], None))
                self.assertEqual(sum(side.core.counts.values()), 1)

    def test_an_old_stream_is_an_unknown_one(self):
        """After two minutes Data for it is answered again."""
        side, end = gateway_stream("OPEN")
        side.rules.reset(end.stream, 0, "gone")
        side.said()
        side.now += 120
        side.hear(DATA)
        self.assertEqual(side.said(), [(0x18, b"\x00\x00\x00\x01\x01")])

    def test_a_hundred_answers_a_second(self):
        """The rest is counted only."""
        side = negotiated_agent()
        stray = b"".join(with_id(0x03, number, b"x") for number in range(1000))
        side.hear(stray)
        self.assertEqual(len(side.said()), 100)
        side.now += 0.99
        side.hear(stray)
        self.assertEqual(side.said(), [])
        side.now += 0.01
        side.hear(stray)
        self.assertEqual(len(side.said()), 100)
        self.assertEqual(side.core.counts["stray_data"], 3000)

    def test_an_open_on_a_closed_stream_opens_anew(self):
        """The agent takes any id, 0 and the largest included."""
        for stream_id in (0, 1, (1 << 32) - 1):
            side = negotiated_agent()
            frame = raw_frame(0x14, open_payload(stream_id))
            side.hear(frame, with_id(0x18, stream_id, b"\x00"), frame)
            first, second = side.observer.ends
            self.assertIsNotNone(first.ending)
            self.assertIsNone(second.ending)
            side.rules.answer(second.stream, 0)
            side.hear(with_id(0x03, stream_id, b"new"))
            self.assertEqual(
                (bytes(first.received), bytes(second.received)), (b"", b"new")
            )

    def test_an_open_on_a_live_stream_is_an_error(self):
        """And the link ends."""
        side = negotiated_agent()
        side.hear(OPEN, OPEN)
        self.assertEqual(side.fault and side.fault.kind, "live_id")
        self.assertEqual(len(side.observer.ends[0].endings), 1)


class ProtocolErrorTests(SynchronousTestCase):
    """GOAWAY 3, and the link is closed."""

    def _assert_error(self, side, frame, kind):
        end = side.open() if side.core.settings.roles.opens else None
        side.said()
        side.hear(frame, raw_frame(0x1A, bytes(9)))
        self.assertEqual(side.fault and side.fault.kind, kind, msg=frame.hex())
        said = side.said()
        self.assertEqual([(k, p[:1]) for k, p in said], [(0x17, b"\x03")])
        self.assertEqual(said[0][1][1:].decode(), str(side.fault))
        self.assertEqual(side.core.counts[f"fault_{kind}"], 1)
        if end is not None:
            self.assertFalse(end.ending.flush)

    def test_frames_in_the_wrong_direction(self):
        """And those of the plain protocol, which have no place here."""
        for kind in (0x01, 0x04, 0x11, 0x14, 0x16):
            self._assert_error(
                negotiated_gateway(), raw_frame(kind, bytes(64)), "misplaced"
            )
        for kind in (0x01, 0x02, 0x04, 0x10, 0x15):
            self._assert_error(
                negotiated_agent(), raw_frame(kind, bytes(64)), "misplaced"
            )

    def test_a_second_hello_ack(self):
        """The decision has been made."""
        self._assert_error(negotiated_agent(), raw_frame(0x11, b"{}"), "late_hello")

    def test_payloads_shorter_than_their_fixed_part(self):
        """Of every kind that the direction allows."""
        for kind, size in ((0x02, 4), (0x03, 3), (0x12, 3), (0x13, 7), (0x18, 4)):
            frame = raw_frame(kind, bytes(size))
            self._assert_error(negotiated_gateway(), frame, "payload")
        for kind, size in ((0x03, 3), (0x12, 3), (0x13, 7), (0x14, 7), (0x18, 4)):
            self._assert_error(
                negotiated_agent(), raw_frame(kind, bytes(size)), "payload"
            )
        for kind, size in ((0x15, 0), (0x17, 0), (0x1A, 8)):
            frame = raw_frame(kind, bytes(size))
            self._assert_error(negotiated_gateway(), frame, "payload")

    def test_an_unreadable_stream(self):
        """Another version, or a frame longer than was agreed on."""
        self._assert_error(negotiated_gateway(), raw_frame(5, version=2), "version")
        frame = raw_frame(3, length=32769)
        self._assert_error(negotiated_gateway(), frame, "too_large")

    def test_a_window_beyond_the_largest_credit(self):
        """2^31-1 in sum."""
        frame = with_id(0x13, 1, struct.pack("!I", (1 << 31) - WINDOW))
        self._assert_error(negotiated_gateway(), frame, "credit")

    def test_unknown_kinds_are_no_errors(self):
        """They are dropped and counted, AUTH out of its place too."""
        for side in (negotiated_gateway(), negotiated_agent()):
            side.hear(*(raw_frame(kind) for kind in (0x00, 0x06, 0x19, 0x7F, 0xFF)))
            self.assertEqual((side.fault, side.said()), (None, []))
            self.assertEqual(side.core.counts["unknown_kind"], 5)


class SendingTests(SynchronousTestCase):
    """Near bytes to Data."""

    def test_data_is_sent_within_the_credit(self):
        """What is not taken waits at the caller."""
        side, end = gateway_stream("OPEN")
        self.assertEqual(side.rules.send(end.stream, bytes(WINDOW - 10)), WINDOW - 10)
        self.assertEqual(side.rules.send(end.stream, bytes(20)), 10)
        self.assertEqual(side.rules.send(end.stream, bytes(20)), 0)
        self.assertEqual(side.rules.send(end.stream, b""), 0)
        sizes = [len(payload) - 4 for _, payload in side.said()]
        self.assertEqual(sum(sizes), WINDOW)
        side.hear(CREDIT)
        self.assertEqual(side.rules.send(end.stream, bytes(2000)), 1000)

    def test_a_frame_is_a_quarter_of_the_credit(self):
        """And not longer than the peer accepts."""
        for window, max_frame, longest in (
            (16384, 4100, 4096),
            (16384, 1 << 20, 4096),
            (WINDOW, 1 << 20, WINDOW // 4),
            (1 << 22, 32768, 32764),
        ):
            side = negotiated_gateway(peer_window=window, peer_max_frame=max_frame)
            end = side.open()
            side.hear(SUCCESS)
            side.said()
            data = bytes(range(256)) * 64 * 8
            taken = side.rules.send(end.stream, data)
            payloads = [payload for _, payload in side.said()]
            self.assertEqual(max(map(len, payloads)) - 4, longest)
            joined = b"".join(payload[4:] for payload in payloads)
            self.assertEqual(joined, data[:taken])

    def test_early_data_is_16_kib_in_all(self):
        """Until the target is confirmed."""
        side = negotiated_gateway()
        end = side.open()
        self.assertEqual(side.rules.send(end.stream, bytes(10_000)), 10_000)
        self.assertEqual(side.rules.send(end.stream, bytes(10_000)), 6384)
        self.assertEqual(side.rules.send(end.stream, b"x"), 0)
        side.hear(CREDIT)
        self.assertEqual(side.rules.send(end.stream, b"x"), 0)
        side.hear(SUCCESS)
        self.assertEqual(side.rules.send(end.stream, bytes(100_000)), WINDOW - 15384)

    def test_a_view_is_as_good_as_bytes(self):
        """What waited at the caller is a view."""
        side, end = gateway_stream("OPEN")
        side.rules.send(end.stream, memoryview(b"abcdef")[2:])
        self.assertEqual(side.said(), [(0x03, b"\x00\x00\x00\x01cdef")])

    def test_fin_stands_behind_data(self):
        """WINDOW, PING and RESET may go first."""
        side, end = gateway_stream("OPEN")
        side.rules.send(end.stream, b"last")
        side.rules.finish(end.stream)
        side.hear(raw_frame(0x1A, bytes(9)))
        self.assertEqual([kind for kind, _ in side.said()], [0x1A, 0x03, 0x12])

    def test_an_open_that_does_not_fit_opens_nothing(self):
        """Host or meta too long."""
        side = negotiated_gateway()
        self.assertRaises(PayloadError, side.open, 80, "h" * 256)
        self.assertRaises(PayloadError, side.open, 80, "", {"x": "y" * 5000})
        self.assertEqual((side.core.streams, side.said()), ({}, []))

    def test_an_open_carries_what_it_was_given(self):
        """Port, host and meta."""
        side = negotiated_gateway()
        side.open(5432, "db.lan", {"mapping": 7})
        meta = b'{"mapping":7}'
        payload = open_payload(1, 5432, b"db.lan", meta)
        self.assertEqual(side.said(), [(0x14, payload)])

    def test_a_failure_is_named(self):
        """In words for the log, also when it is of a later release."""
        for status, words in ((2, "refused by the target"), (99, "status 99")):
            side, end = gateway_stream("OPENING")
            side.hear(with_id(0x02, 1, bytes((status,))))
            self.assertEqual(end.ending.reason, f"refused: {words}")

    def test_a_reset_is_named(self):
        """Also when its reason is of a later release."""
        for reason, words in ((5, "killed by the operator"), (99, "reason 99")):
            side, end = gateway_stream("OPEN")
            side.hear(with_id(0x18, 1, bytes((reason,))))
            self.assertEqual(end.ending.reason, f"reset by the far end: {words}")


class ReceivingTests(SynchronousTestCase):
    """Data to near bytes, and their credit back."""

    def test_the_whole_window_may_arrive(self):
        """One byte more ends the link."""
        side, end = agent_stream("OPEN")
        for _ in range(WINDOW // 16384):
            side.hear(with_id(0x03, 1, bytes(16384)))
        self.assertEqual(len(end.received), WINDOW)
        self.assertIsNone(side.fault)
        side.hear(with_id(0x03, 1, b"x"))
        self.assertEqual(side.fault and side.fault.kind, "credit")
        self.assertIn("credit of 0", str(side.fault))

    def test_credit_goes_back_by_halves_of_the_window(self):
        """And only for what was not held."""
        side, end = agent_stream("OPEN")
        for _ in range(3):
            side.hear(with_id(0x03, 1, bytes(WINDOW // 4)))
        side.rules.repay(end.stream, WINDOW // 4 + 1)
        self.assertEqual(side.said(), [])
        side.rules.repay(end.stream, WINDOW // 4)
        payload = struct.pack("!II", 1, WINDOW // 2)
        self.assertEqual(side.said(), [(0x13, payload)])

    def test_no_credit_after_the_far_end_has_finished(self):
        """It has no use for any; nor has a stream that is over."""
        for last in (FIN, RESET):
            for state in ("DIALING", "OPEN"):
                side, end = agent_stream(state)
                side.hear(*([with_id(0x03, 1, bytes(16384))] * 4), last)
                side.rules.repay(end.stream, 0)
                self.assertEqual(side.said(), [], msg=(state, last))
                self.assertIsNone(side.fault)

    def test_data_of_no_bytes_is_not_delivered(self):
        """It would be kept for nothing while the target is dialled."""
        side, end = agent_stream("DIALING")
        side.hear(*([with_id(0x03, 1)] * 1000))
        self.assertEqual(end.events, [])
        self.assertIsNone(side.fault)

    def test_a_window_of_nothing_is_harmless(self):
        """It grants nothing."""
        side, end = gateway_stream("OPEN")
        side.hear(with_id(0x13, 1, bytes(4)))
        self.assertEqual((end.stream.sending.left, side.fault), (WINDOW, None))


class LossTests(SynchronousTestCase):
    """The link goes, and its streams with it."""

    def test_a_stream_ends_once_whatever_its_neighbours_do(self):
        """The end of one may make the owner reset the others."""
        side = negotiated_gateway()
        ends = [side.open() for _ in range(3)]
        for end in ends:
            end.on_ended = lambda: [
                side.rules.reset(one.stream, 5, "with the first") for one in ends
            ]
        side.session.end()
        for end in ends:
            self.assertEqual(len(end.endings), 1)
        self.assertEqual(side.core.streams, {})

    def test_ending_twice_is_ending_once(self):
        """The owner may end what the peer has ended."""
        side, end = gateway_stream("OPEN")
        side.session.end()
        side.session.end()
        self.assertEqual(len(end.endings), 1)
        side.hear(DATA)
        self.assertEqual(bytes(end.received), b"")


class GrowthCase(SynchronousTestCase):
    """A stream whose window may grow."""

    round_trip: float

    def start(self, memory=0, most=8 * WINDOW):
        """Open a stream at the agent; the peer has the whole window to send."""
        self.budget = Budget(memory)
        self.side = negotiated_agent(max_window=most, memory=self.budget)
        self.side.core.round_trip = self.round_trip
        self.side.hear(OPEN)
        self.end = self.side.observer.ends[0]
        self.side.rules.answer(self.end.stream, 0)
        self.side.said()
        self.left = WINDOW

    def arrive(self, seconds, held=0):
        """Let all that was granted arrive a while later; return the next grant."""
        self.side.now += seconds
        while self.left:
            size = min(self.left, 16384)
            self.side.hear(with_id(0x03, 1, bytes(size)))
            self.left -= size
        self.side.rules.repay(self.end.stream, held)
        for kind, payload in self.side.said():
            self.assertEqual(kind, 0x13)
            self.left += struct.unpack("!I", payload[4:])[0]
        return self.left


class GrowthTests(GrowthCase):
    """Windows that grow, on a link with a round trip of 1 ms."""

    round_trip = 0.001

    def test_a_window_used_up_in_a_round_trip_doubles_until_it_may_not(self):
        self.start()
        found = [self.arrive(0.001) for _ in range(5)]
        self.assertEqual(found, [n * WINDOW for n in (2, 4, 8, 8, 8)])
        self.assertEqual(self.budget.grown, 7 * WINDOW)

    def test_a_window_that_lasts_longer_stays(self):
        self.start()
        self.assertEqual(self.arrive(0.0021), WINDOW)
        self.assertEqual(self.budget.grown, 0)

    def test_a_pause_before_a_burst_is_not_counted_for_it(self):
        self.start()
        self.assertEqual(self.arrive(3600.0), WINDOW)
        self.assertEqual(self.arrive(0.001), 2 * WINDOW)

    def test_a_reader_that_falls_behind_gets_no_larger_window(self):
        self.start()
        self.assertEqual(self.arrive(0.001, held=WINDOW // 2), WINDOW // 2)
        self.assertEqual(self.budget.grown, 0)

    def test_memory_that_is_short_ends_growth(self):
        self.start(memory=8 * WINDOW)
        self.assertEqual(self.arrive(0.001), 2 * WINDOW)
        self.assertEqual(self.arrive(0.001), 4 * WINDOW)
        self.assertEqual(self.arrive(0.001), 4 * WINDOW)
        self.assertEqual(self.budget.grown, 3 * WINDOW)

    def test_where_memory_is_tight_windows_shrink(self):
        """Nothing granted is taken back; the next grant is of the first window."""
        self.start(memory=8 * WINDOW)
        self.assertEqual(self.arrive(0.001), 2 * WINDOW)
        self.budget.hold(6 * WINDOW)
        self.assertEqual(self.arrive(0.001), WINDOW)
        self.assertEqual(
            (self.end.stream.receiving.window, self.budget.grown), (WINDOW, 0)
        )

    def test_where_memory_is_tight_who_holds_much_is_not_repaid(self):
        self.start(memory=8 * WINDOW)
        self.budget.hold(7 * WINDOW)
        self.assertEqual(self.arrive(0.001, held=WINDOW // 2 + 1), 0)
        self.side.rules.repay(self.end.stream, WINDOW // 2)
        self.assertEqual([kind for kind, _ in self.side.said()], [0x13])

    def test_a_stream_that_ends_gives_back_what_it_had_grown(self):
        self.start()
        self.arrive(0.001)
        self.assertEqual(self.budget.grown, WINDOW)
        self.side.hear(RESET)
        self.assertEqual(self.budget.grown, 0)


class LongPathTests(GrowthCase):
    """Windows on a link with a round trip of 100 ms."""

    round_trip = 0.1

    def start(self, memory=0, most=1 << 24):
        super().start(memory, most)

    @property
    def window(self):
        return self.end.stream.receiving.window

    def flow(self, rate, seconds, step=0.01):
        """Let bytes arrive at a rate, as far as they were granted."""
        for _ in range(round(seconds / step)):
            self.side.now += step
            size = min(self.left, round(rate * step))
            for start in range(0, size, 16384):
                part = bytes(min(16384, size - start))
                self.side.hear(with_id(0x03, 1, part))
                self.side.rules.repay(self.end.stream, 0)
            self.left -= size
            for _, payload in self.side.said():
                self.left += struct.unpack("!I", payload[4:])[0]

    def test_a_window_that_was_used_up_in_no_time_grows_eightfold(self):
        self.start()
        found = [self.arrive(0.001) for _ in range(3)]
        self.assertEqual(found, [n * WINDOW for n in (8, 64, 128)])
        self.assertEqual(self.budget.grown, 127 * WINDOW)

    def test_bytes_that_took_some_time_let_it_grow_by_less(self):
        """It is then two to four times what the path holds."""
        for seconds, factor in ((0.04, 8), (0.06, 4), (0.11, 2), (0.21, 1)):
            self.start()
            self.assertEqual(self.arrive(seconds), factor * WINDOW)

    def test_a_burst_behind_a_lost_packet_shows_what_the_path_holds(self):
        """The wait before it is no slowness of the path."""
        self.start()
        self.flow(0, 0.3)
        self.flow(10_000_000, 0.01)
        self.assertEqual(self.window, 8 * WINDOW)

    def test_a_reader_that_falls_behind_gets_no_larger_window(self):
        self.start()
        self.assertEqual(self.arrive(0.001, held=WINDOW // 2), WINDOW // 2)
        self.assertEqual(self.budget.grown, 0)

    def test_the_largest_window_bounds_it(self):
        self.start(most=6 * WINDOW)
        self.assertEqual(self.arrive(0.001), 6 * WINDOW)

    def test_one_stream_takes_a_sixteenth_of_the_room_for_growth_at_once(self):
        """Half of the memory is for growth; more comes by doubling."""
        self.start(memory=2 * 16 * 4 * WINDOW)
        found = [self.arrive(0.001) for _ in range(3)]
        self.assertEqual(found, [n * WINDOW for n in (4, 8, 16)])

    def test_beyond_what_a_fast_path_holds_it_doubles(self):
        self.start()
        self.arrive(0.001)
        self.side.core.round_trip = 0.01
        self.assertEqual(self.arrive(0.0001), 16 * WINDOW)

    def test_a_slow_path_is_not_filled_with_queued_bytes(self):
        """2 MB/s for 100 ms are 200 kB: two to four times as much is granted."""
        self.start()
        self.flow(2_000_000, 10.0)
        self.assertEqual(self.window, 8 * WINDOW)

    def test_a_fast_path_is_filled_within_a_few_round_trips(self):
        """10 MB/s are 1 MB."""
        self.start()
        self.flow(10_000_000, 0.5)
        self.assertGreaterEqual(self.window, 2_000_000)
        self.assertLessEqual(self.window, 4_200_000)

    def test_a_later_stream_gets_at_once_what_an_earlier_one_reached(self):
        """Also behind a wait for a lost packet, if it may be bulk at all."""
        for seconds, factor in ((0.3, 64), (0.9, 1)):
            self.start()
            self.arrive(0.001)
            self.arrive(0.001)
            self.side.hear(RESET)
            self.side.hear(OPEN)
            self.end = self.side.observer.ends[-1]
            self.side.rules.answer(self.end.stream, 0)
            self.side.said()
            self.left = WINDOW
            self.assertEqual(self.arrive(seconds), factor * WINDOW)
