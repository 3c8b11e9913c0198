"""A changed configuration is applied to a running gateway, or nothing of it."""

import json
from typing import Any, cast

from treq.testing import StubTreq
from twisted.internet.defer import Deferred

from gateway.app.gateway import build_gateway
from gateway.config.gateway import GatewayConfig
from gateway.config.shape import leaves
from gateway.errors import TargetDeniedError
from gateway.link.proof import make_verifier
from gateway.policy.credentials import make_key
from gateway.policy.mapping import MappingWish, Match
from gateway.wire import frames
from tests.config.loading import SECRET, load
from tests.link.rig import FarEnd, Socket, hello
from tests.test_app import AppCase

# what the documents say needs a restart
RESTARTS = frozenset(
    key
    for key in leaves(GatewayConfig)
    if key.startswith(
        (
            "version",
            "preset",
            "language",
            "tunnel.enabled",
            "tunnel.listen_port",
            "tunnel.bind",
            "tunnel.port_offset",
            "api.listen_port",
            "api.bind",
            "api.request_timeout",
            "api.tls.",
            "health.",
            "direct.splice",
            "database.",
            "security.tunnel.enable_tls",
            "security.tunnel.cert_file",
            "security.tunnel.key_",
            "security.handshake_timeout",
            "security.allow_unsafe",
            "limits.api_memory",
            "limits.handshakes",
            "limits.memory",
            "limits.reservation",
            "metrics.",
            "stats.enabled",
            "buffers.",
            "log.",
            "debug.",
        )
    )
) - {"metrics.require_auth", "log.levels"}
OTHER_SECRET = "another secret of many letters"
FORWARD = "{listen: '127.0.0.1:%d', target: '192.0.2.7:80'}"


class ReloadCase(AppCase):
    """A gateway whose configuration a test edits."""

    def start(self, text=""):
        self.text = text
        self.service = build_gateway(
            load(text).config,
            cast(Any, self.reactor),
            "en",
            self.fatal.append,
            world=self.world,
            network=self.network,
            store=self.store,
            load=lambda: load(self.text),
        )
        self.service.startService()
        self.addCleanup(self.service.stopService)
        self.parts = self.service.parts
        site: Any = self.network.at(8080).factory
        self.client: Any = StubTreq(site.resource)

    def reload(self, text):
        """Edit the file and reload over the API; return status and answer."""
        self.text = text
        return self.ask("POST", "/api/reload", json={})

    def ask(self, method, path, **more):
        asking = self.client.request(method, f"http://localhost{path}", **more)
        self.client.flush()
        answer = self.successResultOf(asking)
        return answer.code, self.successResultOf(answer.json())

    def applied(self, text):
        code, answer = self.reload(text)
        self.assertEqual(200, code, answer)
        return answer["data"]["applied"]

    def agent(self, **greeting):
        """Return whether an agent is taken."""
        transport = Socket()
        transport.start(self.network.at(9000).factory.buildProtocol(None))
        far = FarEnd(transport)
        far.says(hello(**greeting))
        payload = next(body for kind, body in far.heard() if kind == frames.HELLO_ACK)
        return json.loads(payload)


class AppliedTests(ReloadCase):
    """What holds at once."""

    def test_the_token_of_agents(self):
        self.start(f"tunnel: {{auth_token: {SECRET}}}")
        keys = self.applied(f"tunnel: {{auth_token: {OTHER_SECRET}}}")
        self.assertEqual(["tunnel.auth_token"], keys)
        self.assertIn("error", self.agent(token=SECRET))
        self.assertNotIn("error", self.agent(token=OTHER_SECRET))
        self.assertNotIn(OTHER_SECRET, "".join(self.lines()))

    def test_what_agents_are_told(self):
        self.start()
        self.applied("tunnel: {open_timeout: 20, heartbeat_interval: 7}")
        ack = self.agent()
        self.assertEqual((20, 7), (ack["open_timeout"], ack["heartbeat"]))

    def test_the_key_of_the_api(self):
        self.start()
        self.applied(f"security: {{api: {{api_key: {SECRET}}}}}")
        self.assertEqual(401, self.ask("GET", "/api/agents")[0])
        shown = {"X-API-Key": SECRET}
        self.assertEqual(200, self.ask("GET", "/api/agents", headers=shown)[0])

    def test_addresses_and_rates_of_the_api(self):
        self.start()
        self.applied("security: {api: {allowed_ips: [192.0.2.0/24]}}")
        self.assertEqual(403, self.ask("GET", "/api/agents")[0])

    def test_targets_of_direct_mappings(self):
        self.start()
        self.applied("direct: {allow_targets: [192.0.2.0/24]}")
        wish = MappingWish(port=10001, target_host="198.51.100.1", target_port=80)
        making: Any = self.parts.mappings.create(wish)
        outcome = Deferred.fromCoroutine(making)
        self.network.answer("198.51.100.1")
        self.failureResultOf(outcome, TargetDeniedError)

    def test_limits(self):
        self.start()
        self.applied(
            "limits: {connections: 7, connections_per_ip: 3, tunnels: 5, "
            "streams_per_tunnel: 9, api_connections: 11, mappings: 2}"
        )
        crowd = self.parts.mappings.crowd
        self.assertEqual((7, 3), (crowd.slots.limit, crowd.addresses.limit))
        self.assertEqual(5, self.parts.links.slots.limit)
        self.assertEqual(9, self.parts.links.stream_places.limit)
        rows = self.ask("GET", "/api/limits")[1]["data"]["limits"]
        found = {row["name"]: row["limit"] for row in rows}
        self.assertEqual(11, found["limits.api_connections"])

    def test_bans(self):
        self.start()
        self.applied("security: {bans: {failures: 1, exempt: []}}")
        self.parts.bans.failed("192.0.2.9")
        self.assertFalse(self.parts.bans.admits("192.0.2.9"))

    def test_the_log(self):
        self.start()
        keys = self.applied("log_level: debug\nlog: {levels: {gateway.net: warn}}")
        self.assertEqual({"log_level", "log.levels"}, set(keys))

    def test_keys_of_agents(self):
        key = make_key(lambda size: bytes(size))
        entry = json.dumps(
            {"name": "office", "verifiers": [str(make_verifier(key, bytes))]}
        )
        self.start()
        self.applied(f"tunnel: {{agents: [{entry}]}}")
        [(found, source, _)] = self.parts.credentials.views()
        self.assertEqual(("office", "config"), (found.name, source))
        self.assertIn("error", self.agent(agent="stranger"))
        self.applied("")
        self.assertEqual([], self.parts.credentials.views())


