"""The two twistd commands: options, checks, and the service that comes of them."""

import io
import json
import os
import subprocess
import sys
from typing import Any, cast

from twisted.application.service import IServiceMaker
from twisted.internet import reactor as global_reactor  # noqa: TID251 - what taps use
from twisted.logger import formatEvent, globalLogPublisher
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from gateway import __version__, agent_tap, tap
from gateway.config import files
from gateway.ops.levels import Levels
from gateway.ops.process import LoggedService
from gateway.ops.process_log import ProcessLog
from tests.certificates import Authority

SECRET = "0f1e2d3c4b5a69788796a5b4"


class TapCase(SynchronousTestCase):
    """A command line in a folder of its own, without an environment.

    Attributes:
        output: what was printed.
        errors: what was printed for people to act on.
    """

    def setUp(self):
        self.output, self.errors = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.output)
        self.patch(sys, "stderr", self.errors)
        for name in list(os.environ):
            if name.startswith("GOTUNNEL_"):
                self.patch(os, "environ", {**os.environ})
                os.environ.pop(name)
        self.folder = self.mktemp()
        os.mkdir(self.folder)

    def file(self, text, name="some.yaml", mode=0o600):
        """Write a file and return its path."""
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as found:
            found.write(text)
        os.chmod(path, mode)
        return path

    def parse(self, options, *words):
        """Parse a command line that is in order."""
        options.parseOptions(list(words))
        return options.loaded.config

    def ends(self, options, *words):
        """Parse a command line that ends the process; return its status."""
        return self.assertRaises(SystemExit, options.parseOptions, list(words)).code


class PluginTests(SynchronousTestCase):
    """What twistd offers."""

    def test_both_commands_are_there(self):
        makers: list[Any] = list(getPlugins(IServiceMaker))
        found = {
            maker.tapname: maker.module
            for maker in makers
            if maker.module.startswith("gateway.")
        }
        self.assertEqual(
            {"gotunnel": "gateway.tap", "gotunnel-agent": "gateway.agent_tap"}, found
        )


class AgentTLSOptionsTests(TapCase):
    """TLS, key and name of an agent on the command line."""

    def test_each_is_there_and_turns_tls_on(self):
        for name, key in (
            ("--ca-file", "ca_file"),
            ("--cert-file", "cert_file"),
            ("--server-name", "server_name"),
            ("--fingerprint", "fingerprint"),
        ):
            value = "ab" * 32 if key == "fingerprint" else os.path.abspath("x.test")
            value = "x.test" if key == "server_name" else value
            tls = self.parse(agent_tap.Options(), name, value).tls
            self.assertEqual((True, value), (tls.enabled, getattr(tls, key)))
        self.assertTrue(self.parse(agent_tap.Options(), "--tls").tls.enabled)
        self.assertFalse(self.parse(agent_tap.Options()).tls.enabled)

    def test_a_key_of_a_certificate(self):
        tls = self.parse(
            agent_tap.Options(),
            *("--cert-file", "/a.crt", "--key-file", "/a.key"),
            *("--key-password-file", "/a.pw"),
        ).tls
        self.assertEqual(("/a.key", "/a.pw"), (tls.key_file, tls.key_password_file))


