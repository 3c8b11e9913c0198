"""Connected agents by name: who takes over, and which link gets a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from gateway.interfaces import ILink
from gateway.ops.events import Emit, unheard
from gateway.policy.credentials import AgentCredential, AgentScope
from gateway.policy.limits import Slots
from gateway.server.agents import (
    AgentEvents,
    AgentLink,
    AgentView,
    ConnectedAgent,
    Standing,
)
from gateway.server.credentials import Credentials
from gateway.server.key_watch import KeyWatch
from gateway.server.link_counts import LinkCounts, StreamPlaces
from gateway.server.link_settings import AdmissionSettings
from gateway.texts import Texts
from gateway.wire import frames
from gateway.wire.hello import NAME_TAKEN, Hello

DEFAULT_AGENT: Final = "default"


class LinkRegistry:
    """The links that are admitted; the newest process of a name wins.

    Attributes:
        slots: the places of links.
        displaced: told of each link that has lost its place.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        settings: AdmissionSettings,
        texts: Texts,
        events: AgentEvents,
        wall_clock: Callable[[], float],
        credentials: Credentials,
        counts: LinkCounts,
        displaced: Callable[[ILink], None],
        emit: Emit = unheard,
    ) -> None:
        self.slots = Slots(settings.max_links)
        self.displaced = displaced
        self._clock = clock
        self._settings = settings
        self._texts = texts
        self._events = events
        self._wall_clock = wall_clock
        self._credentials = credentials
        self._counts = counts
        self._emit = emit
        self._agents: dict[str, ConnectedAgent] = {}
        self._places: dict[ILink, AgentLink] = {}
        self._surplus: set[ILink] = set()  # those that their agents close
        self._keys = KeyWatch(clock, wall_clock, self._key_expired)

    def configure(self, settings: AdmissionSettings) -> None:
        """Use other limits from now on; links that are up go on."""
        self._settings = settings
        self.slots.limit = settings.max_links

    # -- what others ask ---------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether any agent is up."""
        return bool(self._agents)

    def each(self) -> Iterator[AgentView]:
        """Return all agents, ordered by name, each as it is when it is taken.

        Those that leave meanwhile are left out.
        """
        for name in sorted(self._agents):
            agent = self._agents.get(name)
            if agent is not None:
                yield agent.view(name, self._counts.links_of(name))

    def has(self, name: str) -> bool:
        """Return whether the agent has a live link."""
        return name in self._agents

    def reachable(self, name: str | None) -> bool:
        """Return whether a visitor of a mapping with this `agent` would find one."""
        return self.pick(name) is not None

    def find(self, link: ILink) -> AgentLink | None:
        """Return what is known of an admitted link; None = it has no place."""
        return self._places.get(link)

    def links_of(self, name: str) -> list[AgentLink]:
        """Return the links of an agent, which need not be connected."""
        agent = self._agents.get(name)
        return [] if agent is None else list(agent.links.values())

    def pick(self, name: str | None, port: int | None = None) -> AgentLink | None:
        """Return the link for a new stream, the one with least to do, or None.

        Args:
            name: the agent asked for; None = the default agent, else the only
                one there is.
            port: public port of the visitor; None = whatever.
        """
        agent = self._default() if name is None else self._agents.get(name)
        if agent is None:
            return None
        best, least = None, inf
        limit, now = self._settings.streams_per_link or inf, self._clock.seconds()
        full = False
        for one in agent.links.values():
            if not one.link.usable:
                continue
            full = True
            load = one.load(now)
            if one.link.streams < limit and load < least:
                best, least = one, load
        if port is not None:
            self._counts.found += best is not None
            self._counts.full += full and best is None
        if best is None or best.scope is None:
            return best
        return best if agent.may_serve(best.scope, port) else None

    def forbids(self, name: str | None, port: int) -> bool:
        """Return whether a key keeps visitors of a public port from an agent.

        Args:
            name: the agent asked for; None = the default agent.
            port: public port of the visitor.
        """
        agent = self._default() if name is None else self._agents.get(name)
        links = () if agent is None else agent.links.values()
        return any(one.scope and not one.scope.has_port(port) for one in links)

    def standing(self, name: str | None) -> Standing:
        """Return whether an agent could serve, and since when.

        Args:
            name: the agent asked for; None = the default agent.
        """
        agent = self._default() if name is None else self._agents.get(name)
        others = len(self._agents)
        if agent is None:
            return Standing(False, self._counts.left_at(name), None, others)
        link = next(iter(agent.links.values()))
        if link.scope is None:
            return Standing(True, agent.connected_at, None, others)
        key = self._credentials.get(link.agent)
        changed_at = 0.0 if key is None else float(key.updated_at)
        return Standing(True, max(agent.connected_at, changed_at), link.scope, others)

    @property
    def stream_places(self) -> StreamPlaces:
        """How much of the streams of one link is used."""
        return StreamPlaces(
            limit=self._settings.streams_per_link,
            active=max(
                (
                    one.link.streams
                    for agent in self._agents.values()
                    for one in agent.links.values()
                ),
                default=0,
            ),
            total=self._counts.found,
            rejected=self._counts.full,
        )

    def _default(self) -> ConnectedAgent | None:
        """Return the default agent, else the only one.

        A legacy peer that has said nothing yet may be a port scan: it serves only
        while there is nobody else.
        """
        agent = self._agents.get(DEFAULT_AGENT)
        if agent is not None and agent.has_spoken():
            return agent
        others = len(self._agents) - (agent is not None)
        if not others:
            return agent
        if others > 1:
            return None
        return next(one for one in self._agents.values() if one is not agent)

    # -- places --------------------------------------------------------------------

    def claim(self, link: ILink, hello: Hello, scope: AgentScope | None) -> str | None:
        """Give a link its place among those of an agent; return why not."""
        agent = self._agents.get(hello.agent)
        if agent is not None and agent.instance != hello.instance:
            if hello.instance in agent.replaced:
                return NAME_TAKEN
            agent = self._take_over(hello.agent, agent, hello, link.host)
        if agent is None:
            agent = ConnectedAgent(hello, self._wall_clock())
        before = agent.links.get(hello.link)
        if before is not None:
            why = "replaced by a new link of the same agent"
            self.displace(before.link, why)
            before.link.abort(why)
        if not self.slots.acquire():
            return self._texts("max_tunnels")
        self._settle(link, hello.agent, hello.link, agent, scope)
        return None

    def _take_over(
        self, name: str, old: ConnectedAgent, hello: Hello, address: str
    ) -> ConnectedAgent:
        """Let another process have the name; the old one is told."""
        agent = ConnectedAgent(hello, self._wall_clock())
        agent.replaced.extend(old.replaced)
        agent.replaced.append(old.instance)
        before = ", ".join(sorted({one.link.host for one in old.links.values()}))
        self.log.warn(
            "agent {agent}: {address} takes the name over from {before} (instance "
            "{new} from {old}); two agents need two names (--name)",
            agent=name,
            address=address,
            before=before,
            new=hello.instance,
            old=old.instance or "a legacy agent",
        )
        for one in list(old.links.values()):
            self.displace(one.link, NAME_TAKEN)
            one.link.leave(frames.REPLACED, f"{NAME_TAKEN}: {name} at {address}")
        return agent

    def claim_default(self, link: ILink) -> str | None:
        """Give a legacy peer, which has no name, its place; return why not.

        Its name is "default", where no other agent has it.
        """
        agent = self._agents.get(DEFAULT_AGENT)
        if agent is not None and agent.instance:
            return NAME_TAKEN
        if agent is not None:
            why = "replaced by another legacy agent"
            for old in list(agent.links.values()):
                self.displace(old.link, why)
                old.link.abort(why)
        if not self.slots.acquire():
            return self._texts("max_tunnels")
        agent = ConnectedAgent(None, self._wall_clock())
        self._settle(link, DEFAULT_AGENT, 0, agent)
        return None

    def _settle(
        self,
        link: ILink,
        name: str,
        number: int,
        agent: ConnectedAgent,
        scope: AgentScope | None = None,
    ) -> None:
        arrived = self._agents.get(name) is not agent
        self._agents[name] = agent
        tally = self._counts.admitted(name, self._agents)
        one = AgentLink(link, name, number, scope, tally)
        agent.links[number] = self._places[link] = one
        if scope is not None:
            one.buckets = agent.share(scope.bandwidth_limit, self._clock.seconds())
            self._watch_key(name)
        if arrived:
            self._emit("link", "arrived", agent=name, software=agent.software)
            self._events.agent_arrived(name)

    def displace(self, link: ILink, why: str) -> None:
        """Take a link out of the tables; its connection may live a little on."""
        place = self._places.pop(link, None)
        if place is None:
            return
        self.displaced(link)
        self.slots.release()
        name, number = place.agent, place.number
        if link in self._surplus:
            self.log.info(
                "agent {agent} closed its link {number} at {address}: not needed now",
                agent=name,
                number=number,
                address=link.address,
            )
            self.tell("closed", name, link, number)
        else:
            self.log.info(
                "{phrase}: agent {agent} link {number} at {address}: {why}",
                phrase=self._texts("link_down"),
                agent=name,
                number=number,
                address=link.address,
                why=why,
            )
            self.tell("down", name, link, number, why)
        agent = self._agents[name]
        del agent.links[number]
        if not agent.links:
            del self._agents[name]
            self._keys.discard(name)
            self._counts.left(name, self._wall_clock())
            self._emit("link", "left", agent=name)
            self._events.agent_left(name)

    def note_surplus(self, link: ILink) -> None:
        """Note that an agent closes a link because it needs fewer."""
        self._surplus.add(link)

    def forget(self, link: ILink) -> None:
        """Forget a link whose connection is gone."""
        self._surplus.discard(link)

    def say_up(self, link: ILink) -> None:
        """Log that a link is up, and tell whoever listens."""
        one = self._places[link]
        name, number = one.agent, one.number
        self.log.info(
            "{phrase}: agent {agent} link {number} at {address}",
            phrase=self._texts("link_up"),
            agent=name,
            number=number,
            address=link.address,
        )
        self.tell("up", name, link, number)

    def tell(
        self,
        action: str,
        agent: str,
        link: ILink,
        number: int,
        reason: str | None = None,
    ) -> None:
        """Tell of a link, for those who follow events."""
        self._emit(
            "link",
            action,
            agent=agent,
            link=number,
            address=link.address,
            reason=reason,
        )

    # -- credentials ---------------------------------------------------------------

    def credential_changed(self, name: str, credential: AgentCredential | None) -> None:
        """End the links of a revoked agent, and of those whom nobody knows any more.

        Others get what they may do now.

        Args:
            name: of an agent.
            credential: its key now; None = it was revoked.
        """
        if credential is None:
            self._send_away(name, "the key is revoked")
            return
        keyed = [one for one in self.links_of(name) if one.scope is not None]
        for one in keyed:
            one.scope = credential.scope
            rate = credential.scope.bandwidth_limit
            one.buckets = self._agents[name].share(rate, self._clock.seconds())
        if keyed:
            for answer in self._events.agent_limited(name, credential.scope):
                keyed[0].link.answer_registration(answer)
        if name in self._agents:
            self._watch_key(name)
        if self._settings.token is None:
            for other in list(self._agents):
                if any(one.scope is None for one in self.links_of(other)):
                    self._send_away(other, "agents need a key now")

    def disconnect(self, name: str, why: str) -> int:
        """End the links of an agent, which may come again; return how many."""
        count = len(self.links_of(name))
        self._send_away(name, why)
        return count

    def _watch_key(self, name: str) -> None:
        """Note when the key of a connected agent expires."""
        credential = self._credentials.get(name)
        self._keys.put(name, None if credential is None else credential.expires_at)

    def _key_expired(self, name: str) -> None:
        """End the links of an agent whose key has expired."""
        keyed = any(one.scope is not None for one in self.links_of(name))
        if keyed and self._credentials.get(name) is None:
            self._send_away(name, "the key has expired")

    def _send_away(self, name: str, why: str) -> None:
        for one in self.links_of(name):
            self.displace(one.link, why)
            one.link.leave(frames.REVOKED, why)

    def stop(self) -> None:
        """Watch keys no more; may be called twice."""
        self._keys.stop()
