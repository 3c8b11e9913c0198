"""Settings that cannot be together, and warnings."""

from twisted.trial.unittest import SynchronousTestCase

from tests.config.loading import SECRET, load, load_as_agent, problems_of

API_OPEN = (
    "an API that others reach needs security.api.api_key or "
    "security.api.jwt_secret (or their files), security.api.allowed_ips or "
    "api.tls.client_ca (gw.yaml line 1)"
)
CONFLICTS = [
    ("log: {file: gw.log, access: json, access_file: gw.log}",
     "log.access_file: gw.log is log.file already; take another, or null "
     "(gw.yaml line 1)"),
    ("port_range: {from: 20, end: 19}",
     "port_range.end: must not be below port_range.from (20), but is 19 "
     "(gw.yaml line 1)"),
    ("port_range: {from: 21000}",
     "port_range.end: must not be below port_range.from (21000), but is 20000 "
     "(default)"),
    ("port_range: {from: 10000, end: 40000}",
     "port_range.end: the range 10000-40000 holds 30001 ports, limit 30000 "
     "(gw.yaml line 1)"),
    ("api: {listen_port: 9000}",
     "api.listen_port: 9000 is tunnel.listen_port already; take another "
     "(gw.yaml line 1)"),
    ("api: {bind: 10.0.0.1}", f"api.bind: 10.0.0.1: {API_OPEN}"),
    ("api: {bind: ''}", f"api.bind: all interfaces: {API_OPEN}"),
    ("security: {api: {api_key_in_query: true}}",
     "security.api.api_key_in_query: there is no security.api.api_key to be in a "
     "query (gw.yaml line 1)"),
    (f"tunnel: {{allow_legacy: true, auth_token: {SECRET}}}",
     "tunnel.allow_legacy: true together with tunnel.auth_token would admit agents "
     "without it; take auto or false (gw.yaml line 1)"),
    ("{tunnel: {allow_legacy: true}, security: {tunnel: {enable_tls: true, "
     "cert_file: a, client_ca: b}}}",
     "tunnel.allow_legacy: true together with security.tunnel.client_ca would admit "
     "agents without it; take auto or false (gw.yaml line 1)"),
    (f"tunnel: {{auth_token: gtk_0a1b2c3d_{'A' * 43}}}",
     "tunnel.auth_token: is an agent's own key, which the agent alone needs; make up "
     "another secret (gw.yaml line 1)"),
    ("security: {api: {enable_auth: true}}",
     "security.api.enable_auth: true, and yet there is nothing to ask for; set "
     "security.api.api_key, security.api.jwt_secret (or their files) or "
     "security.api.jwt_public_key_file (gw.yaml line 1)"),
    (f"security: {{api: {{enable_auth: false, api_key: {SECRET}}}}}",
     "security.api.enable_auth: false, and yet there are credentials; take them out, "
     "or take true (gw.yaml line 1)"),
    ("metrics: {require_auth: true}",
     "metrics.require_auth: true, and yet there is nothing to ask for; set "
     "security.api.api_key, security.api.jwt_secret (or their files), "
     "security.api.jwt_public_key_file or api.tls.client_ca (gw.yaml line 1)"),
    ("security: {api: {jwt_audience: ops}}",
     "security.api.jwt_audience: there is no jwt_secret or jwt_public_key_file to "
     "check tokens by (gw.yaml line 1)"),
    ("security: {tunnel: {enable_tls: true}}",
     "security.tunnel.cert_file: TLS needs a certificate; `gotunnel cert` makes one "
     "(default)"),
    ("api: {tls: {enabled: true, key_file: k}}",
     "api.tls.cert_file: TLS needs a certificate; `gotunnel cert` makes one "
     "(default)"),
    ("tunnel: {legacy_low_water: 2097152}",
     "tunnel.legacy_low_water: must be below tunnel.legacy_high_water (2097152), but "
     "is 2097152 (gw.yaml line 1)"),
    ("protocols: [{listen: ':9000', target: 'a:1'}]",
     "protocols.0.listen: port 9000 is tunnel.listen_port already; take another "
     "(gw.yaml line 1)"),
    ("protocols: [{listen: '10.0.0.1:8080', target: 'a:1'}]",
     "protocols.0.listen: port 8080 is api.listen_port already; take another "
     "(gw.yaml line 1)"),
    ("protocols: [{listen: ':1', target: 'a:1'},\n {listen: ':1', target: 'b:1'}]",
     "protocols.1.listen: :1 is taken by an entry above (gw.yaml line 2)"),
    ("protocols: [{name: quic, listen: ':1', target: 'a:1'}]",
     "protocols.0.name: quic: not available yet (gw.yaml line 1)"),
    ("debug: {enabled: true, listen_port: 9000}",
     "debug.listen_port: 9000 is tunnel.listen_port already; take another "
     "(gw.yaml line 1)"),
    ("health: {listen_port: 8080}",
     "health.listen_port: 8080 is api.listen_port already; take another "
     "(gw.yaml line 1)"),
    ("{health: {listen_port: 6060}, debug: {enabled: true, listen_port: 6060}}",
     "debug.listen_port: 6060 is health.listen_port already; take another "
     "(gw.yaml line 1)"),
    ("{health: {listen_port: 6}, protocols: [{listen: ':6', target: 'a:1'}]}",
     "protocols.0.listen: port 6 is health.listen_port already; take another "
     "(gw.yaml line 1)"),
    ("debug: {bind: ''}",
     "debug.bind: all interfaces: the debug site shows everything to everybody who "
     "reaches it; take 127.0.0.1 or ::1, and go there by SSH (gw.yaml line 1)"),
    ("{debug: {enabled: true}, protocols: [{listen: ':6060', target: 'a:1'}]}",
     "protocols.0.listen: port 6060 is debug.listen_port already; take another "
     "(gw.yaml line 1)"),
]  # fmt: skip
FITTING = [
    "debug: {listen_port: 9000}",
    "debug: {enabled: true, bind: '::1'}",
    "port_range: {from: 10000, end: 39999}",
    "port_range: {from: 20, end: 20}",
    "{tunnel: {enabled: false}, api: {listen_port: 9000}}",
    "{tunnel: {enabled: false}, protocols: [{listen: ':9000', target: 'a:1'}]}",
    f"{{api: {{bind: '::'}}, security: {{api: {{api_key: {SECRET}}}}}}}",
    "{api: {bind: '::'}, security: {api: {allowed_ips: [10.0.0.0/8]}}}",
    "{api: {bind: '::', tls: {enabled: true, cert_file: a, client_ca: b}}}",
    "{api: {bind: '::'}, security: {allow_unsafe: [open_api]}}",
    "security: {tunnel: {enable_tls: true, cert_file: a}}",
    f"security: {{api: {{enable_auth: true, jwt_secret: {SECRET}{SECRET}}}}}",
    "{api: {bind: '::'}, security: {api: {jwt_public_key_file: a}}}",
    "security: {api: {enable_auth: false}}",
    "metrics: {require_auth: false}",
    f"{{metrics: {{require_auth: true}}, security: {{api: {{api_key: {SECRET}}}}}}}",
    "{metrics: {require_auth: true}, api: {tls: {enabled: true, cert_file: a, "
    "client_ca: b}}}",
    "api: {bind: 127.0.0.2}",
    "api: {bind: '::1'}",
    "tunnel: {allow_legacy: true}",
    f"tunnel: {{allow_legacy: auto, auth_token: {SECRET}}}",
    "protocols: [{listen: ':9000', target: 'a:1', enabled: false}]",
    "protocols: [{listen: '127.0.0.1:1', target: 'a:1'}, {listen: '[::1]:1', "
    "target: 'a:1'}]",
]
AGENT_CONFLICTS = [
    ("reconnect: {initial: 31}",
     "reconnect.max: must not be below reconnect.initial (31), but is 30 (default)"),
    ("legacy_high_water: 5000\nlegacy_low_water: 6000",
     "legacy_low_water: must be below legacy_high_water (5000), but is 6000 "
     "(agent.yaml line 2)"),
    (f"token: gtk_0a1b2c3d_{'A' * 42}",
     "token: begins like an agent's key and is none; it is one line, as `gotunnel "
     "agent-key create` prints it (agent.yaml line 1)"),
    ("expose: [80, 80]",
     "expose.1.name: tcp-80 is taken by an entry above (agent.yaml line 1)"),
    ("expose: [{local: 80, port: 7}, {local: 81, port: 7}]",
     "expose.1.port: 7 is taken by an entry above (agent.yaml line 1)"),
    ("expose: ['192.168.1.5:80']",
     "expose.0.local: 192.168.1.5:80 is not among allow_targets; add it there "
     "(agent.yaml line 1)"),
    ("expose: ['192.168.1.5:80']\nallow_targets: ['192.168.0.0/16:22,81-90']",
     "expose.0.local: 192.168.1.5:80 is not among allow_targets; add it there "
     "(agent.yaml line 1)"),
    ("expose: ['192.168.1.5:80']\nallow_targets: ['192.168.1.5:81', nas, 10.0.0.0/8]",
     "expose.0.local: 192.168.1.5:80 is not among allow_targets; add it there "
     "(agent.yaml line 1)"),
]  # fmt: skip
AGENT_FITTING = [
    "expose: [80, 81, 'nas:82']",
    "expose: ['127.3.2.1:80', '[::1]:81']",
    "{expose: ['192.168.1.5:80'], allow_targets: [192.168.1.0/24]}",
    "{expose: ['192.168.1.5:80'], allow_targets: ['192.168.1.5:80']}",
    "{expose: ['192.168.1.5:80'], allow_targets: ['192.168.0.0/16:22,79-81']}",
    "{expose: ['192.168.1.5:80'], allow_targets: [192.168.1.5]}",
    "{expose: ['[fd00::5]:80'], allow_targets: ['fd00:0::5']}",
    "reconnect: {initial: 30}",
]