class CheckConfigTests(TapCase):
    """--check-config opens what the configuration names."""

    def setUp(self):
        super().setUp()
        self.authority = Authority(os.path.abspath(self.mktemp()))
        self.cert, self.key = self.authority.issue("gw", "localhost")
        self.database = os.path.join(str(self.authority.folder), "db", "m.db")

    def check(self, **changes):
        """Check a gateway with TLS on both ports; return the exit status."""
        block = {"cert_file": self.cert, "key_file": self.key, **changes}
        text = {
            "api": {"tls": {"enabled": True, **block}},
            "security": {"tunnel": {"enable_tls": True, **block}},
            "database": {"path": self.database},
        }
        path = self.file(json.dumps(text))
        return self.ends(tap.Options(), "--config", path, "--check-config")

    def assert_said(self, words, **changes):
        self.assertEqual(1, self.check(**changes))
        said = self.errors.getvalue()
        for key in ("api.tls", "security.tunnel"):
            self.assertRegex(said, f"{key}: .*{words}")

    def test_what_can_be_used(self):
        self.assertEqual(0, self.check(), self.errors.getvalue())

    def test_a_missing_key(self):
        self.assert_said("No such file", key_file="/nowhere/gw.key")

    def test_a_key_of_another_certificate(self):
        self.assert_said("gw", key_file=self.authority.issue("other", "x")[1])

    def test_a_key_that_everybody_can_read(self):
        os.chmod(self.key, 0o644)
        self.assert_said("every user of this machine")

    def test_an_encrypted_key(self):
        key = self.authority.issue("sealed", "x", password=b"a password")[1]
        self.assert_said("is encrypted", key_file=key)

    def test_a_file_that_is_no_key(self):
        os.chmod(self.cert, 0o600)
        self.assert_said("holds no private key", key_file=self.cert)

    def test_an_issuer_that_is_missing(self):
        self.assert_said("No such file", client_ca="/nowhere/ca.crt")

    def test_a_folder_that_cannot_be_made(self):
        self.database = f"{self.cert}/m.db"
        self.assertEqual(1, self.check())
        self.assertIn("database.path", self.errors.getvalue())
        self.assertIn("is no folder", self.errors.getvalue())

    def test_a_folder_that_cannot_be_written(self):
        allowed = os.access
        folder = str(self.authority.folder)

        def access(path, mode):
            return str(path) != folder and allowed(path, mode)

        self.patch(os, "access", access)  # root may write everywhere
        self.assertEqual(1, self.check())
        self.assertIn("cannot write to the folder", self.errors.getvalue())

    def test_a_public_key_of_tokens(self):
        path = self.file(
            f"security: {{api: {{jwt_public_key_file: {self.cert}}}}}\n"
            f"database: {{path: {self.database}}}"
        )
        self.assertEqual(1, self.ends(tap.Options(), "-c", path, "--check-config"))
        self.assertIn("jwt_public_key_file", self.errors.getvalue())

    def test_an_agent(self):
        os.chmod(self.key, 0o644)
        path = self.file(
            f"tls: {{enabled: true, cert_file: {self.cert}, key_file: {self.key}}}"
        )
        status = self.ends(agent_tap.Options(), "-c", path, "--check-config")
        self.assertEqual(1, status)
        self.assertIn("tls: ", self.errors.getvalue())
        self.assertIn("every user of this machine", self.errors.getvalue())


class ImportTests(SynchronousTestCase):
    """What a process loads, and pays for in memory."""

    UNWANTED = (
        "gateway.api",
        "gateway.store",
        "gateway.debug.site",
        "jwt",
        "klein",
        "prometheus_client",
        "sqlite3",
        "twisted.enterprise",
        "twisted.web",
        "werkzeug",
    )

    def test_an_agent_loads_nothing_of_the_api_and_the_store(self):
        words = (
            "import sys, gateway.agent_tap as tap\n"
            "options = tap.Options()\n"
            "options.parseOptions(['--server', 'localhost:9000'])\n"
            "tap.makeService(options)\n"
            "print(*sys.modules)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", words], capture_output=True, text=True, check=True
        )
        loaded = done.stdout.split()
        self.assertIn("gateway.agent.service", loaded)
        self.assertEqual([one for one in loaded if one in self.UNWANTED], [])