class ForwardTests(ReloadCase):
    """Forwards of the configuration come and go."""

    def forwards(self, *ports):
        return f"protocols: [{', '.join(FORWARD % port for port in ports)}]"

    def ports(self):
        return [view.mapping.port for view in self.parts.mappings.each()]

    def test_new_ones_listen_and_old_ones_do_not(self):
        self.start(self.forwards(10001, 10002))
        self.assertEqual(["protocols"], self.applied(self.forwards(10002, 10003)))
        self.assertEqual([10002, 10003], self.ports())
        self.assertIn(10003, self.network.served_ports())
        self.assertNotIn(10001, self.network.served_ports())

    def test_one_that_stays_keeps_its_place(self):
        self.start(self.forwards(10001))
        before = self.parts.mappings.book.find(Match("tcp", 10001))
        self.applied(self.forwards(10001, 10002))
        self.assertIs(before, self.parts.mappings.book.find(Match("tcp", 10001)))

    def test_another_target_is_used_at_once(self):
        self.start(self.forwards(10001))
        self.applied(self.forwards(10001).replace("192.0.2.7", "192.0.2.8"))
        view = self.parts.mappings.get(10001)
        self.assertEqual("192.0.2.8", view.mapping.target_host)

    def test_a_port_that_another_mapping_has_changes_nothing(self):
        self.start(self.forwards(10001))
        self.parts.mappings.open_for_agent(MappingWish(port=10005, agent="office"))
        code, answer = self.reload(
            f"{self.forwards(10002, 10005)}\nlimits: {{connections: 7}}"
        )
        self.assertEqual(409, code)
        self.assertIn("10005", answer["message"])
        self.assertEqual([10001, 10005], self.ports())
        self.assertNotEqual(7, self.parts.mappings.crowd.slots.limit)


class RefusedTests(ReloadCase):
    """What does not hold, and why."""

    def test_a_broken_file_changes_nothing_and_says_why(self):
        self.start()
        code, answer = self.reload("limits: {connections: 7, tunnels: many}")
        self.assertEqual(409, code)
        self.assertIn("limits.tunnels", answer["message"])
        self.assertNotEqual(7, self.parts.mappings.crowd.slots.limit)
        self.assertEqual(1, len(self.lines("not reloaded, nothing changes")))
        self.service.reload()  # as SIGHUP does
        self.assertEqual(2, len(self.lines("not reloaded, nothing changes")))

    def test_a_secret_in_a_broken_file_is_not_repeated(self):
        self.start()
        _, answer = self.reload(f"tunnel: {{auth_token: {SECRET}, windows: 1}}")
        self.assertNotIn(SECRET, answer["message"] + "".join(self.lines()))

    def test_what_needs_a_restart_is_named_each_time(self):
        self.start()
        answer: Any = None
        for _ in range(2):
            code, answer = self.reload("api: {listen_port: 8081}\nlog_level: warn")
            self.assertEqual(200, code)
            self.assertEqual(["api.listen_port"], answer["data"]["needs_restart"])
        self.assertEqual([], answer["data"]["applied"])
        self.assertEqual(2, len(self.lines("api.listen_port needs a restart")))
        self.assertEqual(1, len(self.lines("log_level is applied")))

    def test_a_part_that_is_only_safe_after_a_restart_changes_nothing(self):
        """The API is open to the world until its address is another."""
        self.start(f"api: {{bind: 0.0.0.0}}\nsecurity: {{api: {{api_key: {SECRET}}}}}")
        self.network.at(8080)
        self.text = "api: {bind: 127.0.0.1}"
        self.service.reload()
        self.assertEqual(1, len(self.lines("restart the gateway")))
        self.assertEqual(401, self.ask("GET", "/api/agents")[0])

    def test_every_key_is_applied_or_named(self):
        """No key is passed over without a word."""
        self.start()
        reload: Any = self.parts.reload
        reloader = reload.__self__
        for key in leaves(GatewayConfig):
            taken = [part for part in reloader._parts if part.takes(key)]
            self.assertEqual(key not in RESTARTS, bool(taken), key)
