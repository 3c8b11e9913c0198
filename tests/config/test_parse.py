"""What loading gives, and what it says is wrong."""

import json
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.config.agent import AgentConfig
from gateway.config.gateway import GatewayConfig
from gateway.config.parse import AGENT, GATEWAY, Loaded, describe, load_gateway, written
from gateway.config.places import HostPort
from gateway.config.shape import leaves
from gateway.config.vocabulary import variable_of
from gateway.errors import ConfigError
from tests.config.loading import SECRET, load, load_as_agent, problems_of, reader_of

# text, and the whole list of problems
WRONG = [
    ("tunnel: {listen_port: 70000}", [
        "tunnel.listen_port: must be a whole number from 1 to 65535, not 70000 "
        "(gw.yaml line 1)"]),
    ("tunnel:\n  listen_port: '9000'", [
        "tunnel.listen_port: must be a whole number from 1 to 65535, not '9000' "
        "(gw.yaml line 2)"]),
    ("tunnel: {listen_port: yes}", [
        "tunnel.listen_port: must be a whole number from 1 to 65535, not true "
        "(gw.yaml line 1)"]),
    ("tunnel: {listen_port: 9000.0}", [
        "tunnel.listen_port: must be a whole number from 1 to 65535, not 9000.0 "
        "(gw.yaml line 1)"]),
    ("tunnel: {listen_port: }", [
        "tunnel.listen_port: must be a whole number from 1 to 65535, not null "
        "(gw.yaml line 1)"]),
    ("tunnel: {listen_port: [9000]}", [
        "tunnel.listen_port: must be a whole number from 1 to 65535, not a list "
        "(gw.yaml line 1)"]),
    ("tunnel: {heartbeat_interval: .inf}", [
        "tunnel.heartbeat_interval: must be a number from 1 to 300, not inf "
        "(gw.yaml line 1)"]),
    ("tunnel: {enabled: maybe}", [
        "tunnel.enabled: must be true or false, not 'maybe' (gw.yaml line 1)"]),
    ("tunnel: {allow_legacy: 1}", [
        "tunnel.allow_legacy: must be auto or true or false, not 1 (gw.yaml line 1)"]),
    ("tunnel: {bind: nas}", [
        "tunnel.bind: 'nas' is not an address to listen on; it must be an IP address "
        "of this machine, or empty for all interfaces (gw.yaml line 1)"]),
    ("tunnel: {bind: 5}", [
        "tunnel.bind: must be an IP address of this machine; empty = all interfaces, "
        "not 5 (gw.yaml line 1)"]),
    ("language: fr", [
        "language: must be en or zh, or null, not 'fr' (gw.yaml line 1)"]),
    ("version: '2.0'", ["version: must be 1.0, not '2.0' (gw.yaml line 1)"]),
    ("tunnel: 9000", [
        "tunnel: must be a mapping with keys of enabled, listen_port, bind, "
        "port_offset, auth_token, auth_token_file, agents, connect_request, "
        "allow_legacy, heartbeat_interval, hello_timeout, open_timeout, "
        "write_timeout, window, max_frame, legacy_high_water, legacy_low_water "
        "(gw.yaml line 1)"]),
    ("[1, 2]", ["gw.yaml: must hold keys and values, nothing else"]),
    ("words", ["gw.yaml: must hold keys and values, nothing else"]),
    ("tunnel: {listen_prt: 1}", [
        "tunnel.listen_prt: unknown key; did you mean tunnel.listen_port? "
        "(gw.yaml line 1)"]),
    ("tunel: {}", ["tunel: unknown key; did you mean tunnel? (gw.yaml line 1)"]),
    ("listen_port: 1", [
        "listen_port: unknown key; did you mean tunnel.listen_port? (gw.yaml line 1)"]),
    ("portrange.from: 1", ["'portrange.from': unknown key; did you mean "
        "port_range.from? (gw.yaml line 1)"]),
    ("api_bind: 1", ["api_bind: unknown key; did you mean api.bind? (gw.yaml line 1)"]),
    ("qqqqqqqq: 1", ["qqqqqqqq: unknown key (gw.yaml line 1)"]),
    ("port_range: {first: 1}", [
        "port_range.first: unknown key; did you mean port_range.from? "
        "(gw.yaml line 1)"]),
    ("security: {port_range: {blacklist: 22}}", [
        "security.port_range.blacklist: must be a list, each: a whole number from 1 "
        "to 65535, not 22 (gw.yaml line 1)"]),
    ("security:\n port_range:\n  blacklist:\n   - 22\n   - x", [
        "security.port_range.blacklist.1: must be a whole number from 1 to 65535, "
        "not 'x' (gw.yaml line 5)"]),
    ("security: {api: {allowed_ips: [10.0.0.1/8]}}", [
        "security.api.allowed_ips.0: '10.0.0.1/8' has bits set behind the network's "
        "prefix (gw.yaml line 1)"]),
    ("direct: {allow_targets: ['10.0.0.0/8:80,443', 'a:9-3', 5]}", [
        "direct.allow_targets.1: port range '9-3' ends before it begins "
        "(gw.yaml line 1)",
        "direct.allow_targets.2: must be a network, an address or a host name, with or "
        "without ports, not 5 (gw.yaml line 1)"]),
    ("protocols: [{lisen: ':80', target: 'a:1'}]", [
        "protocols.0.lisen: unknown key; did you mean protocols.listen? "
        "(gw.yaml line 1)",
        "protocols.0.listen: is missing; it must be ':port' or 'address:port' "
        "(gw.yaml line 1)"]),
    ("protocols: [tcp]", [
        "protocols.0: must be a mapping of name, listen, target, enabled, not 'tcp' "
        "(gw.yaml line 1)"]),
    ("protocols: {name: tcp}", [
        "protocols: must be a list, each: a mapping of name, listen, target, enabled, "
        "not a mapping (gw.yaml line 1)"]),
    ("tunnel: {auth_token: short-one}", [
        "tunnel.auth_token: has 9 characters; a secret needs at least 16 "
        "(gw.yaml line 1)"]),
    ("tunnel: {auth_token: ''}", [
        "tunnel.auth_token: is empty; give a secret or leave the key out "
        "(gw.yaml line 1)"]),
    ("tunnel: {auth_token: 1234567890123456}", [
        "tunnel.auth_token: must be text of at least 16 characters, or null "
        "(gw.yaml line 1)"]),
    ("tunnel: {auth_token: change-me-to-a-long-random-text}", [
        "tunnel.auth_token: is an example that everybody can read; make up your own "
        "(gw.yaml line 1)"]),
    ("log: {keep: 0}", [
        "log.keep: must be a whole number from 1 to 1000, not 0 (gw.yaml line 1)"]),
    ("log: {file: ' '}", [
        "log.file: must be the name of a file, or null, not ' ' (gw.yaml line 1)"]),
    ("language: zh\ntunnel: {listen_port: 0}\napi: {listen_port: -1}\n"
     "database: {path: ''}", [
        "tunnel.listen_port: 内网穿透端口必须大于 0: 0 (gw.yaml line 2)",
        "api.listen_port: API 端口必须大于 0: -1 (gw.yaml line 3)",
        "database.path: 数据库路径不能为空: '' (gw.yaml line 4)"]),
    ("tunnel: {listen_port: 0}\napi: {listen_port: -1}\ndatabase: {path: ''}", [
        "tunnel.listen_port: the tunnel port must be greater than 0: 0 "
        "(gw.yaml line 1)",
        "api.listen_port: the API port must be greater than 0: -1 (gw.yaml line 2)",
        "database.path: the database path must not be empty: '' (gw.yaml line 3)"]),
]  # fmt: skip
WRONG_OF_AGENTS = [
    ("server: []", [
        "server: must be 'host' or 'host:port', or a list of such, not an empty list "
        "(agent.yaml line 1)"]),
    ("server: 9000", [
        "server: must be 'host' or 'host:port', or a list of such, not 9000 "
        "(agent.yaml line 1)"]),
    ("server: [gw, 'gw:0']", [
        "server.1: '0' is not a port from 1 to 65535 (agent.yaml line 1)"]),
    ("name: a b", [
        "name: must be text of the form [A-Za-z0-9._-]{1,64}, not 'a b' "
        "(agent.yaml line 1)"]),
    ("name: 1234", [
        "name: must be text of the form [A-Za-z0-9._-]{1,64}, not 1234 "
        "(agent.yaml line 1)"]),
    ("connections: true", [
        "connections: must be auto, or a whole number from 1 to 16, not true "
        "(agent.yaml line 1)"]),
    ("connections: many", [
        "connections: must be auto, or a whole number from 1 to 16, not 'many' "
        "(agent.yaml line 1)"]),
    ("connections: 17", [
        "connections: must be auto, or a whole number from 1 to 16, not 17 "
        "(agent.yaml line 1)"]),
    ("expose: [{local: 80, protocol: udp}]", [
        "expose.0.protocol: 'udp' is not available yet (agent.yaml line 1)"]),
    ("expose: [{name: x}]", [
        "expose.0.local: is missing; it must be a port, or 'host:port' "
        "(agent.yaml line 1)"]),
    ("expose: [0]", [
        "expose.0.local: '0' is not a port from 1 to 65535 (agent.yaml line 1)"]),
    ("expose: [1.5]", [
        "expose.0: must be a mapping of name, protocol, local, port, not 1.5 "
        "(agent.yaml line 1)"]),
    ("expose: [{local: 80, host: a.example.com}]", [
        "expose.0.host: not available yet (agent.yaml line 1)"]),
    ("tls: {fingerprint: '12:34'}", [
        "tls.fingerprint: must be a SHA-256 fingerprint: 64 hex digits, with or "
        "without colons, or null, not '12:34' (agent.yaml line 1)"]),
    ("tls: {ca_file: ca.crt}", [
        "tls.ca_file: is of no use unless tls.enabled is true; set that as well "
        "(agent.yaml line 1)"]),
    ("tls: {enabled: true, key_file: a.key}", [
        "tls.key_file: there is no tls.cert_file for the key (agent.yaml line 1)"]),
    ("tls: {enabled: true, key_password_file: a}", [
        "tls.key_password_file: there is no tls.cert_file for the key "
        "(agent.yaml line 1)"]),
]  # fmt: skip


