"""Reach a target through an agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.errors import PayloadError, UnresolvableError
from gateway.interfaces import (
    IAttempt,
    INetwork,
    IStream,
    IStreamListener,
    IUpstream,
    IUpstreamRequest,
    IUpstreamTaker,
)
from gateway.metrics.tallies import DENIED, NO_AGENT, UNREACHED
from gateway.mux.stream import Ending, StreamRequest
from gateway.policy.hops import CIRCLE, MOST_HOPS
from gateway.policy.mapping import Mapping
from gateway.relay.deadlines import Deadlines
from gateway.server.agents import AgentLink
from gateway.server.links import Links
from gateway.server.own import OwnPlaces
from gateway.texts import Texts
from gateway.wire import frames
from gateway.wire.messages import OpenRequest

LOOK_UP_SECONDS: Final = 1.0  # of a target that might be the gateway itself
_log: Final = Logger()


@implementer(IUpstream)
class AgentUpstream:
    """The targets that agents dial.

    Attributes:
        links: live agents.
        own: what an agent on this machine may not be asked to dial.
        openings: streams whose target is not confirmed yet.
    """

    __slots__ = ("_clock", "_network", "_timeout_phrase", "links", "openings", "own")

    def __init__(
        self,
        clock: IReactorTime,
        network: INetwork,
        links: Links,
        own: OwnPlaces,
        texts: Texts,
        open_timeout: float,
    ) -> None:
        """Remember the collaborators.

        Args:
            clock: for time limits.
            network: looks up targets that might be the gateway itself.
            links: live agents.
            own: what an agent on this machine may not be asked to dial.
            texts: for the documented log phrases.
            open_timeout: seconds that a visitor waits for its target.
        """
        self._clock = clock
        self._network = network
        self._timeout_phrase = texts("open_timeout")
        self.links = links
        self.own = own
        self.openings = Deadlines(clock, open_timeout)

    def open(self, request: IUpstreamRequest, taker: IUpstreamTaker) -> IAttempt:
        """Choose a link to an agent, and ask there for the target."""
        attempt = _AgentAttempt(self, request, taker)
        attempt.start()
        return cast(IAttempt, attempt)

    def confirmed(self, since: float) -> None:
        """Note how long a visitor has waited for its target."""
        self.links.waits.observe(self._clock.seconds() - since)

    def resolve(self, host: str) -> Deferred[list[str]]:
        """Return the addresses of a name; none at all if they do not come soon."""
        found: Deferred[list[str]] = self._network.resolve(host)
        found.addTimeout(LOOK_UP_SECONDS, self._clock)
        found.addErrback(_nothing_found)
        return found

    def refusal(
        self, link: AgentLink, mapping: Mapping, addresses: Sequence[str]
    ) -> str | None:
        """Return None if the agent may be asked for a target, else why not."""
        host, port = mapping.targets[0].host, mapping.targets[0].port
        refusal = self.own.refusal_through(link.host, host, port, addresses)
        if refusal is None and link.scope is not None:
            refusal = link.scope.refusal(host, port)
        return refusal

    def why_no_link(self, mapping: Mapping) -> str:
        """Return why `Links.pick` has found nothing."""
        wanted, links = mapping.agent, self.links
        if links.forbids(wanted, mapping.port):
            return f"the key of agent {wanted or 'any'} forbids port {mapping.port}"
        if wanted is not None:
            what = "has no room" if links.has(wanted) else "is not connected"
            return f"agent {wanted} {what}"
        if not links.connected:
            return "no agent is connected"
        return "no agent is the default one, or it has no room"

    @property
    def timeout_phrase(self) -> str:
        """What the log says of a target that is not confirmed in time."""
        return self._timeout_phrase


def _nothing_found(failure: Failure) -> list[str]:
    failure.trap(UnresolvableError, DeferredTimeoutError)
    return []


@implementer(IAttempt, IStreamListener)
class _AgentAttempt:
    """One flow through an agent, from the choice of a link to the stream's end."""

    __slots__ = ("_request", "_resolving", "_stream", "_taker", "_upstream")

    def __init__(
        self, upstream: AgentUpstream, request: IUpstreamRequest, taker: IUpstreamTaker
    ) -> None:
        self._upstream = upstream
        self._request = request
        self._taker = taker
        self._resolving: Deferred[list[str]] | None = None
        self._stream: IStream | None = None

    def start(self) -> None:
        """Choose a link to an agent."""
        if self._request.hops > MOST_HOPS:
            self._taker.flow_failed(DENIED, CIRCLE)
            return
        link = self._pick()
        if link is None:
            return
        own, target = self._upstream.own, self._request.mapping.targets[0]
        host, port = target.host, target.port
        if own.has_port(port) and own.must_resolve(link.host, host, port):
            resolving = self._resolving = self._upstream.resolve(host)
            resolving.addCallback(self._resolved, link)
            resolving.addErrback(self._not_asked)
        else:
            self._ask(link, ())

    def _pick(self) -> AgentLink | None:
        mapping = self._request.mapping
        link = self._upstream.links.pick(mapping.agent, mapping.port)
        if link is None:
            why = self._upstream.why_no_link(mapping)
            self._taker.flow_failed(NO_AGENT, why)
        return link

    def _resolved(self, addresses: list[str], link: AgentLink) -> None:
        """Ask for a target that might be the gateway: its addresses are known."""
        self._resolving = None
        usable = link if link.usable else self._pick()
        if usable is not None:
            self._ask(usable, addresses)

    def _not_asked(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            _log.failure("a visitor's target could not be asked for", failure=failure)
            self._taker.flow_failed(UNREACHED, "internal error")

    def _ask(self, link: AgentLink, addresses: Sequence[str]) -> None:
        """Ask an agent for the target, whose name has these addresses."""
        upstream, taker, mapping = self._upstream, self._taker, self._request.mapping
        upstream.links.note_given(link)
        taker.flow_carried(link)
        refusal = upstream.refusal(link, mapping, addresses)
        if refusal is not None:
            taker.flow_failed(DENIED, refusal)
            return
        host, port = mapping.targets[0].host, mapping.targets[0].port
        wanted = StreamRequest(frames.PROTOCOL_TCP, port, host, self._meta(port))
        upstream.openings.add(self)
        try:
            stream = self._stream = link.open(taker, self, wanted)
        except PayloadError as fault:
            upstream.openings.discard(self)
            taker.flow_failed(DENIED, str(fault))
            return
        taker.flow_begun(stream)

    def _meta(self, port: int) -> dict[str, object]:
        """Return what the agent is told of the connection."""
        request = self._request
        meta: dict[str, object] = {
            "visitor": request.visitor,
            "mapping": request.mapping.id,
            "trace": request.id,
        }
        if request.balancer is not None:
            meta["peer"] = request.balancer
        if request.hops:
            meta["hops"] = request.hops
        if self._upstream.own.is_open(port):
            meta["gateway_port"] = True
        return meta

    def cancel(self) -> None:
        """Give it up: nobody is told anything more."""
        resolving, self._resolving = self._resolving, None
        if resolving is not None:
            resolving.cancel()

    def timed_out(self) -> None:
        """The target was not confirmed in time."""
        if self._stream is not None:
            self._stream.abort(frames.TIMED_OUT, self._upstream.timeout_phrase)

    # -- StreamListener ----------------------------------------------------------------

    @property
    def address(self) -> str:
        """Whose the stream is."""
        return self._taker.address

    def stream_requested(self, stream: IStream, request: OpenRequest) -> None:
        """Gateways open streams; nobody asks them to."""

    def stream_opened(self, stream: IStream) -> None:
        """The target is confirmed."""
        self._upstream.openings.discard(self)
        self._upstream.confirmed(self._request.started_at)
        self._taker.flow_opened()

    def stream_ended(self, stream: IStream, ending: Ending) -> None:
        """The stream is over; the socket may still be flushed."""
        self._upstream.openings.discard(self)
        self._stream = None
        self._taker.flow_ended(ending.reason, whole=ending.flush)
