"""Hosts with ports, and what keys that hold places make of them."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.config.agent import AgentConfig, Expose
from gateway.config.gateway import Forward, GatewayConfig
from gateway.config.places import (
    HostPort,
    gateway_address,
    listening_place,
    local_place,
    target,
)
from gateway.policy.access import parse_network
from tests.config.loading import load, load_as_agent, problems_of

GOOD = [
    (listening_place, ":80", HostPort("", 80)),
    (listening_place, "*:80", HostPort("", 80)),
    (listening_place, "localhost:80", HostPort("127.0.0.1", 80)),
    (listening_place, "[::1]:80", HostPort("::1", 80)),
    (target, "nas:445", HostPort("nas", 445)),
    (target, "NAS.Example.:445", HostPort("nas.example", 445)),
    (target, "[fe80::1%eth0]:22", HostPort("fe80::1%eth0", 22)),
    (gateway_address, "gw", HostPort("gw", 9000)),
    (gateway_address, "gw:9001", HostPort("gw", 9001)),
    (gateway_address, "::1", HostPort("::1", 9000)),
    (gateway_address, "[::1]", HostPort("::1", 9000)),
    (gateway_address, "[::1]:9001", HostPort("::1", 9001)),
    (local_place, "8080", HostPort("localhost", 8080)),
    (local_place, ":8080", HostPort("localhost", 8080)),
    (local_place, "nas:80", HostPort("nas", 80)),
]
BAD = [
    (listening_place, ["", "80", ":0", ":65536", ":x", "nas:80", "::1", ":٣"]),
    (target, ["", ":80", "80", "nas", "nas:", "nas:0", "nas:65536", "a b:80"]),
    (target, ["[nas]:80", "[::1:80", "::1:80:", "http://nas:80", "nas:000080"]),
    (gateway_address, ["", "gw:", "gw:0", ":9000", "9000", "tls://gw:9000", "[gw]"]),
    (local_place, ["", "0", "65536", "-1", "nas", "True"]),
]
TARGETS = ("10.0.0.0/8:80,443", "db.internal:8000-8100", "[::1]:22", "fd00::/8", "nas")


class PlaceTests(SynchronousTestCase):
    """One table of what is understood, one of what is refused."""

    def test_understood(self):
        for read, text, wanted in GOOD:
            self.assertEqual(read(text), wanted, f"{read.__name__} {text!r}")

    def test_refused(self):
        for read, texts in BAD:
            for text in texts:
                with self.assertRaises(ValueError, msg=f"{read.__name__} {text!r}"):
                    read(text)

    @settings(deadline=None)
    @given(st.ip_addresses().map(str), st.integers(1, 65535))
    def test_written_and_read_back(self, address, port):
        place = target(str(HostPort(address, port)))
        self.assertEqual(target(str(place)), place)


class KeyTests(SynchronousTestCase):
    """Keys whose values are places."""

    def test_values_take_one_form(self):
        config = load("tunnel: {bind: '*'}\napi: {bind: localhost}").config
        self.assertEqual((config.tunnel.bind, config.api.bind), ("", "127.0.0.1"))
        self.assertEqual(load_as_agent("default_host: NAS.").config.default_host, "nas")
        networks = "security: {api: {allowed_ips: [10.1.2.3, '::ffff:10.0.0.0/104']}}"
        self.assertEqual(
            load(networks).config.security.api.allowed_ips,
            (parse_network("10.1.2.3"), parse_network("10.0.0.0/8")),
        )

    def test_every_form_of_a_target_is_taken_as_it_is(self):
        for text in (f"[{', '.join(map(repr, TARGETS))}]", "[]"):
            wanted = TARGETS if text != "[]" else ()
            agent = load_as_agent(f"allow_targets: {text}").config
            self.assertEqual(agent.allow_targets, wanted)
            gateway = load(f"direct: {{allow_targets: {text}}}").config
            self.assertEqual(gateway.direct.allow_targets, wanted)

    def test_values_of_a_program_need_no_text(self):
        place, network = HostPort("nas", 80), parse_network("10.0.0.0/8")
        self.assertEqual(Forward(listen=HostPort("", 1), target=place).target, place)
        self.assertEqual(Expose(local=place).name, "tcp-80")
        self.assertEqual(AgentConfig(server=(place,)).server, (place,))
        api: Any = {"allowed_ips": [network]}
        config = GatewayConfig.model_validate({"security": {"api": api}})
        self.assertEqual(config.security.api.allowed_ips, (network,))

    def test_other_kinds_of_value_are_refused(self):
        for value in ("5", "null", "true", "[80]", "1.5"):
            for key in ("tunnel: {bind: %s}", "direct: {allow_targets: [%s]}"):
                [problem] = problems_of(key % value)
                self.assertIn(": must be ", problem)
            for key in ("server: [gw, %s]", "expose: [{local: %s}]"):
                if (key, value) != ("expose: [{local: %s}]", "5"):
                    [problem] = problems_of(key % value, loader=load_as_agent)
                    self.assertIn(": must be ", problem)