class FaultTests(SynchronousTestCase):
    """Every fault has its sentence."""

    maxDiff = None

    def test_gateway(self):
        for text, problems in WRONG:
            self.assertEqual(problems_of(text), problems, text)

    def test_agent(self):
        for text, problems in WRONG_OF_AGENTS:
            found = problems_of(text, loader=load_as_agent)
            self.assertEqual(found, problems, text)

    def test_all_at_once(self):
        """One wrong value hides neither another one nor what does not fit."""
        found = problems_of(
            "options: {auto_tls: 'true'}\nlog_levl: info\ntunnel: {window: 1}\n"
            "port_range: {from: 20, end: 10}\n",
            environ={"GOTUNNEL_NONSENSE": "1"},
            options={"api.listen_port": "x", "api.bind": "0.0.0.0"},
        )
        self.assertEqual([problem.split(":")[0] for problem in found], [
            "options", "log_levl", "variable GOTUNNEL_NONSENSE", "tunnel.window",
            "api.listen_port", "port_range.end", "api.bind",
        ])  # fmt: skip

    def test_malformed_file_hides_no_bad_variable(self):
        found = problems_of("a: [", environ={"GOTUNNEL_API__LISTEN_PORT": "x"})
        self.assertEqual(len(found), 2)

    def test_consequences_of_a_wrong_value_are_not_reported(self):
        """The API's address is fine if only the key was mistyped."""
        text = "api: {bind: '::'}\nsecurity: {api: {api_key: short}}"
        self.assertEqual(len(problems_of(text)), 1)

    def test_long_values_are_cut_and_control_characters_escaped(self):
        found = problems_of('language: "\\e[31m' + "x" * 500 + '"')
        self.assertEqual(len(found), 1)
        self.assertIn(r"'\x1b[31mxxx", found[0])
        self.assertLess(len(found[0]), 150)
        found = problems_of(f"tunnel: {{listen_port: 0x{'F' * 9000}}}")
        self.assertIn("not a number of thousands of digits", found[0])
        found = problems_of('"\\e[31m": 1')
        self.assertEqual(found, ["'\\x1b[31m': unknown key (gw.yaml line 1)"])

    def test_secrets_are_never_repeated(self):
        """Whatever is wrong with it, and however its key is misspelled."""
        spoilt = "s3cr3t"
        texts = [
            f"tunnel: {{auth_token: {spoilt}}}",
            f"tunnel: {{auth_token: [{spoilt}]}}",
            f"tunnel: {{auth_token: {{a: {spoilt}}}}}",
            f"tunnel: {{auth_tokn: {spoilt}}}",
            f"tunnel: {spoilt}",
            f"tunnel: [{spoilt}]",
            f"tunnel: {{listen_port: [{spoilt}]}}",
            f"tunnel: {{auth_token: '{spoilt}",
            f"tunnel: {{auth_token: !{spoilt}!x y}}",
            f"tunnel: {{auth_token: *{spoilt}}}",
            f"security: {{api: {{jwt_secret: {spoilt}}}}}",
            f"tunnel:\n  auth_token:\t{spoilt}\n\tx: 1",
            spoilt,
        ]
        for text in texts:
            found = problems_of(text)
            self.assertTrue(found, text)
            self.assertNotIn(spoilt, "\n".join(found), text)
        found = problems_of(environ={"GOTUNNEL_TOKEN": spoilt})
        self.assertNotIn(spoilt, "\n".join(found))

    def test_missing_file(self):
        fault = self.assertRaises(
            ConfigError, load_gateway, "/no/such/file", environ={}, options={}
        )
        self.assertEqual(
            str(fault), "'/no/such/file' cannot be read: No such file or directory"
        )


