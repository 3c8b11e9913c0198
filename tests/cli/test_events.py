"""`gotunnel events`, over a server of a few lines."""

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.cli import events as module
from gateway.cli.events import Told, read_events
from tests.cli.cases import run

HEAD = "retry: 2000\nid: feed-0\n\n"
NOW = ": now\n\n"


def event(number, topic="ban", **fields):
    data = json.dumps({"at_unix": 1704110400.5, "action": "added", **fields})
    return f"id: feed-{number}\nevent: {topic}\ndata: {data}\n\n"


class ReadTests(SynchronousTestCase):
    """Bytes to events."""

    def read(self, text):
        return list(read_events(io.BytesIO(text.encode())))

    def test_events_comments_and_what_is_not_whole(self):
        text = HEAD + event(1, port=1) + NOW + ": beat\n\n" + "id: feed-2\ndata: {"
        fields = {"at_unix": 1704110400.5, "action": "added", "port": 1}
        self.assertEqual(
            self.read(text),
            [Told("feed-0", "", {}), Told("feed-1", "ban", fields), None],
        )

    def test_anything_else_is_an_error(self):
        self.assertRaises(ValueError, self.read, "data: <html>\n\n")


class Streams(ThreadingHTTPServer):
    """Answers each request by the next of some texts.

    Attributes:
        answers: status and text of each answer.
        asked: path and Last-Event-ID of each request.
    """

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked: list[Any] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Streams

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Last-Event-ID")))
        code, text = self.server.answers.pop(0)
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


class CommandTests(SynchronousTestCase):
    """The command."""

    def setUp(self):
        self.patch(module, "AGAIN_SECONDS", 0.0)

    def run_over(self, *answers, words=(), expect=0):
        server = Streams(*answers)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        found = run("events", "--url", server.url, *words)
        self.assertEqual(found.exit_code, expect, found.output)
        return server, found

    def test_the_last_events_as_lines(self):
        text = HEAD + event(1, network="192.0.2.0/24", until_unix=None, reason="") + NOW
        server, found = self.run_over((200, text), words=["--topics", "ban,link"])
        self.assertEqual(
            found.stdout, "2024-01-01 12:00:00 ban added network=192.0.2.0/24\n"
        )
        ((path, last),) = server.asked
        self.assertEqual(path, "/api/events?topics=ban%2Clink&recent=20")
        self.assertIsNone(last)

    def test_json_lines(self):
        _, found = self.run_over((200, HEAD + event(1, port=7) + NOW), words=["--json"])
        self.assertEqual(
            json.loads(found.stdout),
            {
                "id": "feed-1",
                "topic": "ban",
                "at_unix": 1704110400.5,
                "action": "added",
                "port": 7,
            },
        )

    def test_following_goes_on_where_it_was(self):
        server, found = self.run_over(
            (200, HEAD + event(4) + NOW + event(5)),
            (200, HEAD + event(5, topic="gap") + event(9) + NOW),
            (401, '{"success": false, "message": "Unauthorized"}'),
            words=["-f", "--recent", 1],
            expect=1,
        )
        self.assertEqual([last for _, last in server.asked], [None, "feed-5", "feed-9"])
        self.assertEqual(found.stdout.count("ban added"), 3)
        self.assertIn("the gateway ended the stream; trying again", found.stderr)
        self.assertIn("events were lost before what follows", found.stderr)
        self.assertIn("Unauthorized", found.stderr)

    def test_a_stream_in_which_nothing_happened_has_a_place(self):
        server, found = self.run_over(
            (200, HEAD + NOW),
            (401, '{"success": false, "message": "Unauthorized"}'),
            words=["-f"],
            expect=1,
        )
        self.assertEqual(found.stdout, "")
        self.assertEqual([last for _, last in server.asked], [None, "feed-0"])

    def test_escapes_are_shown_as_such(self):
        _, found = self.run_over((200, HEAD + event(1, name="\x1b[31m") + NOW))
        self.assertIn("name=\\x1b[31m", found.stdout)

    def test_refusals_and_strangers(self):
        refusal = '{"success": false, "message": "topics: no such topic"}'
        _, found = self.run_over((400, refusal), expect=1)
        self.assertIn("topics: no such topic", found.stderr)
        self.run_over((404, "<html>"), expect=3)
        self.run_over((200, "data: <html>\n\n"), expect=3)
        self.assertEqual(run("events", "--url", "http://127.0.0.1:1").exit_code, 3)