class ConflictTests(SynchronousTestCase):
    """Each rule with the sentence it leads to, and what it lets pass."""

    def test_gateway(self):
        for text, problem in CONFLICTS:
            self.assertEqual(problems_of(text), [problem], text)
        for text in FITTING:
            self.assertEqual(problems_of(text), [], text)

    def test_agent(self):
        for text, problem in AGENT_CONFLICTS:
            self.assertEqual(problems_of(text, loader=load_as_agent), [problem], text)
        for text in AGENT_FITTING:
            self.assertEqual(problems_of(text, loader=load_as_agent), [], text)


OTHER = "9f8e7d6c5b4a39281706f5e4"


class WarningTests(SynchronousTestCase):
    """What is said loudly at start."""

    def test_no_token(self):
        [warning] = load().warnings
        self.assertIn("NO CREDENTIAL: whoever reaches port 9000", warning)
        [warning] = load_as_agent().warnings
        self.assertIn("NO CREDENTIAL", warning)

    def test_nothing_to_warn_of(self):
        environ = {"GOTUNNEL_TOKEN": SECRET}
        self.assertEqual(load(environ=environ).warnings, ())
        self.assertEqual(load("tunnel: {enabled: false}").warnings, ())
        self.assertEqual(load_as_agent(environ=environ).warnings, ())

    def test_a_certificate_is_a_credential(self):
        tls = "{enable_tls: true, cert_file: a, client_ca: b}"
        self.assertEqual(load(f"security: {{tunnel: {tls}}}").warnings, ())
        shown = load_as_agent("tls: {enabled: true, cert_file: a}")
        self.assertEqual(shown.warnings, ())

    def test_files_without_tls(self):
        environ = {"GOTUNNEL_TOKEN": SECRET}
        for text, key in (
            ("security: {tunnel: {cert_file: a}}", "security.tunnel"),
            ("api: {tls: {client_ca: a}}", "api.tls"),
        ):
            [warning] = load(text, environ=environ).warnings
            self.assertIn(f"NOT SEALED: {key} names files", warning)

    def test_dangers_that_are_accepted(self):
        environ = {"GOTUNNEL_TOKEN": SECRET}
        for text, words in (
            ("{api: {bind: ''}, security: {allow_unsafe: [open_api]}}",
             "takes orders from ANYBODY"),
            ("security: {allow_unsafe: [readable_keys]}", "accepts private keys"),
        ):  # fmt: skip
            [warning] = load(text, environ=environ).warnings
            self.assertIn("UNSAFE", warning)
            self.assertIn(words, warning)
        [warning] = load_as_agent(
            "tls: {allow_readable_key: true}", environ=environ
        ).warnings
        self.assertIn("UNSAFE: tls.allow_readable_key", warning)

    def test_api_guarded_by_addresses_alone(self):
        text = "{api: {bind: ''}, security: {api: {allowed_ips: [10.0.0.0/8]}}}"
        [_, warning] = load(text).warnings
        self.assertIn("on all interfaces port 8080 is guarded by", warning)
        environ = {"GOTUNNEL_API_KEY": SECRET, "GOTUNNEL_TOKEN": SECRET}
        self.assertEqual(load(text, environ=environ).warnings, ())

    def test_a_clients_key_that_replaces_the_gateways(self):
        """Neither of them is shown; the same key twice is no news."""
        environ = {"GOTUNNEL_API_KEY": OTHER, "GOTUNNEL_TOKEN": SECRET}
        given = f"security: {{api: {{api_key: {SECRET}}}}}"
        named = "security: {api: {api_key_file: key}}"
        for text, files in (
            (given, {}),
            (named, {"key": SECRET + "\n"}),
            (named, {}),
        ):
            loaded = load(text, environ=environ, **files)
            [warning] = loaded.warnings
            self.assertIn("GOTUNNEL_API_KEY stands above security.api.api_key", warning)
            self.assertIn("gw.yaml line 1", warning)
            self.assertNotIn(SECRET, warning)
            self.assertNotIn(OTHER, warning)
            key = loaded.config.security.api.api_key
            self.assertEqual(key and key.get_secret_value(), OTHER)
        environ["GOTUNNEL_API_KEY"] = SECRET
        self.assertEqual(load(given, environ=environ).warnings, ())
        self.assertEqual(load(named, environ=environ, key=SECRET).warnings, ())
        self.assertEqual(load("", environ=environ).warnings, ())
        del environ["GOTUNNEL_API_KEY"]
        environ["GOTUNNEL_SECURITY__API__API_KEY"] = OTHER
        self.assertEqual(load(given, environ=environ).warnings, ())
