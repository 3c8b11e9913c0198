"""Visitors and targets: people who talk by a script and remember what they heard.

Whatever a talker says begins with its serial number, so that the hearer knows who
is at the other end and what must come.
"""

import struct
from dataclasses import dataclass
from random import Random
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from zope.interface import implementer

NOISE = Random(20).randbytes(1 << 21)
HEADER = struct.Struct("!cI")
ENDLESS = 1 << 19  # bytes that one who never stops says


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """How one end of a conversation behaves.

    Attributes:
        says: bytes to say, the header included; 0 = nothing at all.
        chunk: bytes of one write.
        every: seconds between two writes; 0 = as fast as the transport takes them.
        echoes: says what it hears, behind its header.
        reads: "all", "slowly" or "never".
        ends: what follows when all is said: "finish" (half-close), "answer"
            (half-close after the far end's), "reset", or "stay".
        starts: "now", or "asked" = after the first byte was heard.
        leaves: seconds after which a visitor resets; None = never.
    """

    says: int = 0
    chunk: int = 16384
    every: float = 0.0
    echoes: bool = False
    reads: str = "all"
    ends: str = "answer"
    starts: str = "now"
    leaves: float | None = None

    @property
    def cooperative(self):
        """Whether this end does its part to bring the conversation to an end."""
        return (
            self.reads != "never"
            and self.ends in ("finish", "answer")
            and self.leaves is None
        )


