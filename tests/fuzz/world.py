"""A whole gateway in memory, and an agent with a visitor who must notice nothing."""

from __future__ import annotations

import gc
import json
from collections import Counter
from typing import Any, Final, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from gateway.app.gateway import build_gateway
from gateway.app.world import Surroundings
from gateway.link.proof import AgentProof
from gateway.mux.ids import MAX_TOMBSTONES
from gateway.policy.credentials import AgentScope, read_key
from gateway.policy.mapping import MappingWish
from gateway.policy.reservations import MOST_RESERVATIONS
from gateway.policy.visitors import VisitorRules
from gateway.server.link_counts import REMEMBERED_AGENTS
from gateway.wire import frames
from gateway.wire.messages import encode_auth
from tests.config.loading import SECRET, load
from tests.link.rig import KEEP_ALIVE, FarEnd, answer, data, hello, window
from tests.server.rig import NOON, FragileStore, PortsNetwork, Visitor
from tests.sim.tables import table_sizes
from tests.strategies import json_frame, raw_frame, split_frames, with_id

LINK_PORT, API_PORT = 9000, 8080
FUZZED_PORT, PROXY_PORT = 10001, 10002
API_KEY: Final = "an-api-key-for-the-fuzzer"
HOME = "127.0.0.1"  # where the bystanders are; no ban is about them
CONFIG = f"""
tunnel: {{auth_token: {SECRET}}}
limits: {{mappings: 60}}
audit: {{max_entries: 100}}
security:
  api: {{api_key: {API_KEY}, rate_limit: {{requests: 0}}}}
  bans: {{failures: 0}}
"""
SETTLING_SECONDS = 600  # after which the gateway remembers nobody
PATIENCE_STEPS = 60
# part of a path -> by how much what is there may grow: ids that the good agent's link
# had, kinds of frames that it was told twice, causes for which visitors were turned
# away, and what is remembered of agents by name
BOUNDED: Final = {
    "_closed": MAX_TOMBSTONES,
    "faults": 30,  # kinds of them
    "counts": 10,
    "rejected": 10,
    "_tallies": REMEMBERED_AGENTS,
    "_tallies[]": REMEMBERED_AGENTS * 64,
    "_table": MOST_RESERVATIONS,  # ports that agents were given
}


def may_grow(path: str) -> int:
    """Return by how many entries a table may grow."""
    return max(BOUNDED.get(part, 0) for part in path.split("."))


class Watch:
    """Hears what is logged.

    Attributes:
        faults: what must not be logged: tracebacks.
        said: the forms of what was logged since `forget`.
    """

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.said: set[str] = set()
        globalLogPublisher.addObserver(cast(Any, self))

    def __call__(self, event: Any) -> None:
        self.said.add(str(event.get("log_format")))
        if "log_failure" in event:
            trace = event["log_failure"].getTraceback()
            self.faults.append(f"{formatEvent(event)}\n{trace}")
        elif event.get("log_level") is LogLevel.critical:
            self.faults.append(str(formatEvent(event)))

    def close(self) -> None:
        """Hear nothing more."""
        globalLogPublisher.removeObserver(cast(Any, self))


class Bystander(FarEnd):
    """A good agent: reaches every target and sends back what it hears.

    Attributes:
        port: the public port that it asked for.
    """

    port = 0

    def heard(self) -> list[tuple[int, bytes]]:
        """Read; return what came, and keep nothing of it."""
        self.transport.peer_reads()
        sent = self.transport.value()
        self.transport.clear()
        found: list[tuple[int, bytes]] = split_frames(sent)
        return found

    def work(self) -> None:
        """Answer everything that came."""
        replies = [self._reply(kind, payload) for kind, payload in self.heard()]
        if any(replies):
            self.says(*(reply for reply in replies if reply))

    def _reply(self, kind: int, payload: bytes) -> Any:
        stream_id = int.from_bytes(payload[:4], "big")
        if kind == frames.OPEN:
            return answer(stream_id)
        if kind == frames.DATA:
            size = len(payload) - 4
            back = data(stream_id, payload[4:]) if size < 1000 else b""
            return window(stream_id, size) + back
        if kind == frames.FIN:
            return with_id(frames.FIN, stream_id)
        if kind == frames.PING and payload[0] == frames.PING_QUESTION:
            return raw_frame(frames.PING, b"\1" + payload[1:])
        if kind == frames.REGISTER_ACK:
            self.port = json.loads(payload)["port"]
        return b""


