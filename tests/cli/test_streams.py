"""Commands whose output nobody reads any more, or whose encoding lacks a name."""

import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.cli.cases import COMMAND, ENVIRON, GatewayCase

SECONDS = 60
EVENT = 'id: f-1\nevent: ban\ndata: {"at_unix": 1.5, "action": "added"}\n\n'


class _Endless(BaseHTTPRequestHandler):
    """One event, and then nothing for as long as the server is there."""

    server: "EndlessServer"

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write((EVENT * 3).encode())
        self.server.over.wait(SECONDS)

    def log_message(self, *_):
        pass


class EndlessServer(ThreadingHTTPServer):
    """Events over HTTP.

    Attributes:
        over: set at the end.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Endless)
        self.over = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        self.over.set()
        self.shutdown()
        self.server_close()


class ReaderGoneTests(GatewayCase):
    """`gotunnel ... | head -1`."""

    def start(self, *words, stdout=subprocess.PIPE, code=None):
        command = [*COMMAND, *words] if code is None else [sys.executable, "-c", code]
        process = subprocess.Popen(
            command,
            env={**ENVIRON, "GOTUNNEL_URL": self.gateway.url},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                self.addCleanup(stream.close)
        return process

    def start_unread(self, *words, code=None):
        """Start a command whose output nobody reads at all."""
        reading, writing = os.pipe()
        os.close(reading)
        try:
            return self.start(*words, stdout=writing, code=code)
        finally:
            os.close(writing)

    def assert_ended(self, process, code=1):
        self.assertEqual(process.wait(SECONDS), code)
        self.assertEqual(process.stderr.read(), b"")

    def endless(self):
        server = EndlessServer()
        self.addCleanup(server.stop)
        return f"--url=http://127.0.0.1:{server.server_address[1]}"

    def test_commands_end_without_a_word(self):
        self.run_command("map", "add", 8080)
        started = [
            self.start_unread(*words)
            for words in (
                ["events", self.endless()],
                ["map", "export"],
            )
        ]
        for process in started:
            self.assert_ended(process)

    def test_a_command_that_waits_ends_when_its_reader_leaves(self):
        process = self.start("events", "--follow", self.endless())
        self.assertIn(b"ban added", process.stdout.readline())
        process.stdout.close()
        self.assert_ended(process)

    def test_a_forward_stops_in_order(self):
        words = ["forward", "--listen", "127.0.0.1:0", "--target", "127.0.0.1:9"]
        process = self.start_unread(*words)
        self.assertEqual(process.wait(SECONDS), 0)
        self.assertNotIn(b"Traceback", process.stderr.read())

    SERVING = (
        "import signal, sys, time\n"
        "from gateway.cli.streams import *\n"
        "prepare_streams()\n"
        "keep_serving_without_reader()\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "try:\n"
        "    print('line', flush=True)\n"
        "    time.sleep(0)\n"
        "except OSError:\n"
        "    sys.exit(8)\n"
    )

    def test_a_serving_process_stops_when_a_pipe_has_no_reader(self):
        self.assert_ended(self.start_unread(code=self.SERVING), 7)

    def test_a_serving_process_outlives_the_socket_of_its_manager(self):
        near, far = socket.socketpair()
        far.close()
        with near:
            process = self.start(stdout=near, code=self.SERVING)
        self.assertEqual(process.wait(SECONDS), 8)


class EncodingTests(GatewayCase):
    """Standard output that cannot show every name."""

    def test_every_line_is_printed(self):
        self.run_command("map", "add", 8080, "--name", "网站")
        self.run_command("map", "add", 8081, "--name", "café")
        done = subprocess.run(
            [*COMMAND, "map", "list"],
            env={
                **ENVIRON,
                "GOTUNNEL_URL": self.gateway.url,
                "PYTHONIOENCODING": "latin-1",
            },
            capture_output=True,
            timeout=SECONDS,
        )
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        lines = done.stdout.decode("latin-1").splitlines()
        self.assertEqual(len(lines), 3)
        self.assertIn("\\u7f51\\u7ad9", lines[1])
        self.assertIn("café", lines[2])
