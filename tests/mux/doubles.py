"""Sessions with somebody at each side who remembers what happened."""

import itertools
from typing import Any

from gateway.mux.core import SessionSettings
from gateway.mux.roles import AGENT, GATEWAY
from gateway.mux.session import Session
from gateway.mux.stream import StreamRequest
from gateway.wire.hello import Hello, HelloAck
from tests.strategies import json_frame, raw_frame, split_frames

INSTANCE = "0123456789abcdef"
WINDOW = 65536
MAX_FRAME = 32768


class RecordingEnd:
    """The near side of a stream: a list of what its session said.

    Attributes:
        events: names and values, in order; Data joined in `received`.
        endings: every `Ending`; more than one would be a fault.
    """

    def __init__(self):
        self.events = []
        self.received = bytearray()
        self.endings = []
        self.request = None
        self.stream: Any = None
        self.on_ended = None

    def requested(self, request):
        self.request = request
        self.events.append("requested")

    def opened(self):
        self.events.append("opened")

    def deliver(self, data):
        self.events.append("deliver")
        self.received += data

    def far_finished(self):
        self.events.append("far_finished")

    def granted(self):
        self.events.append("granted")

    def ended(self, ending):
        self.events.append("ended")
        self.endings.append(ending)
        if self.on_ended is not None:
            self.on_ended()

    @property
    def ending(self):
        """The one ending, or None."""
        if len(self.endings) > 1:
            raise AssertionError(f"ended {len(self.endings)} times: {self.endings}")
        return self.endings[0] if self.endings else None


class RecordingObserver:
    """The owner of a link: a list of what its session said.

    Attributes:
        calls: (name, value) pairs.
        ends: near sides made for the gateway's streams, in order.
        answer: what to do with a HELLO: a `HelloAck`, an error text, or None.
    """

    def __init__(self, answer=None):
        self.calls = []
        self.ends = []
        self.unknown = []
        self.answer = answer
        self.session: Any = None

    def names(self):
        return [name for name, _ in self.calls]

    def last(self, name):
        """Return the value of the latest call of that name."""
        return [value for called, value in self.calls if called == name][-1]

    def hello_received(self, hello):
        self.calls.append(("hello_received", hello))
        if isinstance(self.answer, HelloAck):
            self.session.accept(self.answer)
        elif self.answer is not None:
            self.session.refuse(self.answer)

    def auth_received(self, message):
        self.calls.append(("auth_received", message))

    def decided(self, ack):
        self.calls.append(("decided", ack))

    def unknown_kind(self, kind):
        self.unknown.append(kind)

    def refused(self, error):
        self.calls.append(("refused", error))

    def new_end(self, stream):
        end = RecordingEnd()
        end.stream = stream
        self.ends.append(end)
        return end

    def register_received(self, wish):
        self.calls.append(("register_received", wish))

    def register_answered(self, ack):
        self.calls.append(("register_answered", ack))

    def goodbye_received(self, goodbye):
        self.calls.append(("goodbye_received", goodbye))

    def finished(self):
        self.calls.append(("finished", None))

    def failed(self, fault):
        self.calls.append(("failed", fault))


class Side:
    """One session, its observer and its clock."""

    def __init__(self, *, gateway=True, answer=None, now=1000.0, **settings):
        settings.setdefault("roles", GATEWAY if gateway else AGENT)
        settings.setdefault("window", WINDOW)
        settings.setdefault("max_frame", MAX_FRAME)
        settings.setdefault("max_window", settings["window"])
        self.now = now
        self.observer = RecordingObserver(answer)
        numbers = itertools.count(1)
        self.session = Session(
            SessionSettings(**settings),
            self.observer,
            lambda: next(numbers).to_bytes(8, "big"),
            now,
        )
        self.observer.session = self.session

    @property
    def core(self):
        return self.session.core

    @property
    def rules(self):
        if self.session.rules is None:
            raise AssertionError("the link is undecided")
        return self.session.rules

    @property
    def fault(self):
        """The protocol error that ended the link, or None."""
        found = [value for name, value in self.observer.calls if name == "failed"]
        if len(found) > 1:
            raise AssertionError(f"failed {len(found)} times: {found}")
        return found[0] if found else None

    def hear(self, *frames):
        """Receive bytes now."""
        self.session.receive(b"".join(frames), self.now)

    def said(self):
        """Return the frames that wait to be sent, and forget them."""
        return split_frames(b"".join(self.session.take()))

    def settle(self):
        """Answer the question for the round trip; nothing is left to say."""
        for kind, payload in self.said():
            if kind == 0x1A:
                self.hear(raw_frame(0x1A, b"\x01" + payload[1:]))
        self.observer.calls.clear()

    def later(self, seconds):
        """Let time pass; return what `tick` says."""
        self.now += seconds
        return self.session.tick(self.now)

    def open(self, port=80, host="", meta=None, protocol=1):
        """Open a stream and return its end."""
        end = RecordingEnd()
        request = StreamRequest(protocol, port, host, meta or {})
        end.stream = self.rules.open(end, request)
        return end


def an_ack(**fields):
    """The answer of a gateway in its usual mood."""
    fields.setdefault("window", WINDOW)
    fields.setdefault("max_frame", MAX_FRAME)
    fields.setdefault("session", "s")
    return HelloAck(**fields)


def a_hello(**fields):
    """The greeting of an agent in its usual mood."""
    fields.setdefault("window", WINDOW)
    fields.setdefault("max_frame", MAX_FRAME)
    fields.setdefault("instance", INSTANCE)
    return Hello(**fields)


def hello_frame(**fields):
    """A HELLO as bytes; fields replace the usual ones."""
    usual = {"instance": INSTANCE, "window": WINDOW, "max_frame": MAX_FRAME}
    return json_frame(0x10, **{**usual, **fields})


def ack_frame(**fields):
    """A HELLO_ACK as bytes; fields replace the usual ones."""
    usual = {"session": "s", "window": WINDOW, "max_frame": MAX_FRAME}
    return json_frame(0x11, **{**usual, **fields})


def negotiated_gateway(*, peer_window=WINDOW, peer_max_frame=MAX_FRAME, **settings):
    """A gateway that has accepted a HELLO, with nothing left to say."""
    side = Side(gateway=True, answer=an_ack(), **settings)
    side.hear(hello_frame(window=peer_window, max_frame=peer_max_frame))
    side.settle()
    return side


def negotiated_agent(*, peer_window=WINDOW, peer_max_frame=MAX_FRAME, **settings):
    """An agent that was accepted, with nothing left to say."""
    side = Side(gateway=False, **settings)
    side.session.greet(a_hello())
    side.hear(ack_frame(window=peer_window, max_frame=peer_max_frame))
    side.settle()
    return side


def legacy_gateway(**settings):
    """A gateway that has waited for a HELLO in vain."""
    side = Side(gateway=True, **settings)
    side.later(2)
    side.observer.calls.clear()
    return side


def legacy_agent(**settings):
    """An agent whose gateway answered its keep-alive only."""
    side = Side(gateway=False, **settings)
    side.session.greet(a_hello())
    side.said()
    side.hear(b"\x01\x05\x00\x00\x00\x00")
    side.observer.calls.clear()
    return side