class GatewayOptionsTests(TapCase):
    """twistd gotunnel."""

    def test_without_options_the_defaults_stand(self):
        config = self.parse(tap.Options())
        self.assertEqual(
            ("127.0.0.1", 8080, "info"),
            (config.api.bind, config.api.listen_port, config.log_level),
        )

    def test_options_stand_above_the_file(self):
        path = self.file("api: {listen_port: 7001}\nlog_level: warn\n")
        config = self.parse(tap.Options(), "--config", path)
        self.assertEqual((7001, "warn"), (config.api.listen_port, config.log_level))
        config = self.parse(
            tap.Options(), "-c", path, "--host", "::1", "--port", "7002", "--debug"
        )
        self.assertEqual(
            ("::1", 7002, "debug"),
            (config.api.bind, config.api.listen_port, config.log_level),
        )

    def test_the_environment_stands_between(self):
        self.patch(os, "environ", {**os.environ, "GOTUNNEL_API__LISTEN_PORT": "7005"})
        path = self.file("api: {listen_port: 7001}")
        config = self.parse(tap.Options(), "--config", path)
        self.assertEqual(7005, config.api.listen_port)

    def test_every_problem_is_said_at_once(self):
        path = self.file("api: {listen_prot: 1}\ntunnel: {listen_port: 70000}\n")
        status = self.ends(tap.Options(), "--config", path, "--port", "abc")
        self.assertEqual(1, status)
        said = self.errors.getvalue()
        self.assertIn("3 problems in the configuration", said)
        for part in ("listen_prot", "listen_port", "70000", "abc"):
            self.assertIn(part, said)

    def test_a_file_that_is_missing(self):
        self.assertEqual(1, self.ends(tap.Options(), "--config", "/nowhere/gw.yaml"))
        self.assertIn("/nowhere/gw.yaml", self.errors.getvalue())

    def test_a_check_prints_the_settings_without_secrets(self):
        path = self.file(f"tunnel: {{auth_token: {SECRET}}}")
        self.assertEqual(0, self.ends(tap.Options(), "-c", path, "--check-config"))
        said = self.output.getvalue()
        self.assertIn("tunnel.listen_port", said)
        self.assertTrue(said.endswith("configuration ok\n"))
        self.assertNotIn(SECRET, said + self.errors.getvalue())

    def test_a_check_refuses_a_secret_that_every_user_can_read(self):
        self.patch(files, "_is_shut", lambda name: False)  # wherever this runs
        path = self.file(f"tunnel: {{auth_token: {SECRET}}}", mode=0o644)
        self.assertEqual(1, self.ends(tap.Options(), "-c", path, "--check-config"))
        self.assertIn("open to every user", self.errors.getvalue())
        self.assertNotIn(SECRET, self.output.getvalue() + self.errors.getvalue())

    def test_a_check_prints_warnings_too(self):
        self.assertEqual(0, self.ends(tap.Options(), "--check-config"))
        self.assertIn("WARNING: ", self.errors.getvalue())

    def test_a_check_of_a_bad_file(self):
        path = self.file("nonsense: 1")
        self.assertEqual(1, self.ends(tap.Options(), "-c", path, "--check-config"))
        self.assertNotIn("configuration ok", self.output.getvalue())

    def test_the_version(self):
        self.assertEqual(0, self.ends(tap.Options(), "--version"))
        self.assertEqual(f"gotunnel {__version__}\n", self.output.getvalue())

    def test_help_names_every_option(self):
        text = str(tap.Options())
        for option in ("--config", "--host", "--port", "--check-config", "--debug"):
            self.assertIn(option, text)

    def test_unknown_options_are_refused(self):
        self.assertRaises(UsageError, tap.Options().parseOptions, ["--nonsense"])


class AgentOptionsTests(TapCase):
    """twistd gotunnel-agent."""

    def test_options_stand_above_the_file(self):
        path = self.file("server: one.test:9000\nname: file\nexpose: [1]\n")
        token = self.file(SECRET, "token")
        config = self.parse(
            agent_tap.Options(),
            *("--config", path, "--name", "web", "--token-file", token),
            *("--server", "two.test:9001", "--server", "three.test:9002"),
            *("--expose", "8080", "--expose", "127.0.0.2:81"),
            *("--allow-target", "127.0.0.0/8", "--debug"),
        )
        self.assertEqual(
            [("two.test", 9001), ("three.test", 9002)],
            [(one.host, one.port) for one in config.server],
        )
        self.assertEqual([8080, 81], [one.local.port for one in config.expose])
        self.assertEqual(("web", "debug"), (config.name, config.log_level))
        self.assertEqual(SECRET, config.token.get_secret_value())
        self.assertEqual(["127.0.0.0/8"], [str(one) for one in config.allow_targets])

    def test_without_options_the_file_stands(self):
        path = self.file("server: one.test:9000\nname: file\n")
        config = self.parse(agent_tap.Options(), "--config", path)
        self.assertEqual(("file", "one.test"), (config.name, config.server[0].host))

    def test_every_problem_is_said_at_once(self):
        status = self.ends(
            agent_tap.Options(), "--server", "a:b", "--expose", "0", "--name", "no good"
        )
        self.assertEqual(1, status)
        self.assertIn("3 problems", self.errors.getvalue())

    def test_a_check(self):
        self.assertEqual(0, self.ends(agent_tap.Options(), "--check-config"))
        self.assertIn("configuration ok", self.output.getvalue())

    def test_the_version(self):
        self.assertEqual(0, self.ends(agent_tap.Options(), "--version"))
        self.assertIn(__version__, self.output.getvalue())

    def test_help_names_every_option(self):
        text = str(agent_tap.Options())
        for option in (
            *("--config", "--name", "--token-file", "--check-config", "--debug"),
            *("--server", "--expose", "--allow-target"),
        ):
            self.assertIn(option, text)

    def test_an_address_is_announced_at_once(self):
        self.patch(sys, "__stdout__", self.output)
        agent_tap._announce("tcp://gw.test:10001")
        self.assertEqual(
            "public address: tcp://gw.test:10001\n", self.output.getvalue()
        )
        self.patch(sys, "__stdout__", None)
        agent_tap._announce("tcp://gw.test:10001")


