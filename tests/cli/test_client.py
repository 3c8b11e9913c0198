"""Finding a gateway, convincing it, and understanding what it says."""

import contextlib
import socket
import threading

from tests.cli.cases import GatewayCase, run


class ConnectionTests(GatewayCase):
    """Options and environment of every command of the API."""

    def test_the_option_stands_above_the_environment(self):
        env = {"GOTUNNEL_URL": "http://127.0.0.1:1"}
        self.assertEqual(run("map", "list", env=env).exit_code, 3)
        result = run("map", "list", "--url", self.gateway.url + "/", env=env)
        self.assertEqual(result.exit_code, 0, result.output)

    def test_no_gateway_is_told_apart_from_a_refusal(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{probe.getsockname()[1]}"
            result = run("map", "list", "--url", url)
        self.assertEqual(result.exit_code, 3)
        self.assertIn(f"{url}: Connection refused", result.stderr)
        self.assertIn("gotunnel server", result.stderr)
        self.assertIn("GOTUNNEL_URL", result.stderr)

    def test_a_name_without_address(self):
        result = run("map", "list", "--url", "http://nowhere.invalid")
        self.assertEqual(result.exit_code, 3)

    def test_addresses_that_are_none(self):
        for url in (
            "8080",
            "localhost:8080",
            "ftp://localhost",
            "http://",
            "http://a:x",
            "http://u:p@localhost",
            "http://localhost/?q",
            "http://local host",
            "http://[::1",
        ):
            result = run("map", "list", "--url", url)
            self.assertEqual(result.exit_code, 2, url)
            self.assertIn("is not an address", result.stderr)

    def test_times_that_are_none(self):
        """What is no number is in no range, and must not wait for ever."""
        for seconds in ("nan", "-nan", "inf", "0", "3601", "soon"):
            result = self.run_command("map", "list", "--timeout", seconds, expect=2)
            self.assertIn("'--timeout'", result.stderr)

    def test_a_key_from_each_place(self):
        """The nearest place wins; the key is sent and never shown."""
        self.gateway.api_key = "schlüssel-0123456789"
        good, bad = self.folder / "good", self.folder / "bad"
        good.write_text(self.gateway.api_key + "\n")
        bad.write_text("wrong-key-0123456789\n")
        key, file = "GOTUNNEL_API_KEY", "GOTUNNEL_API_KEY_FILE"
        for words, env in (
            (["--api-key-file", good], {key: "wrong", file: str(bad)}),
            ([], {key: self.gateway.api_key, file: str(bad)}),
            ([], {file: str(good)}),
        ):
            self.run_command("map", "list", *words, env=env)
        result = self.run_command("map", "list", "--api-key-file", bad, expect=1)
        self.assertIn("Invalid API key", result.stderr)
        self.assertNotIn("wrong-key", result.output)

    def test_without_a_key_the_places_are_named(self):
        self.gateway.api_key = "0123456789abcdef"
        result = self.run_command("map", "list", expect=1)
        self.assertIn("Unauthorized", result.stderr)
        self.assertIn("--api-key-file", result.stderr)

    def test_files_that_hold_no_key(self):
        empty, two, raw = (self.folder / name for name in ("empty", "two", "raw"))
        empty.write_text("\n")
        two.write_text("a\nb\n")
        raw.write_bytes(b"\xff\xfe")
        for path, words in (
            (empty, "holds no API key"),
            (two, "holds no API key"),
            (raw, "not UTF-8"),
            (self.folder / "none", "No such file"),
        ):
            result = self.run_command("map", "list", "--api-key-file", path, expect=1)
            self.assertIn(words, result.stderr)


class AnswerTests(GatewayCase):
    """Answers that are none of a gateway's."""

    def test_another_server_is_recognised(self):
        for status, content in (
            (200, b"<html>"),
            (404, b"{}"),
            (302, b"{}"),
            (200, b"[]"),
            (200, b'{"data": {"mappings": 3}}'),
            (200, b'{"data": null}'),
        ):
            self.gateway.canned["/api/mapping/list"] = (status, content)
            result = self.run_command("map", "list", expect=3)
            self.assertIn("is not the API of a gateway", result.stderr)

    def test_a_strangers_message_cannot_move_the_cursor(self):
        refusal = b'{"success": false, "message": "a\\u001b[2J"}'
        self.gateway.canned["/api/mapping/list"] = (500, refusal)
        result = self.run_command("map", "list", expect=1)
        self.assertEqual(result.stderr, "Error: a\\x1b[2J\n")

    def test_a_newer_gateway_may_say_more(self):
        listed = b'{"data": {"mappings": [], "count": 0, "use_tunnel": true, "x": 1}}'
        self.gateway.canned["/api/mapping/list"] = (200, listed)
        self.run_command("map", "list")


class SilenceTests(GatewayCase):
    """Servers that take their time."""

    def listener(self):
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        return server, f"http://127.0.0.1:{server.getsockname()[1]}"

    def test_no_answer_is_waited_for_no_longer_than_said(self):
        """And a change is said to be possible all the same."""
        _, url = self.listener()
        result = run("map", "list", "--timeout", 0.2, "--url", url)
        self.assertEqual(result.exit_code, 3)
        self.assertIn("no answer within 0.2 seconds", result.stderr)
        self.assertNotIn("may be made", result.stderr)
        result = run("map", "remove", 10022, "--timeout", 0.2, "--url", url)
        self.assertIn("The change may be made", result.stderr)

    def test_an_answer_in_crumbs_ends_too(self):
        """The limit holds for the whole answer, not for each piece."""
        server, url = self.listener()
        over = threading.Event()

        def dribble():
            peer, _ = server.accept()
            with peer, contextlib.suppress(OSError):
                peer.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
                for _ in range(100):  # not for ever, should nobody hang up
                    if over.wait(0.05):
                        break
                    peer.sendall(b" ")

        thread = threading.Thread(target=dribble)
        thread.start()
        try:
            result = run("map", "list", "--timeout", 0.3, "--url", url)
        finally:
            over.set()
            thread.join(10)
        self.assertEqual(result.exit_code, 3)
        self.assertIn("no answer within 0.3 seconds", result.stderr)
