"""One link without a network: its transport, its owner and its clock."""

import struct
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock

from gateway.link.protocol import LinkProtocol, LinkSettings
from gateway.mux.core import SessionSettings
from gateway.mux.roles import AGENT, GATEWAY
from gateway.mux.session import Session
from gateway.mux.stream import StreamRequest
from gateway.relay.linger import Linger
from gateway.relay.near import NearProtocol
from gateway.wire import frames
from gateway.wire.hello import Hello, HelloAck
from tests.relay.fakes import SocketTransport
from tests.strategies import json_frame, raw_frame, split_frames, with_id

INSTANCE = "0123456789abcdef"
OTHER_INSTANCE = "fedcba9876543210"
WINDOW = 65536
MAX_FRAME = 32768
KEEP_ALIVE = raw_frame(frames.KEEP_ALIVE)


def hello(**fields):
    """A HELLO as bytes; fields replace the usual ones."""
    usual = {"instance": INSTANCE, "window": WINDOW, "max_frame": MAX_FRAME}
    return json_frame(frames.HELLO, **{**usual, **fields})


def hello_ack(**fields):
    """A HELLO_ACK as bytes; fields replace the usual ones."""
    usual = {"session": "s", "window": WINDOW, "max_frame": MAX_FRAME}
    return json_frame(frames.HELLO_ACK, **{**usual, **fields})


def data(stream_id, payload):
    """A Data frame as bytes."""
    return with_id(frames.DATA, stream_id, payload)


def window(stream_id, amount):
    """A WINDOW frame as bytes."""
    return with_id(frames.WINDOW, stream_id, struct.pack("!I", amount))


def answer(stream_id, status=frames.SUCCESS):
    """A ConnectResponse as bytes."""
    return with_id(frames.CONNECT_RESPONSE, stream_id, bytes((status,)))


def goaway(reason, text=""):
    """A GOAWAY as bytes."""
    return raw_frame(frames.GOAWAY, bytes((reason,)) + text.encode())


class Socket(SocketTransport):
    """A connection that can also end like those that both ends have finished."""

    def ends_in_order(self):
        """The connection is over, and nothing was lost on it."""
        self._lose(ConnectionDone())


class FarEnd:
    """The other end of a link, as a test plays it.

    Attributes:
        transport: the link's transport.
    """

    def __init__(self, transport):
        self.transport = transport
        self._seen = 0

    def says(self, *pieces):
        """Send frames, all in one chunk."""
        self.transport.peer_sends(b"".join(pieces))

    def heard(self):
        """Read; return the (kind, payload) pairs that came since the last call."""
        self.transport.peer_reads()
        sent = self.transport.value()[self._seen :]
        self._seen += len(sent)
        return split_frames(sent)

    def kinds(self):
        """Return the kinds that came since the last call, without keep-alives."""
        quiet = (frames.KEEP_ALIVE, frames.PING)
        return [kind for kind, _ in self.heard() if kind not in quiet]


class Listener:
    """Whoever opened a stream, or dials for it: notes what it is told."""

    def __init__(self):
        self.calls = []
        self.streams: list[Any] = []
        self.requests = []
        self.endings = []
        self.on_request = None
        self.address = "192.0.2.1"

    def stream_requested(self, stream, request):
        self.calls.append("requested")
        self.streams.append(stream)
        self.requests.append(request)
        if self.on_request is not None:
            self.on_request(stream)

    def stream_opened(self, stream):
        self.calls.append("opened")

    def stream_ended(self, stream, ending):
        self.calls.append("ended")
        self.endings.append(ending)


class Owner:
    """Whoever owns a link: notes what it is told, and admits every agent.

    Attributes:
        refusal: why agents are turned away; None = they are not.
    """

    def __init__(self, greeting=None):
        self.calls = []
        self.auths: list[str] = []
        self.listener = Listener()
        self.refusal = None
        self.silent = False
        self._greeting = greeting

    def names(self):
        return [name for name, _ in self.calls]

    def said(self, name):
        """Return the values of the calls of that name."""
        return [value for called, value in self.calls if called == name]

    def link_made(self, link):
        self.calls.append(("made", None))
        if self._greeting is not None:
            link.session.greet(self._greeting)

    def link_hello(self, link, greeting):
        self.calls.append(("hello", greeting))
        if self.refusal is not None:
            link.refuse(self.refusal)
        elif not self.silent:
            link.accept(HelloAck(session="s", window=WINDOW, max_frame=MAX_FRAME))

    def link_auth(self, link, message):
        self.auths.append(message)

    def link_decided(self, link, ack):
        self.calls.append(("decided", ack))

    def link_spoke(self, link):
        self.calls.append(("spoke", None))

    def link_refused(self, link, error):
        self.calls.append(("refused", error))

    def link_listener(self, link):
        return self.listener

    def link_register(self, link, wish):
        self.calls.append(("register", wish))

    def link_registered(self, link, ack):
        self.calls.append(("registered", ack))

    def link_goodbye(self, link, goodbye):
        self.calls.append(("goodbye", goodbye))

    def link_failed(self, link, fault):
        self.calls.append(("failed", str(fault)))

    def link_unknown_kind(self, link, kind):
        self.calls.append(("unknown_kind", kind))

    def link_lost(self, link, why):
        self.calls.append(("lost", why))

    def link_closed(self, link):
        self.calls.append(("closed", None))


