"""Scripted peers: other people's agents and gateways, made of `gateway.wire` only."""

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from zope.interface import implementer

from gateway.wire import frames, messages
from gateway.wire.codec import FrameDecoder, encode_frame

LINK_PORT = 9000
RETRY_SECONDS = 2.0


class Wire(Protocol):
    """A connection that speaks frames.

    Attributes:
        heard: every frame that arrived, as (kind, payload).
        ended: the connection is gone, and how.
    """

    transport: Any

    def __init__(self, react=None):
        self.heard: list[tuple[int, bytes]] = []
        self.ended: Any = None
        self.made = False
        self._react = react
        self._decoder = FrameDecoder()

    def connectionMade(self):
        self.made = True

    def dataReceived(self, data):
        for kind, payload in self._decoder.feed(data):
            self.heard.append((kind, bytes(payload)))
            if self._react is not None:
                self._react(self, kind, bytes(payload))

    def connectionLost(self, reason=connectionDone):
        self.ended = reason

    def say(self, *raw):
        """Send whole frames."""
        self.transport.writeSequence(list(raw))

    def kinds(self):
        """Return the kinds that arrived, in order."""
        return [kind for kind, _ in self.heard]


class Made(Factory):
    """Build what a callable returns."""

    noisy = False

    def __init__(self, build):
        self.built: list[Any] = []
        self._build = build

    def buildProtocol(self, addr):
        self.built.append(self._build())
        return self.built[-1]


@implementer(IHalfCloseableProtocol)
class _Near(Protocol):
    """A target of a legacy agent, or a caller of a legacy gateway."""

    transport: Any

    def __init__(self, owner, stream_id):
        self._owner = owner
        self._id = stream_id
        self._told = False

    def connectionMade(self):
        self._owner.reached(self._id, self)

    def dataReceived(self, data):
        if not self._told:
            body = self._id.to_bytes(4, "big") + data
            self._owner.say(encode_frame(frames.DATA, body))

    def readConnectionLost(self):
        self.close()

    def writeConnectionLost(self):
        """Nothing more is written."""

    def connectionLost(self, reason=connectionDone):
        self.close()

    def close(self):
        """Say Close, once, and go."""
        if not self._told:
            self._told = True
            self._owner.forget(self._id)
            self._owner.say(messages.encode_close(self._id))
            self.transport.loseConnection()

    def closed_far(self):
        """The far end said Close."""
        self._told = True
        self.transport.loseConnection()


class LegacyAgent:
    """An agent that knows the plain protocol only and has no name.

    Attributes:
        requests: (id, port, host) asked for; host None = the short form.
    """

    def __init__(self, world, host, form, *, keep_alive=5.0, speaks=True):
        self.process = world.start_process(host, "legacy agent")
        self.requests: list[tuple[int, int, str | None]] = []
        self._world = world
        self._form = form
        self._speaks = speaks
        self._keep_alive = keep_alive
        self._near: dict[int, Any] = {}
        self._stopped = False
        self.link: Any = None
        self._connect()

    def _connect(self):
        if self._stopped:
            return
        coming = self.process.network.connect(
            "203.0.113.1", LINK_PORT, Made(lambda: Wire(self._react)), 5.0
        )
        coming.addCallbacks(self._up, lambda _fault: self._again())

    def _again(self):
        self.process.reactor.callLater(RETRY_SECONDS, self._connect)

    def _up(self, link):
        self.link = link
        self._beat()

    def _beat(self):
        if self._stopped:
            return
        if self.link.ended is not None:
            for near in list(self._near.values()):
                near.closed_far()
            self._near.clear()
            self._again()
            return
        if self._speaks:
            self.say(encode_frame(frames.KEEP_ALIVE))
        self.process.reactor.callLater(self._keep_alive, self._beat)

    def say(self, *raw):
        if self.link is not None and self.link.ended is None:
            self.link.say(*raw)

    def _react(self, link, kind, payload):
        if kind == frames.CONNECT_REQUEST:
            self._requested(*messages.decode_connect_request(payload))
            return
        if kind not in (frames.DATA, frames.CLOSE):
            return
        near = self._near.get(int.from_bytes(payload[:4], "big"))
        if near is None or near == "dialling":
            return
        if kind == frames.DATA:
            near.transport.write(payload[4:])
        else:
            del self._near[int.from_bytes(payload[:4], "big")]
            near.closed_far()

    def _requested(self, stream_id, port, host):
        self.requests.append((stream_id, port, host))
        # one that reads the other form only does not see this request
        if (host is None) != (self._form == "short"):
            return
        self._near[stream_id] = "dialling"
        self.process.network.connect(
            "127.0.0.1", port, Made(lambda: _Near(self, stream_id)), 2.0
        ).addErrback(lambda _fault: self._failed(stream_id))

    def reached(self, stream_id, near):
        """A target answered."""
        self._near[stream_id] = near
        self.say(messages.encode_connect_response(stream_id, frames.SUCCESS))

    def _failed(self, stream_id):
        self._near.pop(stream_id, None)
        self.say(messages.encode_connect_response(stream_id, frames.FAILURE))

    def forget(self, stream_id):
        """A stream is over."""
        self._near.pop(stream_id, None)

    def stop(self):
        """End the process."""
        self._stopped = True
        self.process.kill()