class ValueTests(SynchronousTestCase):
    """What correct files give."""

    def test_empty_file_gives_defaults(self):
        for text in ("", "# nothing\n", "{}", "tunnel:\nlimits:\n"):
            self.assertEqual(load(text).config, GatewayConfig())
            self.assertEqual(load_as_agent("").config, AgentConfig())

    def test_no_file_gives_defaults(self):
        loaded = load_gateway(None, environ={}, options={})
        self.assertEqual(loaded.config, GatewayConfig())
        self.assertEqual(set(loaded.sources.values()), {"default"})

    def test_defaults_may_be_written_out(self):
        for loader, model in ((load, GatewayConfig), (load_as_agent, AgentConfig)):
            options = {key: leaf.default for key, leaf in leaves(model).items()}
            self.assertEqual(loader(options=options).config, model())
            for key, leaf in leaves(model).items():
                text = written(leaf.default)
                for name in reversed(key.split(".")):
                    text = f"{{{name}: {text}}}"
                self.assertEqual(loader(text).config, model(), text)

    def test_yaml_and_json_are_the_same(self):
        tree = {"tunnel": {"listen_port": 9001}, "port_range": {"from": 1, "end": 2}}
        self.assertEqual(
            load(yaml.safe_dump(tree)).config,
            load(json.dumps(tree), name="gw.json").config,
        )

    def test_values_arrive(self):
        config = load(
            "port_range: {from: 12000, end: 13000}\n"
            "tunnel: {allow_legacy: false, heartbeat_interval: 20, bind: localhost}\n"
            "version: 1.0\n"
            "protocols:\n"
            "  - {name: tcp, listen: ':8081', target: 'nas:80'}\n"
            "  - {name: quic, listen: ':8082', target: 'nas:80', enabled: false}\n"
        ).config
        self.assertEqual((config.port_range.first, config.port_range.last),
                         (12000, 13000))  # fmt: skip
        self.assertIs(config.tunnel.allow_legacy, False)
        self.assertEqual(config.tunnel.heartbeat_interval, 20.0)
        self.assertEqual(config.tunnel.bind, "127.0.0.1")
        [forward] = config.forwards
        self.assertEqual(forward.listen, HostPort("", 8081))
        self.assertEqual(str(forward.target), "nas:80")

    def test_splicing_is_switched_off_by_word_or_by_value(self):
        for text, value in (
            ("direct: {splice: off}", "off"),
            ("direct: {splice: 'off'}", "off"),
            ("direct: {splice: false}", "off"),
            ("direct: {splice: auto}", "auto"),
            ("direct: {}", "auto"),
        ):
            self.assertEqual(load(text).config.direct.splice, value, text)
        [problem] = problems_of("direct: {splice: true}")
        self.assertIn("direct.splice: must be auto or off", problem)

    def test_one_gateway_or_several(self):
        self.assertEqual(
            load_as_agent("server: gw").config.server, (HostPort("gw", 9000),)
        )
        self.assertEqual(
            load_as_agent("server: [gw, '[::1]:9001']").config.server,
            (HostPort("gw", 9000), HostPort("::1", 9001)),
        )

    def test_exposed_ports_may_be_short(self):
        config = load_as_agent("expose: [8080, 'nas:81', {local: 22, port: 10022}]")
        self.assertEqual(
            [(e.name, str(e.local), e.port) for e in config.config.expose],
            [("tcp-8080", "localhost:8080", 0), ("tcp-81", "nas:81", 0),
             ("tcp-22", "localhost:22", 10022)],
        )  # fmt: skip

    def test_exposed_ports_may_name_the_public_one(self):
        for text, port, local in (
            ("8080", 0, "localhost:8080"),
            ("10085:42200", 10085, "localhost:42200"),
            ("db:5432", 0, "db:5432"),
            ("10085:db:5432", 10085, "db:5432"),
            ("tcp:10085:[::1]:80", 10085, "[::1]:80"),
            ("tcp:80", 0, "localhost:80"),
        ):
            rules = {"allow_targets": ["0.0.0.0/0", "::/0", "db"]}
            loaded = load_as_agent(options={"expose": [text], **rules})
            [found] = loaded.config.expose
            self.assertEqual((port, local), (found.port, str(found.local)), text)

    def test_other_protocols_are_not_exposed_yet(self):
        for text in ("udp:53", "http:3000", "tls:443", "unix:/run/app.sock"):
            protocol, _, _ = text.partition(":")
            self.assertEqual(
                problems_of(options={"expose": [text]}, loader=load_as_agent),
                [
                    f"expose.0.protocol: '{protocol}' is not available yet "
                    "(command line)"
                ],
            )

    def test_wrong_short_forms_say_so(self):
        for text in ("0:80", "70000:80", "80:", ":", "10085:db", "1:2:3", "x:y:1"):
            problems = problems_of(options={"expose": [text]}, loader=load_as_agent)
            self.assertEqual(1, len(problems), (text, problems))

    def test_nothing_can_be_changed(self):
        config = load("").config
        with self.assertRaises(ValueError):
            config.tunnel.listen_port = 1

    def test_secrets_do_not_show(self):
        config = load(f"tunnel: {{auth_token: {SECRET}}}").config
        self.assertNotIn(SECRET, repr(config))
        self.assertEqual(config.tunnel.auth_token.get_secret_value(), SECRET)

    def test_fewest_characters_of_a_secret(self):
        self.assertEqual(problems_of(f"tunnel: {{auth_token: {'x' * 16}}}"), [])
        self.assertEqual(len(problems_of(f"tunnel: {{auth_token: {'x' * 15}}}")), 1)


