"""Variables and options."""

from twisted.trial.unittest import SynchronousTestCase

from gateway.config.environment import interpret
from gateway.config.gateway import GatewayConfig
from gateway.config.language import language_of
from gateway.config.parse import AGENT, GATEWAY
from gateway.config.shape import leaves
from gateway.config.vocabulary import variable_of
from tests.config.loading import SECRET, load, load_as_agent, problems_of

KINDS = {key: leaf.kind for key, leaf in leaves(GatewayConfig).items()}
TEXTS = [
    ("tunnel.listen_port", "9001", 9001),
    ("tunnel.listen_port", "x", "x"),
    ("tunnel.listen_port", "{", "{"),
    ("tunnel.listen_port", "", None),
    ("tunnel.enabled", "off", False),
    ("tunnel.allow_legacy", "auto", "auto"),
    ("tunnel.allow_legacy", "true", True),
    ("tunnel.auth_token", "null", "null"),
    ("tunnel.auth_token", "0123", "0123"),
    ("tunnel.auth_token", "a: b #c", "a: b #c"),
    ("tunnel.auth_token_file", "null", None),
    ("log.file", "null", None),
    ("log.file", "17", "17"),
    ("database.path", "null", "null"),
    ("security.port_range.blacklist", "22,3389", [22, 3389]),
    ("security.port_range.blacklist", "[22, 3389]", [22, 3389]),
    ("security.port_range.blacklist", "", []),
    ("security.api.allowed_ips", "10.0.0.0/8, ::1", ["10.0.0.0/8", "::1"]),
    ("direct.allow_targets", "[::1]:80,nas", ["[::1]:80", "nas"]),
    (
        "direct.allow_targets",
        '["10.0.0.0/8:80,443", nas]',
        ["10.0.0.0/8:80,443", "nas"],
    ),
    ("direct.allow_targets", "null", None),
]


class TextTests(SynchronousTestCase):
    """What a variable's text stands for."""

    def test_by_kind_of_key(self):
        for key, text, value in TEXTS:
            self.assertEqual(interpret(text, KINDS[key]), value, f"{key}={text}")


class VariableTests(SynchronousTestCase):
    """Names of variables."""

    def test_names_lead_back_to_their_keys(self):
        for words in (GATEWAY, AGENT):
            for key in leaves(words.model):
                self.assertEqual(words.key_of(variable_of(key)), key)

    def test_each_key_has_its_variable(self):
        config = load(
            environ={
                "GOTUNNEL_PORT_RANGE__FROM": "12000",
                "GOTUNNEL_API__LISTEN_PORT": "8088",
                "GOTUNNEL_PROTOCOLS": "[{listen: ':81', target: 'nas:80'}]",
            }
        ).config
        self.assertEqual(config.port_range.first, 12000)
        self.assertEqual(config.api.listen_port, 8088)
        self.assertEqual(config.protocols[0].listen.port, 81)

    def test_short_names_of_secrets(self):
        environ = {"GOTUNNEL_TOKEN": SECRET, "GOTUNNEL_API_KEY": SECRET}
        config = load(environ=environ).config
        self.assertEqual(config.tunnel.auth_token.get_secret_value(), SECRET)
        self.assertEqual(config.security.api.api_key.get_secret_value(), SECRET)
        token = load_as_agent(environ=environ).config.token
        self.assertEqual(token.get_secret_value(), SECRET)

    def test_secrets_are_stripped_like_those_in_files(self):
        for around in (" {} ", "{}\n", "{}\r\n", "\t{}", "\ufeff{}\n"):
            text = around.format(SECRET)
            environ = {"GOTUNNEL_TOKEN": text, "GOTUNNEL_API_KEY": text}
            config = load(environ=environ).config
            self.assertEqual(config.tunnel.auth_token.get_secret_value(), SECRET)
            files = load("security: {api: {api_key_file: key}}", key=text).config
            found = files.security.api.api_key
            self.assertEqual(config.security.api.api_key, found)
            self.assertEqual(found.get_secret_value(), SECRET)

    def test_an_empty_variable_opens_nothing(self):
        """Neither lists, addresses nor credentials are replaced by nothing."""
        for model, loader in ((GATEWAY, load), (AGENT, load_as_agent)):
            for key in leaves(model.model):
                for text in ("", " "):
                    if key == "metrics.namespace" or key == "tunnel.auth_token":
                        continue
                    [problem] = problems_of(
                        environ={variable_of(key): text}, loader=loader
                    )
                    self.assertIn(f"{key}: is empty", problem)

    def test_an_empty_list_is_written(self):
        text = "security: {api: {allowed_ips: [10.0.0.0/8]}}"
        variable = "GOTUNNEL_SECURITY__API__ALLOWED_IPS"
        self.assertEqual(
            (), load(text, environ={variable: "[]"}).config.security.api.allowed_ips
        )
        [problem] = problems_of(text, environ={variable: ""})
        self.assertIn("write [] for an empty list", problem)

    def test_two_names_of_one_key(self):
        environ = {"GOTUNNEL_TOKEN": SECRET, "GOTUNNEL_TUNNEL__AUTH_TOKEN": SECRET}
        self.assertEqual(
            problems_of(environ=environ),
            [
                "tunnel.auth_token: set by variable GOTUNNEL_TOKEN and by "
                "variable GOTUNNEL_TUNNEL__AUTH_TOKEN"
            ],
        )

    def test_unknown_names_are_errors(self):
        for name, hint in (
            ("GOTUNNEL_API_LISTEN_PORT", "; did you mean GOTUNNEL_API__LISTEN_PORT?"),
            ("GOTUNNEL_LOG_LEVL", "; did you mean GOTUNNEL_LOG_LEVEL?"),
            ("GOTUNNEL_ZZZZZ", ""),
            ("GOTUNNEL_tunnel__listen_port", ""),
            ("GOTUNNEL_\x1b\udcff", ""),
        ):
            [problem] = problems_of(environ={name: "1"})
            shown = name.encode("ascii", "backslashreplace").decode()
            shown = shown.replace("\x1b", "\\x1b")
            self.assertEqual(problem, f"variable {shown}: unknown{hint}")

    def test_a_block_is_no_key(self):
        self.assertEqual(len(problems_of(environ={"GOTUNNEL_TUNNEL": "{}"})), 1)

    def test_other_variables_are_left_alone(self):
        environ = {
            "GOTUNNEL_ENV": "production",
            "GOTUNNEL_CONFIG": "x.yaml",
            "GOTUNNEL_URL": "http://localhost:8080",
            "GOTUNNEL_CONNECTIONS": "999",  # the agent's
            "GOTUNNEL_SERVICE_HOST": "10.0.0.1",
            "GOTUNNEL_SERVICE_PORT": "9000",
            "GOTUNNEL_SERVICE_PORT_LINK": "9000",
            "GOTUNNEL_API_SERVICE_HOST": "10.0.0.1",
            "GOTUNNEL_PORT": "tcp://10.0.0.1:9000",
            "GOTUNNEL_PORT_9000_TCP": "tcp://10.0.0.1:9000",
            "GOTUNNEL_PORT_9000_TCP_ADDR": "10.0.0.1",
            "NOT_GOTUNNEL_X": "1",
            "HOME": "/root",
        }
        self.assertEqual(problems_of(environ=environ), [])
        self.assertEqual(len(problems_of(environ={"GOTUNNEL_PORT": "9000"})), 1)
        environ = {"GOTUNNEL_TUNNEL__LISTEN_PORT": "x"}  # the gateway's
        self.assertEqual(problems_of(environ=environ, loader=load_as_agent), [])