class Built:
    """Takes the place of build_gateway and build_agent.

    Attributes:
        given: the positional arguments of the last call.
    """

    def __init__(self):
        self.given: tuple[Any, ...] = ()
        self.forced = self.reloads = 0

    def __call__(self, *given, **limits):
        self.given = given
        self.limits = limits
        return self

    def force(self):
        self.forced += 1

    def reload(self):
        self.reloads += 1


class ServiceTests(TapCase):
    """What twistd runs."""

    def setUp(self):
        super().setUp()
        self.built = Built()
        self.running: list[Any] = []
        self.ends_made: list[Any] = []
        test = self

        class End:
            """Notes what a process end is given."""

            def __init__(self, reactor, force, reload=None, log=None):
                self.force = force
                self.log = log
                self.reload = reload
                self.failures = []
                self.watched = False
                test.ends_made.append(self)

            def watch(self):
                self.watched = True

            def fail(self, why):
                self.failures.append(why)

        for module in (tap, agent_tap):
            self.patch(module, "ProcessEnd", End)
            self.patch(module, "raise_descriptor_limit", lambda: 1064)
            self.patch(module, "spare_the_collector", lambda: None)
            self.patch(module, "say_operator_errors_plainly", lambda: None)
            self.patch(module, "open_process_log", self.choose)
        self.patch(tap, "build_gateway", self.built)
        self.patch(agent_tap, "build_agent", self.built)
        self.patch(
            global_reactor, "callWhenRunning", lambda *call: self.running.append(call)
        )

    def choose(self, twistd, settings, clock):
        self.chosen = (dict(twistd), settings)
        self.log = ProcessLog(settings, Levels(settings.level, settings.levels), None)
        return self.log

    def test_the_gateway(self):
        options = tap.Options()
        options.parent = cast(Any, {"nodaemon": 1})
        path = self.file("language: zh\nlog: {file: gw.log}\nlog_level: error\n")
        options.parseOptions(["--config", path])
        service = tap.makeService(options)
        self.assertIsInstance(service, LoggedService)
        config, reactor, language, fatal = self.built.given
        self.assertIs(options.loaded.config, config)
        self.assertIs(global_reactor, reactor)
        self.assertEqual("zh", language)
        self.assertEqual(
            {"connections": 1000, "log": self.log, "load": options.load},
            self.built.limits,
        )
        (end,) = self.ends_made
        self.assertTrue(end.watched)
        fatal("no store")
        self.assertEqual(["no store"], end.failures)
        end.force()
        end.reload()
        self.assertEqual((1, 1), (self.built.forced, self.built.reloads))
        twistd, how = self.chosen
        self.assertEqual({"nodaemon": 1}, twistd)
        self.assertEqual("error", how.level)
        self.assertTrue(how.file.endswith("gw.log"))
        self.assertIs(self.log, end.log)

    def test_the_levels_of_the_agent_are_read_again_with_the_rest(self):
        options = agent_tap.Options()
        path = self.file("log_level: error\n")
        options.parseOptions(["--config", path])
        agent_tap.makeService(options)
        self.assertEqual("gotunnel-agent", self.chosen[1].service)
        self.file("log_level: warn\nlog: {levels: {gateway.net: debug}}\n")
        self.ends_made[-1].reload()
        self.assertEqual("warn", self.log.levels.usual)
        self.assertEqual({"gateway.net": "debug"}, self.log.levels.configured())
        self.file("log_level: loud\n")
        self.ends_made[-1].reload()
        self.assertEqual("warn", self.log.levels.usual)

    def test_the_agent(self):
        options = agent_tap.Options()
        options.parseOptions(["--server", "gw.test:9000"])
        announced: list[str] = []
        service = agent_tap.makeService(options, announced.append)
        self.assertIsInstance(service, LoggedService)
        config, reactor, _, gave_up, announce = self.built.given
        self.assertIs(options.loaded.config, config)
        self.assertIs(global_reactor, reactor)
        self.assertEqual({"streams": 1000}, self.built.limits)
        announce("tcp://gw.test:1")
        self.assertEqual(["tcp://gw.test:1"], announced)
        gave_up()
        (end,) = self.ends_made
        self.assertEqual(1, len(end.failures))
        end.force()
        self.assertEqual(1, self.built.forced)
        self.assertEqual({}, self.chosen[0])

    def test_warnings_are_said_when_the_process_runs(self):
        events: list[Any] = []
        note: Any = events.append
        options = tap.Options()
        options.parseOptions([])
        tap.makeService(options)
        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        for call, *given in self.running:
            call(*given)
        lines = [formatEvent(event) for event in events]
        self.assertIn(f"gotunnel {__version__} starts", lines)
        self.assertTrue([line for line in lines if line.startswith("WARNING: ")])