class PresetTests(SynchronousTestCase):
    """Presets are defaults and nothing more."""

    def test_preset_sets_defaults(self):
        loaded = load("preset: high_throughput")
        self.assertEqual(loaded.config.buffers.read_size, 131072)
        self.assertEqual(loaded.config.tunnel.legacy_high_water, 4194304)
        self.assertEqual(loaded.sources["buffers.read_size"], "preset high_throughput")

    def test_a_set_key_wins(self):
        loaded = load("{preset: client, limits: {connections: 7}}")
        self.assertEqual(loaded.config.limits.connections, 7)
        self.assertEqual(loaded.config.tunnel.legacy_low_water, 524288)

    def test_preset_of_the_command_line(self):
        loaded = load("preset: client", options={"preset": "server"})
        self.assertEqual(loaded.config.buffers.read_size, 65536)

    def test_unknown_preset(self):
        self.assertEqual(problems_of("preset: huge"), [
            "preset: must be server or client or high_throughput, or null, "
            "not 'huge' (gw.yaml line 1)"])  # fmt: skip
        self.assertEqual(len(problems_of("preset: [server]")), 1)

    def test_reconnect_presets(self):
        fixed = load_as_agent("reconnect: {preset: fixed}").config.reconnect
        self.assertEqual((fixed.initial, fixed.multiplier, fixed.max_attempts),
                         (5.0, 1.0, 0))  # fmt: skip
        article = load_as_agent("reconnect: {preset: article}").config.reconnect
        self.assertEqual((article.initial, article.max, article.max_attempts),
                         (1.0, 30.0, 10))  # fmt: skip

    def test_every_preset_loads(self):
        for preset in ("server", "client", "high_throughput"):
            self.assertEqual(problems_of(f"preset: {preset}"), [])