class World:
    """The gateway under test, with everybody who uses it in earnest.

    Attributes:
        exchange: the frames by which the agent "keyed" proves its key.
    """

    def __init__(self) -> None:
        self.watch = Watch()
        self.clock = Clock()
        self.network = PortsNetwork()
        self.store = FragileStore()
        self._fatal: list[str] = []
        self._rounds = 0
        surroundings = Surroundings(
            wall_clock=lambda: NOON + self.clock.seconds(),
            random_bytes=lambda size: bytes(range(size)),
            random=lambda: 0.0,
            randrange=lambda span: 0,
        )
        self.service = build_gateway(
            load(CONFIG).config,
            cast(Any, self.clock),
            "en",
            self._fatal.append,
            world=surroundings,
            network=self.network,
            store=self.store,
        )
        self.service.startService()
        assert not self._fatal, self._fatal
        self.parts = self.service.parts
        self.site: Any = self.network.at(API_PORT).factory
        self._settle_in()

    def _settle_in(self) -> None:
        self.bystander = Bystander(self.join(HOME))
        self.bystander.says(hello(agent="bystander", token=SECRET, window=1 << 20))
        self.bystander.work()
        self.bystander.says(json_frame(frames.REGISTER, id="web", local=80))
        self.bystander.work()
        self.come_again()
        everywhere = VisitorRules(trusted_proxies=("0.0.0.0/0",))
        for port, agent, rules in (
            (FUZZED_PORT, "fuzzed", VisitorRules()),
            (PROXY_PORT, "bystander", everywhere),
        ):
            wish = MappingWish(port=port, agent=agent, use_tunnel=True, rules=rules)
            self.run(self.parts.mappings.create(wish))
        scope = AgentScope(ports=f"{FUZZED_PORT}")
        secret = self.run(self.parts.credentials.create("keyed", scope, None)).secret
        self.exchange = self._prove(secret)
        self.check()
        self.forget()
        self.before = self.sizes()

    def _prove(self, secret: str) -> list[bytes]:
        key = read_key(secret)
        assert key is not None
        proof = AgentProof("keyed", key, "fuzz")
        far = FarEnd(self.join())
        said = [hello(agent="keyed", auth="scram-sha-256"), encode_auth(proof.first())]
        far.says(*said)
        ((_, challenge),) = far.heard()
        final = proof.answer(challenge.decode())
        assert final is not None
        said.append(encode_auth(final))
        far.says(said[-1])
        assert frames.HELLO_ACK in far.kinds()
        far.transport.peer_resets()
        return said

    def run(self, coroutine: Any) -> Any:
        """Return the result of a coroutine that waits for nothing but time."""
        results: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(results.append)
        for _ in range(PATIENCE_STEPS):
            if not results:
                self.later(1)
        (result,) = results
        return result

    def join(self, address: str = "198.51.100.1") -> Any:
        """Connect to the link port; return the transport."""
        return self._connect(LINK_PORT, address)

    def visit(self, port: int, address: str = "203.0.113.9") -> Any:
        """Come to a public port; return the transport."""
        return self._connect(port, address)

    def _connect(self, port: int, address: str) -> Any:
        peer = IPv4Address("TCP", address, 4000)
        protocol: Any = self.network.at(port).factory.buildProtocol(peer)
        transport = Visitor()
        transport.peerAddr = peer
        transport.refused = protocol is None
        if protocol is not None:
            transport.start(protocol)
            transport.pump()
        return transport

    def come_again(self) -> None:
        """Let the visitor come; somebody may have banned it."""
        self.visitor = self.visit(self.bystander.port, HOME)
        self.bystander.work()

    def check(self) -> None:
        """See that the visitor still gets its echo, and that no bug was logged.

        Raises:
            AssertionError: not so.
        """
        self._rounds += 1
        words = b"round %d." % self._rounds
        self.visitor.peer_sends(words)
        self.bystander.work()
        self.visitor.peer_reads()
        heard = self.visitor.value()
        assert heard.endswith(words), f"the visitor heard {heard[-40:]!r}"
        self.visitor.clear()
        assert not self.watch.faults, "\n".join(self.watch.faults)

    def later(self, seconds: float) -> None:
        """Let time pass, in which the good agent lives."""
        self.bystander.work()
        while seconds > 0:
            step = min(5.0, seconds)
            self.clock.advance(step)
            self.bystander.says(KEEP_ALIVE)
            self.bystander.work()
            seconds -= step

    def forget(self) -> None:
        """Let the gateway forget everybody who is gone."""
        self.later(SETTLING_SECONDS)
        self.check()

    def sizes(self) -> Counter[str]:
        """Return the size of every table of the gateway."""
        gc.collect()
        found: Counter[str] = table_sizes(self.parts)
        return found

    def check_tables(self) -> None:
        """See that nobody left anything behind.

        Raises:
            AssertionError: a table is larger than at the beginning.
        """
        self.forget()
        grown = {
            path: (self.before[path], size)
            for path, size in self.sizes().items()
            if size > self.before[path] + may_grow(path)
        }
        assert not grown, f"tables that have grown (before, after): {grown}"
        assert not self.site.channels, self.site.channels
        assert not self.site.waiting, self.site.waiting

    def close(self) -> None:
        """Stop everything."""
        self.service.stopService()
        self.visitor.peer_resets()
        self.bystander.transport.peer_resets()
        self.later(60)
        self.watch.close()
