"""`gotunnel forward` and `gotunnel proxy` as processes of their own."""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.cases import COMMAND, ENVIRON, run

SECONDS = 20


class Target:
    """A server that reads to the end and then answers with what it read, reversed."""

    def __init__(self):
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._server.accept()
                threading.Thread(target=self._answer, args=(peer,)).start()

    def _answer(self, peer):
        peer.settimeout(SECONDS)
        with peer, contextlib.suppress(OSError):
            peer.sendall(everything(peer)[::-1])

    def stop(self):
        # wakes accept()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(SECONDS)


def everything(sock):
    """Read until the peer has finished."""
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ForwardTests(SynchronousTestCase):
    """Real sockets on both sides."""

    def setUp(self):
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.target = Target()
        self.addCleanup(self.target.stop)

    def start(self, *words):
        """Start a command and return it with the first line that it prints."""
        log = (self.folder / "log").open("wb")
        self.addCleanup(log.close)
        process = subprocess.Popen(
            [*COMMAND, *map(str, words)],
            env=ENVIRON,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        # whoever waits for a line of it then gets an empty one
        watchdog = threading.Timer(SECONDS, process.kill)
        watchdog.start()
        self.addCleanup(watchdog.cancel)
        self.addCleanup(process.wait, SECONDS)
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        return process, process.stdout.readline()

    def start_forward(self, target_port=None):
        target = f"127.0.0.1:{target_port or self.target.port}"
        process, line = self.start(
            "forward", "--listen", "127.0.0.1:0", "--target", target
        )
        self.assertRegex(line, rf"^forwarding 127\.0\.0\.1:\d+ to {target}\n$")
        return process, int(line.split()[1].rpartition(":")[2])

    def connect(self, port):
        sock = socket.create_connection(("127.0.0.1", port), SECONDS)
        self.addCleanup(sock.close)
        return sock

    def log(self, process=None):
        """Return what it wrote; of a process that is given, to the end."""
        if process is not None:
            process.terminate()
            process.wait(SECONDS)
        return (self.folder / "log").read_text()

    def test_half_closed_connections_still_get_their_answer(self):
        """The end of the question arrives, and the answer comes back after it."""
        _, port = self.start_forward()
        question = os.urandom(300_000)
        sock = self.connect(port)
        sock.sendall(question)
        sock.shutdown(socket.SHUT_WR)
        self.assertEqual(everything(sock), question[::-1])

    def test_a_target_that_refuses_costs_that_visitor_alone(self):
        process, port = self.start_forward(free_port())
        for _ in range(2):
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(everything(self.connect(port)), b"")
        self.assertIsNone(process.poll())
        self.assertIn("connection refused", self.log(process))

    def test_a_signal_ends_it_cleanly(self):
        """An open connection does not hold it up, and the port is free again."""
        for number in (signal.SIGINT, signal.SIGTERM):
            process, port = self.start_forward()
            sock = self.connect(port)
            sock.sendall(b"x")
            process.send_signal(number)
            self.assertEqual(process.wait(SECONDS), 0, self.log())
            with contextlib.suppress(ConnectionResetError):
                everything(sock)
            with socket.socket() as again:
                again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                again.bind(("127.0.0.1", port))

    def test_a_busy_port_is_a_clear_failure(self):
        words = ["--listen", f"127.0.0.1:{self.target.port}", "--target", "localhost:1"]
        process, line = self.start("forward", *words)
        self.assertEqual((process.wait(SECONDS), line), (1, ""))
        self.assertIn(
            f"cannot listen on 127.0.0.1:{self.target.port}: Address already in use",
            self.log(),
        )

    def test_a_forward_to_itself_does_not_multiply(self):
        port = free_port()
        words = ["--listen", f":{port}", "--target", f"localhost:{port}"]
        process, _ = self.start("forward", *words)
        with contextlib.suppress(ConnectionResetError):
            everything(self.connect(port))
        log = self.log(process)
        self.assertIn("is a port of this program itself", log)
        self.assertNotIn("connection opened", log)

    def test_a_reset_visitor_is_no_disaster(self):
        process, port = self.start_forward()
        sock = self.connect(port)
        sock.sendall(b"x")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        sock = self.connect(port)
        sock.sendall(b"ab")
        sock.shutdown(socket.SHUT_WR)
        self.assertEqual(everything(sock), b"ba")
        self.assertIsNone(process.poll())

    def test_the_proxy_with_one_hyphen(self):
        listen, target = "127.0.0.1:0", f"127.0.0.1:{self.target.port}"
        _, line = self.start(
            "proxy", "-protocol", "tcp", "-listen", listen, "-target", target
        )
        sock = self.connect(int(line.split()[1].rpartition(":")[2]))
        sock.sendall(b"ab")
        sock.shutdown(socket.SHUT_WR)
        self.assertEqual(everything(sock), b"ba")

    def test_the_proxy_with_a_file(self):
        """Every enabled entry is served, also on ports that a gateway would use."""
        ports = [free_port(), free_port()]
        entry = "- {{name: tcp, listen: '127.0.0.1:{}', target: '127.0.0.1:{}'}}"
        lines = [entry.format(port, self.target.port) for port in ports]
        off = "- {name: tcp, listen: ':1', target: 'x:1', enabled: false}"
        file = self.folder / "proxy.yaml"
        file.write_text("\n".join(['version: "1.0"', "protocols:", *lines, off]))
        process, _ = self.start("proxy", "-config", file)
        process.stdout.readline()
        for port in ports:
            sock = self.connect(port)
            sock.sendall(b"ab")
            sock.shutdown(socket.SHUT_WR)
            self.assertEqual(everything(sock), b"ba")


class WordsTests(SynchronousTestCase):
    """What is refused before anything listens."""

    def test_usage_errors(self):
        good = ["--listen", ":0", "--target", "db:1"]
        for words, message in (
            (["forward", "--listen", ":0"], "--target"),
            (["forward", "--target", "db:1"], "--listen"),
            (["forward", *good, "--listen", "8080"], "write :port or address:port"),
            (["forward", *good, "--listen", "db:80"], "an IP address of this machine"),
            (["forward", *good, "--listen", ":x"], "not a port from 0 to 65535"),
            (["forward", *good, "--target", "db"], "'db' has no port"),
            (["forward", *good, "--target", ":80"], "':80' names no host"),
            (["forward", *good, "--dial-timeout", 0], "not in the range"),
            (["proxy"], "--target"),
            (["proxy", *good, "-protocol", "http3"], "http3 is not available yet"),
            (["proxy", *good, "-protocol", "x"], "'x' is no protocol"),
            (["proxy", *good, "-cert", "c.pem"], "--cert is not available yet"),
            (["proxy", *good, "-key", "k.pem"], "--key is not available yet"),
            (["proxy", *good, "-auto-tls"], "--auto-tls is not available yet"),
            (["proxy", *good, "-config", "c.yaml"], "not both"),
        ):
            result = run(*words)
            self.assertEqual(result.exit_code, 2, result.output)
            self.assertIn(message, result.stderr)

    def test_files_that_forward_nothing(self):
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        empty, wrong = folder / "empty.yaml", folder / "wrong.yaml"
        empty.write_text("log_level: info\n")
        wrong.write_text("protocols: [{name: quic, listen: ':1', target: 'x:1'}]\n")
        for file, message in (
            (empty, "no entry under `protocols`"),
            (wrong, "not available yet"),
            (folder / "none.yaml", "none.yaml"),
        ):
            result = run("proxy", "-config", file)
            self.assertEqual(result.exit_code, 1, result.output)
            self.assertIn(message, result.stderr)