class LaterTests(SynchronousTestCase):
    """Features that are not there yet."""

    def test_refused(self):
        for text in (
            "tls: {cert_file: a.pem}",
            "options: {auto_tls: 'true'}",
            "protocols: [{listen: ':1', target: 'a:1', options: {a: 1}}]",
            "protocols: [{name: http3, listen: ':1', target: 'a:1'}]",
        ):  # fmt: skip
            [problem] = problems_of(text)
            self.assertIn("not available yet (gw.yaml line 1)", problem)

    def test_switched_off_is_accepted(self):
        for text in (
            "tls: {cert_file: null, key_file: null, ca_file: null}", "tls: null",
            "tls: {enabled: false, cert_file: a.pem}",
            "options: {auto_tls: 'false', email: '', domains: '', staging: 'false'}",
            "stats: {enabled: false, record_interval: 60}",
            "security: {tunnel: {enable_tls: false, cert_file: /etc/ssl/server.crt}}",
            "security: {api: {enable_auth: false, jwt_secret_file: null}}",
            "limits: {connections_per_ip: 0}", "tls: []",
            "protocols: [{listen: ':1', target: 'a:1', options: {}}]",
        ):  # fmt: skip
            self.assertEqual(problems_of(text), [], text)

    def test_yields_are_explained(self):
        for text in (
            "yield_min: 50",
            "buffers: {yield_max: 5}",
            "tunnel: {yield_min: x}",
        ):
            [problem] = problems_of(text)
            self.assertIn("Twisted has no such thing", problem)

    def test_variables_of_later_features(self):
        for variable in ("GOTUNNEL_OPTIONS__AUTO_TLS", "GOTUNNEL_TLS__CERT_FILE"):
            [problem] = problems_of(environ={variable: "yes"})
            self.assertIn(f"not available yet (variable {variable})", problem)
            self.assertEqual(problems_of(environ={variable: "false"}), [])

    def test_options_of_later_features(self):
        [problem] = problems_of(options={"tls.cert_file": "x"})
        self.assertEqual(problem, "tls.cert_file: not available yet (command line)")
        self.assertEqual(problems_of(options={"tls.cert_file": ""}), [])


