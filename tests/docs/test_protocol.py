"""docs/protocol.md says what the code does."""

import re
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.mux import (
    core,
    ids,
    legacy,
    liveness,
    negotiated,
    outbox,
    pauses,
    roles,
    session,
)
from gateway.wire import frames, hello, messages
from tests.docs.diagram import state_diagram
from tests.mux.doubles import Side, a_hello, an_ack
from tests.strategies import raw_frame, split_frames
from tests.wire.golden import FRAMES, VECTORS, frame_bytes

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+) ?(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LINE = b"SSH-2.0-example\r\n"


def _cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


ROWS = [_cells(line) for line in PAGE.splitlines() if line.startswith("|")]


def blocks(language):
    """Return the fenced blocks of a language: name -> text."""
    return {name: text for found, name, text in BLOCKS if found == language}


def dumped(text):
    """Return the bytes of a dump; what stands behind a bar is for people."""
    return bytes.fromhex("".join(line.split("|")[0] for line in text.splitlines()))


def section(title):
    """Return the table rows between a heading and the next one."""
    part = PAGE.split(f"# {title}", 1)[1].split("\n#", 1)[0]
    return [_cells(line) for line in part.splitlines() if line.startswith("|")]


def first_cells(title):
    """Return the names in back quotes that start the rows of a section."""
    return [row[0].strip("`") for row in section(title) if re.fullmatch("`.*`", row[0])]


class DumpTests(SynchronousTestCase):
    """The bytes on the page."""

    def test_every_dump_is_a_golden_frame(self):
        """Byte for byte."""
        for name, text in blocks("hex").items():
            self.assertEqual(dumped(text).hex(), FRAMES[name]["hex"], msg=name)

    def test_every_kind_is_shown(self):
        """At least once."""
        shown = {FRAMES[name]["kind"] for name in blocks("hex")}
        self.assertEqual(shown, set(frames.KIND_NAMES))

    def test_the_kinds_are_those_of_the_code(self):
        """With their names, and with who sends them."""
        rows = [row for row in ROWS if re.fullmatch("0x[0-9A-F]{2}", row[0])]
        named = {int(row[0], 16): row[1] for row in rows if len(row) == 5}
        self.assertEqual(named, frames.KIND_NAMES)
        for row in rows:
            if len(row) == 5:
                senders = {
                    one["sender"]
                    for one in VECTORS["frames"]
                    if one["kind"] == int(row[0], 16)
                }
                self.assertTrue(row[2] in senders, msg=row)

    def test_statuses_and_reasons_are_those_of_the_code(self):
        """ConnectResponse and RESET in words, GOAWAY in manners."""
        rows = [row for row in ROWS if re.fullmatch("0x[0-9A-F]{2}", row[0])]
        statuses = {int(row[0], 16): row[1] for row in rows if len(row) == 2}
        self.assertEqual(statuses, frames.STATUS_TEXTS)
        resets = section("4.5 RESET (0x18)")[2:]
        self.assertEqual({int(n): text for n, text in resets}, frames.RESET_TEXTS)
        goodbyes = section("9. Goodbye")[2:]
        polite = {int(row[0]) for row in goodbyes if row[2] == "polite"}
        self.assertEqual(polite, frames.POLITE_REASONS)
        self.assertEqual([int(row[0]) for row in goodbyes], [0, 1, 2, 3, 4, 5])

    def test_the_fields_are_those_of_the_code(self):
        """Of the four JSON frames."""
        shapes: list[tuple[str, Any]] = [
            ("3.3 HELLO (0x10)", hello.Hello),
            ("3.4 HELLO_ACK (0x11)", hello.HelloAck),
        ]
        for title, shape in shapes:
            self.assertEqual(first_cells(title), list(shape.__slots__), msg=title)
        both = {*hello.Register.__slots__, *hello.RegisterAck.__slots__}
        self.assertEqual(set(first_cells("8. Registration")), both)


class DiagramTests(SynchronousTestCase):
    """The picture of a stream's life."""

    def test_the_diagram_is_made_from_the_table(self):
        """If this fails, put the output of `state_diagram` there."""
        [[_, _, text]] = [block for block in BLOCKS if block[0] == "mermaid"]
        self.assertEqual(text, state_diagram())


class LimitTests(SynchronousTestCase):
    """Section 12, row by row."""

    def test_numbers_are_those_of_the_code(self):
        """Every number that the protocol core holds."""
        usual = core.SessionSettings(roles=roles.GATEWAY)
        wanted = {
            "payload of a frame, at most": frames.MAX_PAYLOAD,
            "JSON object, at most": messages.MAX_JSON,
            "`window`": (hello.MIN_WINDOW, frames.MAX_CREDIT, usual.window),
            "`max_frame`": (hello.MIN_FRAME, frames.MAX_PAYLOAD, usual.max_frame),
            "credit, at most": frames.MAX_CREDIT,
            "early data": negotiated.EARLY_BYTES,
            "Data of one frame on a legacy link": usual.chunk_bytes,
            "control frames that wait, at most": outbox.MAX_CONTROL_BYTES >> 20,
            "closed ids remembered": (
                ids.TOMBSTONE_SECONDS // 60,
                ids.MAX_TOMBSTONES,
            ),
            "answers to unknown ids": core.STRAY_ANSWERS_A_SECOND,
            "answers to KeepAlive": liveness.ECHO_SECONDS,
            "keep-alive interval": usual.heartbeat_seconds,
            "silence until a link is dead": (
                liveness.DEAD_AFTER_INTERVALS,
                liveness.LEGACY_DEAD_SECONDS,
            ),
            "silence until a link is legacy": session.SILENCE_SECONDS,
            "HELLO": usual.hello_seconds,
            "pauses of a legacy link": (
                pauses.PAUSED_SECONDS,
                pauses.WITHIN_SECONDS,
            ),
        }
        found = {row[0]: row[1] for row in section("12. Limits and timeouts")}
        for name, numbers in wanted.items():
            digits = re.findall(r"\d+", re.sub(r"(?<=\d) (?=\d{3})", "", found[name]))
            numbers = numbers if isinstance(numbers, tuple) else (numbers,)
            self.assertEqual(
                [float(one) for one in digits],
                [float(one) for one in numbers],
                msg=name,
            )
        self.assertEqual(legacy.LOOPBACK, "127.0.0.1")


class SessionTests(SynchronousTestCase):
    """The two sessions, played by the code."""

    def _play(self, name):
        """Yield (frame, who says it) of a session in the vectors."""
        [found] = [one for one in VECTORS["sessions"] if one["name"] == name]
        return [(frame, who) for who, frame in found["steps"]]

    def _said(self, who, name, side):
        found = b"".join(side.session.take())
        if side.session.negotiated and not name.startswith("ping"):
            found = self._without_question(found, side)
        self.assertEqual(found.hex(), frame_bytes(name).hex(), msg=f"{who}: {name}")
        return found

    def _without_question(self, found, side):
        """Answer the PING of the opening, which the page leaves out."""
        said = split_frames(found)
        for kind, payload in said:
            if kind == 0x1A:
                side.hear(raw_frame(kind, b"\x01" + payload[1:]))
        return b"".join(raw_frame(*one) for one in said if one[0] != 0x1A)

    def test_the_page_shows_the_sessions_of_the_vectors(self):
        """Who says what, and its bytes."""
        for name, text in blocks("session").items():
            shown: list[tuple[str, str, list[str]]] = []
            for line in text.splitlines():
                if line.startswith(" "):
                    shown[-1][2].append(line)
                else:
                    way, frame = line.split("  ")
                    shown.append((frame, {"A": "agent", "G": "gateway"}[way[0]], []))
            self.assertEqual([one[:2] for one in shown], self._play(name))
            for frame, _, dump in shown:
                self.assertEqual(dumped("\n".join(dump)), frame_bytes(frame), msg=frame)

    def test_the_negotiated_session_is_what_both_ends_say(self):
        """Step by step."""
        message = FRAMES["hello_ack"]["message"]
        features = frozenset(message["features"])
        ack = an_ack(**{**message, "features": features})
        gateway = Side(gateway=True, answer=ack, window=262144, max_frame=262144)
        agent = Side(gateway=False, window=262144, max_frame=262144)
        visitor: Any = None
        meta = FRAMES["open"]["message"]["meta"]
        target: Any = None
        for number, (frame, who) in enumerate(self._play("negotiated")):
            if number == 0:
                agent.session.greet(a_hello(**_hello_fields()))
            elif frame == "open":
                visitor = gateway.open(22, "", meta)
            elif frame == "connect_response_success":
                [target] = agent.observer.ends
                agent.rules.answer(target.stream, 0)
            elif frame == "data":
                side, end = (gateway, visitor) if who == "gateway" else (agent, target)
                side.rules.send(end.stream, LINE)
            elif frame == "fin":
                side, end = (gateway, visitor) if who == "gateway" else (agent, target)
                side.rules.finish(end.stream)
            elif frame == "ping":
                self.patch(gateway.session, "_new_nonce", lambda: bytes(range(1, 9)))
                gateway.later(15)
            elif frame == "goaway_stopping":
                gateway.session.leave(0, "the gateway stops")
            said = self._said(who, frame, gateway if who == "gateway" else agent)
            (agent if who == "gateway" else gateway).hear(said)
        self.assertEqual(
            (bytes(visitor.received), bytes(target.received)), (LINE, LINE)
        )
        self.assertTrue(visitor.ending.flush and target.ending.flush)
        self.assertIn("finished", gateway.observer.names())
        self.assertEqual((gateway.fault, agent.fault), (None, None))

    def test_the_legacy_session_is_what_both_ends_say(self):
        """With a gateway that drops the HELLO."""
        gateway = Side(gateway=True)
        agent = Side(gateway=False)
        gateway.later(2)
        visitor: Any = None
        target: Any = None
        for frame, who in self._play("legacy"):
            if frame == "hello":
                agent.session.greet(a_hello(**_hello_fields()))
                self._said(who, frame, agent)
                continue
            if frame == "connect_request_short":
                visitor = gateway.open(22)
            elif frame == "connect_response_success":
                [target] = agent.observer.ends
                agent.rules.answer(target.stream, 0)
            elif frame == "data":
                side, end = (gateway, visitor) if who == "gateway" else (agent, target)
                side.rules.send(end.stream, LINE)
            elif frame == "close":
                gateway.rules.finish(visitor.stream)
            said = self._said(who, frame, gateway if who == "gateway" else agent)
            (agent if who == "gateway" else gateway).hear(said)
        self.assertEqual(
            (bytes(visitor.received), bytes(target.received)), (LINE, LINE)
        )
        self.assertTrue(visitor.ending.flush and target.ending.flush)


def _hello_fields():
    fields = FRAMES["hello"]["message"]
    return {**fields, "features": frozenset(fields["features"])}
