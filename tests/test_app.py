"""Settings reach the parts that they are meant for."""

import json
from typing import Any, cast

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gateway.app import agent as agent_app
from gateway.app import gateway as gateway_app
from gateway.app.agent import build_agent
from gateway.app.gateway import build_gateway
from gateway.app.world import Surroundings
from gateway.errors import PortBlacklistedError, TargetDeniedError
from gateway.policy.mapping import MappingWish
from gateway.wire import frames
from tests.config.loading import SECRET, load, load_as_agent
from tests.link.rig import KEEP_ALIVE, FarEnd, Socket, hello, hello_ack
from tests.server.rig import NOON, FragileStore, LogCase, PortsNetwork
from tests.strategies import json_frame, raw_frame

OTHER = "fedcba9876543210"


class AppCase(LogCase):
    """Processes over a network in memory."""

    def setUp(self):
        super().setUp()
        self.reactor = Clock()
        self.network = PortsNetwork()
        self.store = FragileStore()
        self.fatal: list[str] = []
        self.world = Surroundings(
            wall_clock=lambda: NOON + 0.5,
            random_bytes=lambda size: bytes(range(size)),
            random=lambda: 0.0,
            randrange=lambda span: 0,
        )


class GatewayTests(AppCase):
    """What build_gateway makes of a configuration."""

    def start(self, text="", language="en"):
        """Start a gateway of that configuration."""
        service = build_gateway(
            load(text).config,
            cast(Any, self.reactor),
            language,
            self.fatal.append,
            world=self.world,
            network=self.network,
            store=self.store,
        )
        service.startService()
        self.assertEqual([], self.fatal)
        self.addCleanup(service.stopService)
        return service

    def connect(self, port=9000):
        transport = Socket()
        transport.start(self.network.at(port).factory.buildProtocol(None))
        return FarEnd(transport)

    def ack(self, far):
        (kind, payload), *_ = far.heard()
        self.assertEqual(frames.HELLO_ACK, kind)
        return json.loads(payload)

    def create(self, service, **wish):
        return service.parts.mappings.create(MappingWish(**wish))

    def test_by_default_agents_come_to_9000_and_callers_to_8080(self):
        self.start()
        self.assertEqual([9000, 8080], self.network.served_ports())
        self.assertEqual("", self.network.at(9000).address)
        self.assertEqual("127.0.0.1", self.network.at(8080).address)

    def test_addresses_and_ports_can_be_chosen(self):
        self.start(
            "tunnel: {bind: 192.0.2.1, listen_port: 7000}\n"
            "api: {bind: 127.0.0.2, listen_port: 7001}\n"
        )
        self.assertEqual("192.0.2.1", self.network.at(7000).address)
        self.assertEqual("127.0.0.2", self.network.at(7001).address)

    def test_the_tunnel_can_be_off(self):
        service = self.start("tunnel: {enabled: false}")
        self.assertEqual([8080], self.network.served_ports())
        client: Any = StubTreq(service.parts.make_api(lambda: False).site.resource)
        answering = client.get("http://localhost/health")
        client.flush()
        self.assertEqual(200, self.successResultOf(answering).code)

    def test_agents_are_told_the_settings(self):
        self.start(
            "tunnel: {window: 65536, max_frame: 65536, heartbeat_interval: 7, "
            "open_timeout: 20}"
        )
        far = self.connect()
        far.says(hello())
        ack = self.ack(far)
        self.assertEqual(
            (65536, 65536, 7, 20),
            (ack["window"], ack["max_frame"], ack["heartbeat"], ack["open_timeout"]),
        )

    def test_without_a_credential_legacy_agents_are_served(self):
        service = self.start()
        self.connect().says(KEEP_ALIVE)
        self.assertTrue(service.parts.links.connected)

    def test_with_a_credential_they_are_not(self):
        service = self.start(f"tunnel: {{auth_token: {SECRET}}}")
        self.connect().says(KEEP_ALIVE)
        self.assertFalse(service.parts.links.connected)
        far = self.connect()
        far.says(hello(token=SECRET))
        self.assertTrue(service.parts.links.connected)
        self.assertNotIn(SECRET, "".join(self.lines()))

    def test_legacy_agents_can_be_turned_away_without_a_credential(self):
        service = self.start("tunnel: {allow_legacy: false}")
        self.connect().says(KEEP_ALIVE)
        self.assertFalse(service.parts.links.connected)

    def test_limits_are_kept(self):
        service = self.start("limits: {tunnels: 1, mappings: 1}")
        self.connect().says(hello(agent="one"))
        far = self.connect()
        far.says(hello(agent="two", instance=OTHER))
        self.assertEqual("max tunnels reached", self.ack(far)["error"])
        self.assertFalse(service.parts.links.has("two"))

    def test_connections_to_the_api_are_limited(self):
        self.start("limits: {api_connections: 7}")
        site = cast(Any, self.network.at(8080).factory)
        self.assertEqual(7, site.api.connections.limit)

    def test_own_ports_are_neither_public_ports_nor_targets(self):
        service = self.start("port_range: {from: 8000, end: 10100}")
        for port in (8080, 9000):
            self.failureResultOf(
                _run(self.create(service, port=port)), PortBlacklistedError
            )
            making = _run(
                self.create(
                    service,
                    port=10050,
                    target_host="127.0.0.1",
                    target_port=port,
                    use_tunnel=False,
                )
            )
            self.network.answer("127.0.0.1")
            self.failureResultOf(making, TargetDeniedError)

    def test_allowed_targets_are_kept(self):
        service = self.start("direct: {allow_targets: [192.0.2.0/24]}")
        making = _run(
            self.create(
                service,
                port=10050,
                target_host="198.51.100.1",
                target_port=80,
                use_tunnel=False,
            )
        )
        self.network.answer("198.51.100.1")
        self.failureResultOf(making, TargetDeniedError)

    def test_forwards_are_served(self):
        service = self.start(
            "protocols:\n- {listen: '127.0.0.1:7000', target: 'db.test:80'}\n"
        )
        self.assertEqual([9000, 8080, 7000], self.network.served_ports())
        view = service.parts.mappings.get(7000)
        self.assertEqual("config", view.source)
        self.assertEqual(
            ("db.test", 80, False, NOON),
            (
                view.mapping.target_host,
                view.mapping.target_port,
                view.mapping.use_tunnel,
                view.mapping.created_at,
            ),
        )

    def test_agents_are_told_their_public_address(self):
        self.start()
        far = self.connect()
        far.says(hello(agent="web"))
        far.heard()
        far.says(json_frame(frames.REGISTER, id="site", local=80))
        ((_, payload),) = far.heard()
        self.assertEqual("tcp://:10000", json.loads(payload)["public_url"])

    def health(self, service):
        client: Any = StubTreq(service.parts.make_api(lambda: False).site.resource)
        self.reactor.advance(2)  # the last report is not given again
        answering = client.get("http://localhost/health")
        client.flush()
        response = self.successResultOf(answering)
        return json.loads(self.successResultOf(client.content(response)))

    def test_health_tells_of_agents_ports_and_store(self):
        service = self.start()
        self.assertIn("no agent is connected", json.dumps(self.health(service)))
        self.connect().says(hello())
        self.assertNotIn("no agent", json.dumps(self.health(service)))
        self.store.fail("disk full")
        self.patch(self.store, "ping", self.store.load)
        self.assertIn("disk full", json.dumps(self.health(service)))

    def test_health_tells_of_mappings_that_are_not_served(self):
        self.network.faults[7000] = OSError(98, "in use")
        service = self.start(
            "protocols:\n- {name: tcp, listen: ':7000', target: 'db.test:80'}\n"
        )
        self.assertIn("1 mappings not served: 7000", json.dumps(self.health(service)))

    def test_health_looks_at_the_process_and_its_disk(self):
        checks = self.health(self.start("log: {file: gateway.log}"))["checks"]
        self.assertEqual(
            [
                "store",
                "listeners",
                "mappings",
                "links",
                "memory",
                "loop",
                "disk",
                "descriptors",
            ],
            [check["name"] for check in checks],
        )
        disk = checks[6]
        self.assertEqual("degraded", disk["status"], disk)
        self.assertIn("data: No such file", disk["message"])
        self.assertNotIn("log:", disk["message"])

    def test_probes_have_a_port_of_their_own(self):
        service = self.start("health: {listen_port: 8090, bind: 0.0.0.0}")
        self.assertEqual("0.0.0.0", self.network.at(8090).address)
        client: Any = StubTreq(service.parts.make_health(lambda: True).site.resource)
        answers = {}
        for path in (
            "/livez",
            "/readyz",
            "/health",
            "/api/agents",
            "/api/openapi.json",
        ):
            answering = client.get(f"http://probed.example{path}")
            client.flush()
            answers[path] = self.successResultOf(answering).code
        self.assertEqual(
            {
                "/livez": 200,
                "/readyz": 503,
                "/health": 200,
                "/api/agents": 404,
                "/api/openapi.json": 404,
            },
            answers,
        )
        making = _run(
            self.create(service, port=10001, target_host="127.0.0.1", target_port=8090)
        )
        self.network.answer("127.0.0.1")
        self.failureResultOf(making, TargetDeniedError)

    def test_closing_the_api_leaves_no_timer(self):
        service = self.start()
        edge = service.parts.make_api(lambda: False)
        for _ in range(2):
            edge.close()

    def test_network_and_store_are_made_of_the_reactor(self):
        made: list[Any] = []

        def network(reactor, read_size, **_how):
            made.append((reactor, read_size))
            return self.network

        def store(path, reactor, wall_now):
            made.append((path, reactor))
            return self.store

        self.patch(gateway_app, "Network", network)
        self.patch(gateway_app, "SQLiteMappingStore", store)
        config = load("database: {path: m.db}\nbuffers: {read_size: 16384}").config
        build_gateway(config, cast(Any, self.reactor), "en", self.fatal.append)
        self.assertEqual([(self.reactor, 16384), ("m.db", self.reactor)], made)