class DescribeTests(SynchronousTestCase):
    """Every setting with its source."""

    def test_all_settings_and_no_secret(self):
        loaded = load(
            "tunnel: {listen_port: 9001}\n"
            "security: {api: {allowed_ips: [10.0.0.0/8]}}\n"
            "protocols: [{listen: '[::1]:81', target: 'nas:80'}]",
            environ={"GOTUNNEL_TOKEN": SECRET},
            options={"log_level": "debug"},
        )
        lines = describe(loaded)
        self.assertEqual(len(lines), len(leaves(GatewayConfig)))
        self.assertNotIn(SECRET, "\n".join(lines))
        for line in (
            "tunnel.listen_port = 9001 (gw.yaml line 1)",
            "tunnel.auth_token = (hidden) (variable GOTUNNEL_TOKEN)",
            'log_level = "debug" (command line)',
            "tunnel.open_timeout = 10.0 (default)",
            'security.api.allowed_ips = ["10.0.0.0/8"] (gw.yaml line 2)',
            'protocols = [{"name": "tcp", "listen": "[::1]:81", "target": "nas:80", '
            '"enabled": true}] (gw.yaml line 3)',
        ):
            self.assertIn(line, lines)


class PrecedenceTests(SynchronousTestCase):
    """Command line over environment over file over preset over default."""

    @settings(deadline=None)
    @given(st.sets(st.sampled_from(["options", "environ", "file", "preset"])))
    def test_the_uppermost_source_wins(self, given_in):
        text = "limits:\n  tunnels: 5\n"
        text += "  connections: 3\n" if "file" in given_in else ""
        text += "preset: client\n" if "preset" in given_in else ""
        environ = {"GOTUNNEL_LIMITS__CONNECTIONS": "2"} if "environ" in given_in else {}
        options = {"limits.connections": 1} if "options" in given_in else {}
        loaded = load(text, environ=environ, options=options)
        values = {"options": 1, "environ": 2, "file": 3, "preset": 0, "default": 10000}
        winner = next(source for source in values if source in given_in | {"default"})
        self.assertEqual(loaded.config.limits.connections, values[winner])
        self.assertEqual(loaded.config.limits.tunnels, 5)