@implementer(IHalfCloseableProtocol, IPushProducer)
class Talker(Protocol):
    """One end of a conversation.

    Attributes:
        serial: names it on the wire.
        partner: the talker at the other end, once it has been heard.
        heard: bytes that arrived.
        said: bytes written.
        excused: why its conversation may break, or None.
        orphaned: the process at the other end of its connection died.
        way: how it got here: "tunnel", "legacy" or "direct".
        finished: it has half-closed behind everything it had to say.
        eof: it saw the end of what the other one said.
        ending: None, "clean" or "broken".
        faults: what it heard that nobody said.
    """

    transport: Any

    def __init__(self, crowd, script, *, visitor):
        self.crowd = crowd
        self.script = script
        self.visitor = visitor
        self.serial = crowd.enrol(self)
        self.partner: Talker | None = None
        self.heard = self.said = 0
        self.finished = self.eof = self.gave_up = self.orphaned = False
        self.ending: str | None = None
        self.faults: list[str] = []
        self.socket: Any = None
        self.excused: str | None = None
        self.way = "tunnel"
        self.target = ""
        self.agent: str | None = None
        self.port = 0
        self.born = crowd.clock.seconds()
        self.ended_at: float | None = None
        self._header = HEADER.pack(b"V" if visitor else b"T", self.serial)
        self._name = bytearray()
        self._echo = bytearray()
        self._paused = False
        self._started = False
        self._released = False
        self._calls: dict[str, Any] = {}

    def __repr__(self):
        return f"{'visitor' if self.visitor else 'target'} {self.serial}"

    # what it says

    def content(self, start, stop):
        """Return what it says from byte `start` to before `stop`."""
        size = len(self._header)
        if start < size:
            rest = self.content(size, stop) if stop > size else b""
            return self._header[start:stop] + rest
        if self.script.echoes:
            return bytes(self._echo[start - size : stop - size])
        shift = self.serial * 4099 % (len(NOISE) - ENDLESS)
        return NOISE[shift + start : shift + stop]

    @property
    def total(self):
        """How many bytes it has to say as far as it knows."""
        if self.script.echoes:
            return len(self._header) + len(self._echo)
        return self.script.says

    def connectionMade(self):
        self.socket = self.transport.getHandle()
        self.socket.talker = self
        script = self.script
        self.transport.registerProducer(self, True)
        if script.reads == "never":
            self.transport.pauseProducing()
        if script.leaves is not None:
            self._later("leave", script.leaves, self.leave)
        if script.starts == "now":
            self._speak()

    def _later(self, what, seconds, call):
        if what not in self._calls:
            self._calls[what] = self.crowd.clock.callLater(
                seconds, self._do, what, call
            )

    def _do(self, what, call):
        del self._calls[what]
        if self.ending is None:
            call()

    def _speak(self):
        """Say what can be said now."""
        script = self.script
        self._started = True
        while not self._paused and not self.finished and self.ending is None:
            left = self.total - self.said
            if left <= 0:
                break
            size = min(script.chunk, left)
            words = self.content(self.said, self.said + size)
            self.said += len(words)
            self.transport.write(words)
            if script.every:
                self._later("speak", script.every, self._speak)
                return
        if self.said >= self.total and not self._paused:
            self._all_said()

    def _all_said(self):
        script = self.script
        if script.ends == "reset":
            self.leave()
        elif (script.ends == "finish" and not script.echoes) or (
            self.eof and (script.ends == "answer" or self._released)
        ):
            self.finish()

    def finish(self):
        """Half-close behind everything."""
        if not self.finished and self.ending is None:
            self.finished = True
            self.crowd.note(f"{self} finishes after {self.said} bytes")
            self.transport.unregisterProducer()
            self.transport.loseWriteConnection()

    def leave(self):
        """Reset the connection."""
        if self.ending is None and not self.gave_up:
            self.gave_up = True
            self.crowd.note(f"{self} resets after {self.said} said, {self.heard} heard")
            self.transport.abortConnection()

    def release(self):
        """Behave from now on: read everything, and end what can be ended."""
        self._released = True
        if self.ending is not None:
            return
        self.transport.resumeProducing()
        if not self._started:
            self._speak()
        elif self.said >= self.total and not self._paused:
            self.finish()

    # IPushProducer, for its own transport

    def pauseProducing(self):
        self._paused = True

    def resumeProducing(self):
        self._paused = False
        if self._started and "speak" not in self._calls:
            self._speak()

    def stopProducing(self):
        """`connectionLost` follows."""

    # what it hears

    def dataReceived(self, data):
        if self.partner is None:
            data = self._meet(data)
        if self.partner is not None:
            self._compare(data)
        if self.script.echoes:
            self._echo += data
            self._speak()
        elif not self._started:
            self._speak()
        if self.script.reads == "slowly" and not self._released:
            self.transport.pauseProducing()
            self._later("read", 0.05, self.transport.resumeProducing)

    def _meet(self, data):
        """Read the header; return what was heard once the partner is known."""
        self._name += data
        if len(self._name) < HEADER.size:
            return b""
        kind, serial = HEADER.unpack_from(self._name)
        partner = self.crowd.find(serial)
        wanted = b"T" if self.visitor else b"V"
        if kind != wanted or partner is None:
            self.faults.append(f"heard {bytes(self._name[:9])!r}, not a header")
            self.transport.abortConnection()
            return b""
        self.partner = partner
        if partner.partner not in (None, self):
            self.faults.append(f"{partner} talks to {partner.partner} too")
        return bytes(self._name)

    def _compare(self, data):
        stop = self.heard + len(data)
        partner = self.partner
        assert partner is not None
        if stop > partner.said:
            self.faults.append(f"heard {stop} bytes of the {partner.said} said")
        elif partner.content(self.heard, stop) != data:
            self.faults.append(f"heard other bytes than said, before {stop}")
        self.heard = stop

    def readConnectionLost(self):
        self.eof = True
        if self._started and self.said >= self.total and not self._paused:
            self._all_said()
        elif not self._started:
            self._speak()

    def writeConnectionLost(self):
        """Its own half-close is on its way."""

    def connectionLost(self, reason=connectionDone):
        clean = reason.check(ConnectionDone) is not None
        self.ending = "clean" if clean and not self.gave_up else "broken"
        self.ended_at = self.crowd.clock.seconds()
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()
        word = "is done" if clean else "lost the connection"
        self.crowd.note(f"{self} {word}: {self.said} said, {self.heard} heard")
        self.crowd.left(self)


class TalkerFactory(Factory):
    """Build a talker for each connection."""

    noisy = False

    def __init__(self, crowd, script, *, visitor=False):
        self._crowd = crowd
        self._script = script
        self._visitor = visitor

    def buildProtocol(self, addr):
        script = self._script
        return Talker(
            self._crowd, script() if callable(script) else script, visitor=self._visitor
        )


class Crowd:
    """Everybody who talks in one world.

    Attributes:
        talkers: all of them, by serial number.
        present: those whose socket is open.
    """

    def __init__(self, clock, note):
        self.clock = clock
        self.note = note
        self.talkers: list[Talker] = []
        self.present: dict[Talker, None] = {}

    def enrol(self, talker):
        self.talkers.append(talker)
        self.present[talker] = None
        return len(self.talkers) - 1

    def find(self, serial):
        """Return a talker, or None."""
        return self.talkers[serial] if serial < len(self.talkers) else None

    def left(self, talker):
        self.present.pop(talker, None)

    @property
    def visitors(self):
        """Return those who came from outside."""
        return [one for one in self.talkers if one.visitor]