class OptionTests(SynchronousTestCase):
    """Values of the command line."""

    def test_text_and_values(self):
        options = {"api.listen_port": "8081", "tunnel.listen_port": 9001}
        config = load(options=options).config
        self.assertEqual((config.api.listen_port, config.tunnel.listen_port),
                         (8081, 9001))  # fmt: skip

    def test_none_is_not_given(self):
        loaded = load("log_level: warn", options={"log_level": None, "nonsense": None})
        self.assertEqual(loaded.config.log_level, "warn")

    def test_exposed_ports(self):
        options = {"expose": ["8080"], "server": "gw:9001"}
        config = load_as_agent(options=options).config
        self.assertEqual(config.expose[0].local.port, 8080)
        self.assertEqual(config.server[0].port, 9001)
        self.assertEqual(
            load_as_agent(options={"expose": "8080,81"}).config.expose[1].name,
            "tcp-81",
        )

    def test_unknown_option(self):
        self.assertEqual(
            problems_of(options={"api.prt": 1}),
            ["api.prt: unknown key; did you mean api.listen_port? (command line)"],
        )

    def test_unknown_key_of_an_entry(self):
        [problem] = problems_of(
            options={"protocols": [{"listen": ":1", "target": "a:1", "x": "y"}]}
        )
        self.assertEqual(problem, "protocols.0.x: unknown key (command line)")


class LanguageTests(SynchronousTestCase):
    """Language of messages."""

    def test_configured_wins(self):
        self.assertEqual(language_of("en", {"LANG": "zh_CN.UTF-8"}), "en")

    def test_locale(self):
        for environ, language in (
            ({}, "en"),
            ({"LANG": "C"}, "en"),
            ({"LANG": "zh_CN.UTF-8"}, "zh"),
            ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
            ({"LANG": "C", "LC_ALL": "", "LC_MESSAGES": "zh_TW"}, "zh"),
        ):
            self.assertEqual(language_of(None, environ), language, environ)

    def test_problems_follow_the_locale(self):
        text, environ = "tunnel: {listen_port: 0}", {"LANG": "zh_CN.UTF-8"}
        self.assertIn("内网穿透端口必须大于 0", problems_of(text, environ=environ)[0])
        text += "\nlanguage: en"
        self.assertIn("must be greater", problems_of(text, environ=environ)[0])