ATOMS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["auto", ":80", "nas:80", "10.0.0.0/8", "tcp", SECRET, 9000])
)  # fmt: skip


def trees(model):
    """Return a strategy for mappings that use a model's keys, and others."""
    paths = [*leaves(model), "tls", "options", "nonsense", "tunnel.yield_min"]
    items = st.dictionaries(
        st.sampled_from(["name", "listen", "target", "local", "port", "x"]), ATOMS
    )
    values = ATOMS | st.lists(ATOMS | items, max_size=3) | items

    def nest(flat):
        tree: dict[str, Any] = {}
        for path, value in flat.items():
            *blocks, last = path.split(".")
            block = tree
            for name in blocks:
                block = block.setdefault(name, {})
                if not isinstance(block, dict):
                    break
            else:
                block[last] = value
        return tree

    return st.dictionaries(st.sampled_from(paths), values, max_size=8).map(nest)


class AnyInputTests(SynchronousTestCase):
    """Loading ends with a configuration or with sentences, never otherwise."""

    def judge(self, loader, *args, **kwargs):
        try:
            loaded = loader(*args, **kwargs)
        except ConfigError as fault:
            self.assertTrue(fault.problems)
            for problem in fault.problems:
                self.assertTrue(problem.isprintable(), problem)
                problem.encode()
        else:
            self.assertIsInstance(loaded, Loaded)
            self.assertEqual(len(describe(loaded)), len(loaded.sources))

    @settings(deadline=None)
    @given(st.text() | st.text("{}[]:,'\"\n\t -&*!|>%@#ab1", max_size=60))
    def test_any_text(self, text):
        self.judge(load, text)
        self.judge(load_as_agent, text)
        self.judge(load, text, name="gw.json")

    @settings(deadline=None)
    @given(st.binary(max_size=100))
    def test_any_bytes(self, content):
        self.judge(load, content)

    @settings(max_examples=200, deadline=None)
    @given(trees(GatewayConfig), trees(AgentConfig))
    def test_any_structure(self, of_gateway, of_agent):
        self.judge(load, yaml.safe_dump(of_gateway))
        self.judge(load, json.dumps(of_gateway), name="gw.json")
        self.judge(load_as_agent, yaml.safe_dump(of_agent))

    @settings(deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from([variable_of(key) for key in leaves(GatewayConfig)])
            | st.sampled_from([variable_of(key) for key in leaves(AgentConfig)])
            | st.text(max_size=10).map("GOTUNNEL_".__add__),
            st.text() | st.sampled_from(["true", "1", "[1, a]", "a,b", "null"]),
            max_size=4,
        )
    )
    def test_any_environment(self, environ):
        self.judge(load, environ=environ)
        self.judge(load_as_agent, environ=environ)

    @settings(deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from([*leaves(GatewayConfig), "tls", "nonsense"]),
            ATOMS | st.lists(ATOMS | st.dictionaries(st.text(max_size=3), ATOMS)),
            max_size=4,
        )
    )
    def test_any_options(self, options):
        self.judge(load, options=options)


class VocabularyTests(SynchronousTestCase):
    """Keys that exist are not also announced for later."""

    def test_later_keys_are_no_keys(self):
        for words in (GATEWAY, AGENT):
            for key in leaves(words.model):
                self.assertFalse(words.is_later(key), key)

    def test_short_names_set_keys(self):
        for words in (GATEWAY, AGENT):
            for key in words.short_names.values():
                self.assertIn(key, leaves(words.model))

    def test_reader_says_what_is_missing(self):
        self.assertRaises(OSError, reader_of(a="x"), "b")