class LinkRig:
    """A link on a fake clock, with a far end played by the test."""

    def __init__(
        self, *, gateway, legacy_marks=(2 << 20, 1 << 20), clock=None, **settings
    ):
        settings.setdefault("window", WINDOW)
        settings.setdefault("max_frame", MAX_FRAME)
        settings.setdefault("max_window", settings["window"])
        self.clock: Any = clock or Clock()
        self.linger = Linger(self.clock)
        greeting = None if gateway else Hello(instance=INSTANCE, window=WINDOW)
        self.owner = Owner(greeting)
        high, low = legacy_marks
        self.link = LinkProtocol(
            self.clock,
            LinkSettings(
                window=settings["window"],
                legacy_high_water=high,
                legacy_low_water=low,
            ),
            self.linger,
            self.owner,
        )
        self.link.session = Session(
            SessionSettings(roles=GATEWAY if gateway else AGENT, **settings),
            self.link,
            lambda: b"\0" * 8,
            self.clock.seconds(),
        )
        self.transport = Socket()
        self.far = FarEnd(self.transport)
        self.transport.start(self.link)

    def later(self, seconds, step=0.25):
        """Let time pass, in small steps; sockets do what is due at each."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            self.transport.pump()

    def fill(self):
        """The link's socket takes nothing more for now."""
        self.transport.producer.pauseProducing()

    def empty(self):
        """It has room again."""
        self.transport.producer.resumeProducing()

    def visit(self, port=80, host=""):
        """Gateway: a visitor comes and asks for a stream."""
        return Visitor(self, port, host)

    def request(self, stream_id=1, *, connect=True):
        """Agent: the gateway opens a stream; returns its target, reached or not."""
        return Target(self, stream_id, connect=connect)


class Near:
    """A near socket and what becomes of it."""

    def __init__(self):
        self.lost = 0
        self.socket = Socket()
        self.near = NearProtocol(lambda _near: None, self._lost)
        self.socket.start(self.near)

    def _lost(self, _near):
        self.lost += 1

    def got(self):
        """Return the bytes that the socket was given."""
        return self.socket.value()


class Visitor(Near):
    """A visitor of a link."""

    def __init__(self, rig, port, host):
        super().__init__()
        self.listener = Listener()
        self.stream = rig.link.open(
            self.near, self.listener, StreamRequest(1, port, host, {})
        )

    @property
    def id(self):
        """The wire's connID."""
        return self.stream.stream.id

    @property
    def ending(self):
        """The one ending, or None."""
        if len(self.listener.endings) > 1:
            raise AssertionError(f"ended often: {self.listener.endings}")
        return self.listener.endings[0] if self.listener.endings else None


class Target(Near):
    """A target that an agent dials for the gateway."""

    def __init__(self, rig, stream_id, *, connect):
        super().__init__()
        self.listener = Listener()
        rig.owner.listener = self.listener
        if rig.link.negotiated:
            payload = struct.pack("!IBHB", stream_id, 1, 80, 0) + b"\0\0"
            rig.far.says(raw_frame(frames.OPEN, payload))
        else:
            rig.far.says(with_id(frames.CONNECT_REQUEST, stream_id, b"\0\x50"))
        self.stream = self.listener.streams[0]
        if connect:
            self.connect()

    def connect(self):
        """The target is reached."""
        self.stream.attach(self.near)

    @property
    def ending(self):
        """The one ending, or None."""
        if len(self.listener.endings) > 1:
            raise AssertionError(f"ended often: {self.listener.endings}")
        return self.listener.endings[0] if self.listener.endings else None


def negotiated_gateway(**settings):
    """A gateway's link with an agent that said HELLO."""
    rig = LinkRig(gateway=True, **settings)
    rig.far.says(hello())
    rig.far.heard()
    return rig


def legacy_gateway(**settings):
    """A gateway's link with an agent that knows the plain protocol only."""
    rig = LinkRig(gateway=True, **settings)
    rig.far.says(KEEP_ALIVE)
    rig.far.heard()
    return rig


def negotiated_agent(**settings):
    """An agent's link that was accepted."""
    rig = LinkRig(gateway=False, **settings)
    rig.far.says(hello_ack())
    rig.far.heard()
    return rig


def legacy_agent(**settings):
    """An agent's link with a gateway that knows the plain protocol only."""
    rig = LinkRig(gateway=False, **settings)
    rig.far.says(KEEP_ALIVE)
    rig.far.heard()
    return rig
