"""Files of settings and of secrets."""

import os
import shutil
import tempfile
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from gateway.config.agent import AgentConfig
from gateway.config.files import LARGEST_FILE, FileContent, read_file
from gateway.config.gateway import GatewayConfig
from gateway.config.parse import load_agent, load_gateway
from gateway.config.shape import leaves
from gateway.errors import ConfigError
from tests.config.loading import SECRET, load, load_as_agent, problems_of, reader_of


def no_name(name):
    """Read like `open` with a NUL in the name."""
    raise ValueError("embedded null byte")


KEY = SECRET[::-1]
READABLE = "security: {allow_unsafe: [readable_keys]}"
TOKEN_FILE = "tunnel: {auth_token_file: t}"


class ReadFileTests(SynchronousTestCase):
    """The real file system."""

    def test_content_and_mode(self):
        name = self.mktemp()
        with open(name, "wb") as file:
            file.write(b"x" * (LARGEST_FILE + 100))
        os.chmod(name, 0o640)
        found = read_file(name)
        self.assertEqual((len(found.content), found.mode), (LARGEST_FILE + 1, 0o640))

    def test_folder(self):
        self.assertRaises(OSError, read_file, ".")

    def test_a_folder_that_keeps_others_out_is_noticed(self):
        outer = tempfile.mkdtemp(dir="/var/tmp")  # which everybody may enter
        self.addCleanup(shutil.rmtree, outer)
        os.chmod(outer, 0o755)
        folder = os.path.join(outer, "inner")
        os.mkdir(folder)
        name = os.path.join(folder, "gw.yaml")
        with open(name, "wb") as file:
            file.write(b"log_level: warn")
        os.chmod(name, 0o644)
        for mode, is_shut in ((0o755, False), (0o711, False), (0o750, True)):
            os.chmod(folder, mode)
            found = read_file(name)
            self.assertEqual((0o644, is_shut), (found.mode, found.is_shut))
        os.chmod(folder, 0o755)
        os.chmod(outer, 0o700)
        self.assertTrue(read_file(name).is_shut)


class ConfigurationFileTests(SynchronousTestCase):
    """Files that are no configuration."""

    def test_more_than_a_mebibyte_is_refused(self):
        self.assertEqual(
            problems_of(" " * (LARGEST_FILE + 1)),
            ["'gw.yaml' is longer than 1048576 bytes, which is the limit"],
        )

    def test_other_encodings_are_refused(self):
        for content in ("ä: 1".encode("latin-1"), "a: 1".encode("utf-16")):
            self.assertEqual(
                problems_of(content), ["'gw.yaml' is not UTF-8 text (byte 0)"]
            )

    def test_byte_order_mark_is_no_text(self):
        self.assertEqual(problems_of(b"\xef\xbb\xbflog_level: warn"), [])

    def test_a_name_that_no_system_takes(self):
        found = problems_of("tunnel: {auth_token_file: t}", reader=no_name)
        self.assertIn("'gw.yaml' cannot be read: not a file name", found[0])


def exposed(text, mode=0o644):
    """Return a reader of one file of a mode."""
    return reader_of(**{"gw.yaml": FileContent(text.encode(), mode)})