class AgentTests(AppCase):
    """What build_agent makes of a configuration."""

    def build(self, text="server: 192.0.2.1:9000", **given):
        self.announced: list[str] = []
        service = build_agent(
            load_as_agent(text).config,
            cast(Any, self.reactor),
            "en",
            lambda: self.fatal.append("gave up"),
            self.announced.append,
            world=self.world,
            network=given.get("network", self.network),
        )
        self.addCleanup(service.stopService)
        return service

    def connect(self, text="server: 192.0.2.1:9000"):
        """Start an agent and let its first connection succeed."""
        self.build(text).startService()
        return FarEnd(self.network.attempts[-1].succeed())

    def test_its_greeting_tells_who_it_is(self):
        far = self.connect(
            f"server: 192.0.2.1:9000\nname: web\ntoken: {SECRET}\n"
            "window: 65536\nmax_frame: 65536\n"
        )
        ((_, payload),) = far.heard()
        greeting = json.loads(payload)
        for key, value in {
            "agent": "web",
            "instance": "0001020304050607",
            "token": SECRET,
            "features": ["register"],
            "window": 65536,
            "max_frame": 65536,
        }.items():
            self.assertEqual(value, greeting[key], key)
        self.assertIn("gotunnel", greeting["software"])

    def test_links_are_gathered(self):
        gathered: list[bool] = []
        connect = self.network.connect

        def note(address, port, factory, timeout_seconds, *, gathered_=gathered, **how):
            gathered_.append(how["gathered"])
            return connect(address, port, factory, timeout_seconds, **how)

        self.patch(self.network, "connect", note)
        self.connect()
        self.assertEqual([True], gathered)

    def test_its_gateways_name_waits_for_no_targets_name(self):
        self.build("server: gateway.test:9000\nallow_targets: [db.test]").startService()
        self.network.answer("192.0.2.1")
        far = FarEnd(self.network.attempts[-1].succeed())
        far.says(hello_ack())
        self.open(far, host=b"db.test")
        self.assertEqual("db.test", self.network.lookups[-1][0])
        self.assertEqual(["gateway.test"], self.network.reserved)

    def test_tries_can_be_limited(self):
        self.build(
            "server: 192.0.2.1:9000\n"
            "reconnect: {initial: 1, multiplier: 1, max: 1, max_attempts: 2}"
        ).startService()
        for _ in range(2):
            self.network.attempts[-1].fail(ConnectionRefusedError(111, "refused"))
            self.reactor.advance(1)
        self.assertEqual(["gave up"], self.fatal)

    def open(self, far, port=80, host=b""):
        payload = b"\0\0\0\x01\x01" + port.to_bytes(2, "big") + bytes([len(host)])
        far.says(raw_frame(frames.OPEN, payload + host + b"\0\0"))

    def test_targets_are_loopback_unless_allowed(self):
        far = self.connect()
        far.says(hello_ack())
        self.open(far, host=b"192.0.2.50")
        self.assertEqual(1, len(self.network.attempts))
        far = self.connect("server: 192.0.2.1:9000\nallow_targets: [192.0.2.0/24]")
        far.says(hello_ack())
        self.open(far, host=b"192.0.2.50")
        self.assertEqual("192.0.2.50", self.network.attempts[-1].address)

    def test_the_default_host_can_be_chosen(self):
        far = self.connect("server: 192.0.2.1:9000\ndefault_host: 127.0.0.9")
        far.says(hello_ack())
        self.open(far)
        self.assertEqual("127.0.0.9", self.network.attempts[-1].address)

    def test_what_is_exposed_is_asked_for(self):
        far = self.connect(
            "server: 192.0.2.1:9000\n"
            "expose: [8080, {local: '127.0.0.5:22', name: ssh, port: 10022}]"
        )
        far.heard()
        far.says(hello_ack(features=["register"]))
        wishes = [
            json.loads(payload)
            for kind, payload in far.heard()
            if kind == frames.REGISTER
        ]
        self.assertEqual(
            [("tcp-8080", 8080, 0), ("ssh", 22, 10022)],
            [(wish["id"], wish["local"], wish["port"]) for wish in wishes],
        )
        self.assertEqual("127.0.0.5", wishes[1]["host"])

    def test_the_network_is_made_of_the_reactor(self):
        made: list[Any] = []

        def network(reactor, read_size, **_how):
            made.append((reactor, read_size))
            return self.network

        self.patch(agent_app, "Network", network)
        self.build("server: 192.0.2.1:9000\nbuffers: {read_size: 16384}", network=None)
        self.assertEqual([(self.reactor, 16384)], made)


def _run(coroutine):
    return Deferred.fromCoroutine(coroutine)
