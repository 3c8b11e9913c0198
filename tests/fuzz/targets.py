"""Where mutated input goes, and what must hold whatever it is."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, ClassVar, Final

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import ITCPTransport
from zope.interface import directlyProvides

from gateway.wire.proxy import Place, encode
from tests.api.test_site import Wire
from tests.config.loading import SECRET
from tests.fuzz.corpus import golden_frames, kept
from tests.fuzz.mutator import Mutator
from tests.fuzz.world import FUZZED_PORT, PROXY_PORT, World
from tests.link.rig import LinkRig, hello, hello_ack
from tests.strategies import split_frames

CHECK_EACH: Final = 20  # inputs between looks at the bystanders
FORGET_EACH: Final = 500  # inputs between looks at the tables
CALLER = IPv4Address("TCP", "198.51.100.2", 5000)
BUSY: Final = 503  # the only status of 500 and more that a request may get


class Target:
    """One way into the gateway.

    Attributes:
        name: of the target and of its folder in the corpus.
        pool: the inputs that mutations start from.
        new: inputs of this run that made the gateway say what it had not said yet.
    """

    name: ClassVar[str]

    def __init__(self, seed: int) -> None:
        self.random = Random(f"{self.name} {seed}")
        self.world = World()
        self.pool = [*kept(self.name), *self.seeds()]
        self.new: list[bytes] = []
        self.mutator = Mutator(self.random, self.seeds())
        self._heard: set[object] = set()

    def seeds(self) -> list[bytes]:
        """Return inputs that are made, beside those that are kept."""
        return []

    def feed(self, chunks: Sequence[bytes]) -> object:
        """Give one input to the gateway, to its end; return what came of it."""
        raise NotImplementedError

    def run(self, runs: int) -> None:
        """Try the corpus as it is, then so many mutations of it.

        Raises:
            FoundError: an input did harm.
        """
        for number, data in enumerate(self.pool):
            self._try([data], number)
        for number in range(runs):
            chunks = self.mutator.cuts(self.mutator.mutate(self.pool))
            if self._try(chunks, number) and len(self.pool) < 5000:
                self.new.append(b"".join(chunks))
                self.pool.append(self.new[-1])
        self._look(self.world.check_tables, [])

    def _try(self, chunks: Sequence[bytes], number: int) -> bool:
        """Give it an input; return whether something new came of it."""
        self.world.watch.said.clear()
        try:
            outcome = self.feed(chunks)
        except Exception as fault:
            raise FoundError(self.name, chunks) from fault
        if number % CHECK_EACH == 0 or self.world.watch.faults:
            self._look(self.world.check, chunks)
        if number % FORGET_EACH == FORGET_EACH - 1:
            self._look(self.world.check_tables, chunks)
        seen = outcome, frozenset(self.world.watch.said)
        if seen in self._heard:
            return False
        self._heard.add(seen)
        return True

    def _look(self, check: Any, chunks: Sequence[bytes]) -> None:
        try:
            check()
        except Exception as fault:
            raise FoundError(self.name, chunks) from fault

    def close(self) -> None:
        """Stop the gateway."""
        self.world.close()


class FoundError(AssertionError):
    """An input did harm; the cause is chained.

    Attributes:
        target: name of the target.
        data: the input, or the last one before the harm was seen.
    """

    def __init__(self, target: str, chunks: Sequence[bytes]) -> None:
        super().__init__(f"{target}: {[chunk.hex() for chunk in chunks]}")
        self.target = target
        self.data = b"".join(chunks)


class LinkTarget(Target):
    """The link port: strangers, agents that prove themselves, and agents."""

    name = "link"

    def seeds(self) -> list[bytes]:
        """Return the golden frames, and a proof from beginning to end."""
        proof = self.world.exchange
        return [*golden_frames(), *proof, b"".join(proof), b"".join(proof[:2])]

    def feed(self, chunks: Sequence[bytes]) -> object:
        """Come as one of several, say it, and go."""
        world = self.world
        transport = world.join()
        visitors = []
        start = self.random.choice(("stranger", "agent", "agent", "proof", "keyed"))
        if start == "agent":
            name = self.random.choice(("fuzzed", "other"))
            transport.peer_sends(hello(agent=name, token=SECRET))
            visitors = [world.visit(FUZZED_PORT) for _ in range(3)]
        elif start != "stranger":
            transport.peer_sends(*world.exchange[: 1 if start == "proof" else 3])
        for visitor in visitors:
            visitor.peer_sends(b"from a visitor")
        for chunk in chunks:
            transport.peer_sends(chunk)
            transport.peer_reads()
        split_frames(transport.value())  # whatever was said, it was whole frames
        ended = transport.lost is not None or transport.disconnecting
        world.later(self.random.choice((0, 0, 0.1, 6)))
        for one in (transport, *visitors):
            one.peer_resets()
        return start, ended


class ProxyTarget(Target):
    """A public port behind balancers, which say who the visitor is."""

    name = "proxy"

    def seeds(self) -> list[bytes]:
        """Return headers of both versions and families."""
        four = Place("192.0.2.7", 56324), Place("203.0.113.7", 443)
        six = Place("2001:db8::7", 1), Place("2001:db8::1", 65535)
        return [
            encode(form, *ends) + b"hello"
            for form in ("v1", "v2")
            for ends in (four, six)
        ]

    def feed(self, chunks: Sequence[bytes]) -> object:
        """Come through a balancer, talk, and go."""
        visitor = self.world.visit(PROXY_PORT)
        for chunk in chunks:
            visitor.peer_sends(chunk)
            self.world.bystander.work()
            visitor.peer_reads()
        heard = bool(visitor.value())
        lost = visitor.lost is not None
        self.world.later(self.random.choice((0, 0, 0.1, 6)))
        visitor.peer_resets()
        self.world.bystander.work()
        return heard, lost


class ApiTarget(Target):
    """The API's port."""

    name = "api"

    def feed(self, chunks: Sequence[bytes]) -> object:
        """Send requests; none of them is the gateway's fault."""
        wire = self._wire()
        for chunk in chunks:
            if wire.connected:
                wire.protocol.dataReceived(chunk)
        said = wire.value()
        self.world.later(self.random.choice((0, 0, 0.1, 11)))
        wire.abortConnection()
        statuses = tuple(
            int(head.split(b" ", 1)[0]) for head in said.split(b"HTTP/1.1 ")[1:]
        )
        faults = {one for one in statuses if one >= 500 and one != BUSY}
        assert not faults, f"status {faults}: {said!r}"
        self._undo()
        return statuses

    def _wire(self) -> Any:
        wire: Any = Wire(hostAddress=CALLER, peerAddress=CALLER)
        directlyProvides(wire, ITCPTransport)
        wire.protocol = self.world.site.buildProtocol(CALLER)
        wire.protocol.makeConnection(wire)
        return wire

    def _undo(self) -> None:
        """Take back what an operator may do, and what would harm the bystanders."""
        parts = self.world.parts
        bans, mappings, credentials = parts.bans, parts.mappings, parts.credentials
        for credential, _, _ in credentials.views():
            if credential.name != "keyed":
                self.world.run(credentials.revoke(credential.name))
        for ban in bans.views():
            self.world.run(bans.remove(ban.network))
        if self.world.visitor.lost is not None:
            self.world.come_again()
        for view in mappings.views():
            mapping = view.mapping
            if view.source == "stored" and mapping.port not in (
                FUZZED_PORT,
                PROXY_PORT,
            ):
                self.world.run(mappings.remove(mapping.port, mapping.protocol))


class AgentTarget(Target):
    """An agent whose gateway is hostile."""

    name = "agent"

    def seeds(self) -> list[bytes]:
        """Return the golden frames."""
        return golden_frames()

    def feed(self, chunks: Sequence[bytes]) -> object:
        """Hear what a gateway might say, before and after it took the link."""
        rig = LinkRig(gateway=False)
        start = self.random.choice(("new", "up", "up"))
        if start == "up":
            rig.far.says(hello_ack())
        for chunk in chunks:
            rig.far.says(chunk)
            rig.far.heard()
        rig.clock.advance(self.random.choice((0, 0, 6, 60)))
        core = rig.link.session.core
        outcome = start, frozenset(core.counts), rig.link.session.ended
        rig.far.transport.peer_resets()
        assert not core.streams
        return outcome


TARGETS: Final[tuple[type[Target], ...]] = (
    LinkTarget,
    ProxyTarget,
    ApiTarget,
    AgentTarget,
)