class ExposedFileTests(SynchronousTestCase):
    """Configuration files with secrets that every user can read."""

    def test_are_refused_like_files_of_secrets(self):
        text = (
            f"tunnel: {{auth_token: {SECRET}}}\nsecurity: {{api: {{api_key: {KEY}}}}}"
        )
        self.assertEqual(
            problems_of(text, reader=exposed(text)),
            [
                "'gw.yaml' is open to every user of this machine (mode 644), and holds "
                "tunnel.auth_token, security.api.api_key; run: chmod o= gw.yaml, or "
                "keep secrets in files of their own (tunnel.auth_token_file)"
            ],
        )
        for mode in (0o602, 0o661, 0o777):
            self.assertEqual(len(problems_of(reader=exposed(text, mode))), 1)
        for mode in (0o600, 0o640, 0o660):
            self.assertEqual(problems_of(reader=exposed(text, mode)), [])

    def test_those_in_a_folder_that_others_cannot_enter_are_accepted(self):
        text = f"tunnel: {{auth_token: {SECRET}}}"
        shut = reader_of(**{"gw.yaml": FileContent(text.encode(), 0o644, True)})
        self.assertEqual(problems_of(text, reader=shut), [])

    def test_an_agents_as_well(self):
        text = f"token: {SECRET}"
        files = {"agent.yaml": FileContent(text.encode(), 0o644)}
        loader = partial(load_agent, "agent.yaml", environ={}, options={})
        fault = self.assertRaises(ConfigError, loader, reader=reader_of(**files))
        self.assertIn("holds token; run: chmod o= agent.yaml", str(fault))

    def test_a_variable_above_does_not_close_the_file(self):
        text = f"tunnel: {{auth_token: {SECRET}}}"
        found = problems_of(reader=exposed(text), environ={"GOTUNNEL_TOKEN": KEY})
        self.assertEqual(len(found), 1)

    def test_without_a_secret_everybody_may_read_it(self):
        for text in ("log_level: warn", "tunnel: {auth_token: null}"):
            self.assertEqual(problems_of(reader=exposed(text)), [])

    def test_an_accepted_danger(self):
        text = f"tunnel: {{auth_token: {SECRET}}}\n{READABLE}"
        self.assertEqual(problems_of(reader=exposed(text)), [])


class SecretFileTests(SynchronousTestCase):
    """Secrets in files of their own."""

    def test_line_end_does_not_count(self):
        for ending in ("", "\n", "\r\n"):
            loaded = load(TOKEN_FILE, t=SECRET + ending)
            token = loaded.config.tunnel.auth_token
            self.assertEqual(token.get_secret_value(), SECRET)

    def test_source_is_the_file(self):
        loaded = load(TOKEN_FILE, t=SECRET)
        source = "tunnel.auth_token_file, gw.yaml line 1"
        self.assertEqual(loaded.sources["tunnel.auth_token"], source)
        self.assertEqual(loaded.config.tunnel.auth_token_file, "t")

    def test_agents_token(self):
        config = load_as_agent("token_file: t", t=SECRET).config
        self.assertEqual(config.token.get_secret_value(), SECRET)

    def test_what_is_refused(self):
        for content, detail in (
            (None, "'t' cannot be read: No such file or directory"),
            ("", "'t' is empty; it must hold a secret"),
            ("\n", "'t' is empty; it must hold a secret"),
            (b"\xff" * 20, "'t' is not UTF-8 text (byte 0)"),
            ("x" * (LARGEST_FILE + 1), "'t' is longer than 1048576 bytes, which is"),
            (FileContent(SECRET.encode(), 0o644),
             "'t' is open to every user of this machine (mode 644); run: chmod o= t"),
        ):  # fmt: skip
            files = {} if content is None else {"t": content}
            [problem] = problems_of(TOKEN_FILE, **files)
            start = f"tunnel.auth_token_file: {detail}"
            self.assertTrue(problem.startswith(start), problem)
            self.assertNotIn(SECRET, problem)

    def test_a_secret_in_place_of_its_files_name_is_not_repeated(self):
        [problem] = problems_of(f"tunnel: {{auth_token_file: {SECRET}}}")
        self.assertNotIn(SECRET, problem)
        self.assertIn("auth_token_file: the file (its name is not shown", problem)
        for name in ("/run/secrets/the-tokens", "./tokens-of-agents", "gateway.token"):
            [problem] = problems_of(f"tunnel: {{auth_token_file: {name}}}")
            self.assertIn(f"'{name}' cannot be read", problem)

    def test_an_accepted_danger(self):
        exposed = FileContent(SECRET.encode(), 0o644)
        loaded = load(f"{TOKEN_FILE}\n{READABLE}", t=exposed)
        token = loaded.config.tunnel.auth_token
        self.assertEqual(token.get_secret_value(), SECRET)
        self.assertIn("files with secrets that every user", loaded.warnings[0])

    def test_guessable_content_is_refused(self):
        self.assertEqual(
            problems_of(TOKEN_FILE, t="short\n"),
            [
                "tunnel.auth_token: has 5 characters; a secret needs at least 16 "
                "(tunnel.auth_token_file, gw.yaml line 1)"
            ],
        )

    def test_an_unread_file_has_no_consequences(self):
        """Only the file is reported, not the API that lacks a key without it."""
        text = "api: {bind: '::'}\nsecurity: {api: {api_key_file: k}}"
        self.assertEqual(len(problems_of(text)), 1)

    def test_wrong_types_are_reported_once(self):
        for text in ("5", "[a]", "''"):
            found = problems_of(f"tunnel: {{auth_token_file: {text}}}")
            self.assertEqual(len(found), 1, found)
            self.assertIn("tunnel.auth_token_file: must be the name of", found[0])

    def test_secret_and_file_in_one_source(self):
        self.assertEqual(
            problems_of(
                f"tunnel:\n  auth_token: {SECRET}\n  auth_token_file: t", t=SECRET
            ),
            [
                "tunnel.auth_token: given together with tunnel.auth_token_file; "
                "keep one (gw.yaml line 2 and gw.yaml line 3)"
            ],
        )

    def test_upper_source_replaces_both_forms(self):
        other = SECRET[::-1]
        loaded = load(TOKEN_FILE, environ={"GOTUNNEL_TOKEN": other}, t=SECRET)
        self.assertEqual(loaded.config.tunnel.auth_token.get_secret_value(), other)
        self.assertIs(loaded.config.tunnel.auth_token_file, None)
        loaded = load(
            f"tunnel: {{auth_token: {other}}}",
            options={"tunnel.auth_token_file": "t"},
            t=SECRET,
        )
        self.assertEqual(loaded.config.tunnel.auth_token.get_secret_value(), SECRET)

    def test_null_is_not_given(self):
        text = f"tunnel: {{auth_token: {SECRET}, auth_token_file: null}}"
        self.assertEqual(problems_of(text), [])


class AbsoluteNameTests(SynchronousTestCase):
    """Names of files, made absolute at the start."""

    def load(self, text, loader=load_gateway, folder="/start", **files):
        name = f"{folder}/gw.yaml"
        reader = reader_of(**{name: text}, **files)
        return loader(
            "gw.yaml", environ={}, options={}, reader=reader, folder=folder
        ).config

    def test_every_name_of_the_gateway_is(self):
        """Whatever key takes one, its default included."""
        written = {
            "security.tunnel.cert_file": "tls/cert.pem",
            "security.tunnel.key_file": "/etc/key.pem",
            "log.file": "../gw.log",
        }
        config = self.load(
            "security: {tunnel: {cert_file: tls/cert.pem, key_file: /etc/key.pem}}\n"
            "log: {file: ../gw.log}"
        )
        for key, leaf in leaves(GatewayConfig).items():
            value = leaf.value_in(config)
            if leaf.kind.is_file and value is not None:
                name = written.get(key, "data/mappings.db")
                self.assertEqual(os.path.join("/start", name), value, key)
                written.pop(key, None)
        self.assertEqual({}, written)
        self.assertEqual("/start/data/mappings.db", config.database.path)

    def test_every_key_that_names_a_file_is_known_as_one(self):
        for model in (GatewayConfig, AgentConfig):
            for key, leaf in leaves(model).items():
                if key.endswith("_file") or key == "database.path":
                    self.assertTrue(leaf.kind.is_file, key)

    def test_secrets_are_read_from_there(self):
        config = self.load("token_file: token", load_agent, **{"/start/token": SECRET})
        assert config.token is not None
        self.assertEqual(SECRET, config.token.get_secret_value())
        self.assertEqual("/start/token", config.token_file)

    def test_without_a_folder_they_stay(self):
        self.assertEqual("./data/mappings.db", load("").config.database.path)
