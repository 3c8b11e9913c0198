"""`gotunnel bench` as users run it, against real sockets."""

import json
import select
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.bench import plot
from gateway.bench.cases import Mode, cases_of
from tests.bench.running import (
    SECONDS,
    BenchCase,
    FarThread,
    OddServer,
    greeted,
    messages,
    plain_echo,
)
from tests.cli.cases import run
from tests.integration.ports import take_ports

SHORT = ("--duration", "300ms")
SHORTEST = ("--duration", "50ms")


class Metrics(BaseHTTPRequestHandler):
    """Has one page."""

    def do_GET(self):
        self.send_response(200 if self.path.startswith("/metrics?") else 404)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"x\n")

    def log_message(self, format, *args):
        pass


class ModesTests(BenchCase):
    """Each mode against a far end of its own."""

    def setUp(self):
        super().setUp()
        far = FarThread()
        self.addCleanup(far.stop)
        self.port = far.port

    def measure(self, mode, *words):
        return self.measured("--connect", self.port, "--mode", mode, *words)

    def assert_flawless(self, results):
        for result in results:
            self.assertEqual(result["failed_messages"], 0, result)
            self.assertEqual(result["connection_failures"], 0, result)
            self.assertEqual(result["fault"], "")

    def test_speed(self):
        (result,) = self.measure("speed", *SHORT)
        self.assert_flawless([result])
        self.assertEqual(result["success"], 1)
        self.assertEqual(result["total_bytes"], 1024 * result["messages"])
        self.assertGreater(result["messages"], 0)
        latency = result["latency_seconds"]
        ordered = [latency[name] for name in ("least", "p50", "p95", "p99", "most")]
        self.assertEqual(ordered, sorted(ordered))
        for key in ("load_cpu_share", "far_cpu_share"):
            self.assertGreater(result[key], 0)
        for key in ("load_wait_share", "far_wait_share"):
            self.assertGreaterEqual(result[key], 0)

    def test_reliability(self):
        (result,) = self.measure("reliability", *SHORT)
        self.assert_flawless([result])
        # a pause of 10 ms on each of 4 connections
        self.assertTrue(4 <= result["messages"] <= 4 * 31, result["messages"])

    def test_concurrent(self):
        results = self.measure("concurrent", *SHORTEST)
        self.assert_flawless(results)
        levels = [result["connections"] for result in results]
        self.assertEqual(levels, [1, 2, 5, 10, 20, 50, 100])

    def test_sizes(self):
        results = self.measure("sizes", *SHORTEST)
        self.assert_flawless(results)
        for result in results:
            expected = result["size_bytes"] * result["messages"]
            self.assertEqual(result["total_bytes"], expected)

    def test_bandwidth(self):
        results = self.measure("bandwidth", *SHORTEST)
        self.assert_flawless(results)
        self.assertEqual(len(results), len(cases_of(Mode.BANDWIDTH, None, None)))

    def test_one_way_flows_count_what_arrived(self):
        for mode in ("upload", "download"):
            (result,) = self.measure(mode, *SHORT)
            self.assert_flawless([result])
            self.assertGreater(result["total_bytes"], 0)
            self.assertIsNone(result["latency_seconds"])
            self.assertEqual(result["connections"], 5)

    def test_workers_share_the_connections(self):
        words = ("--workers", 3, "--concurrent", 7, "--size", 100, *SHORT)
        for mode in ("speed", "upload"):
            (result,) = self.measure(mode, *words)
            self.assert_flawless([result])
            self.assertEqual((result["connections"], result["size_bytes"]), (7, 100))

    def test_tables_go_to_a_pipe_without_colours(self):
        """And the bar of progress goes nowhere."""
        output, errors = self.run_bench(
            "--connect", self.port, "--mode", "concurrent", *SHORTEST
        )
        self.assertEqual(errors, "")
        self.assertEqual(output.count("🚀"), 2)  # the row, and the line below

    def test_the_language_is_that_of_the_locale_or_the_option(self):
        words = ("--connect", self.port, "--mode", "speed", *SHORTEST)
        self.environ["LANG"] = "zh_CN.UTF-8"
        self.assertIn("成功率", self.run_bench(*words)[0])
        self.assertIn("success", self.run_bench(*words, "--language", "en")[0])

    def test_an_ascii_pipe_gets_ascii(self):
        self.environ["PYTHONIOENCODING"] = "ascii"
        words = ("--mode", "concurrent", "--language", "zh", *SHORTEST)
        output, _ = self.run_bench("--connect", self.port, *words)
        self.assertTrue(output.isascii())
        self.assertEqual(output.count(">>"), 2)


class FarEndTests(BenchCase):
    """The far end alone."""

    def test_it_serves_until_a_signal_comes(self):
        far, port = self.far_end()
        words = ("--connect", port, "--mode", "speed", *SHORTEST)
        (result,) = self.measured(*words)
        self.assertGreater(result["messages"], 0)
        far.send_signal(signal.SIGTERM)
        self.assertEqual(far.wait(SECONDS), 0)


class BothEndsTests(BenchCase):
    """Far end and load started by one command."""

    def setUp(self):
        super().setUp()
        self.port = take_ports()
        self.ends = ("--listen", self.port, "--connect", self.port)

    def test_all_modes_run_and_the_curves_are_drawn(self):
        folder = Path(self.mktemp())
        folder.mkdir()
        for mode, name, beginning in (
            ("all", "x.svg", b"<?xml"),
            ("concurrent", "x.PNG", b"\x89PNG"),
        ):
            words = ("--mode", mode, "--plot", folder / name)
            output, _ = self.run_bench(*self.ends, *SHORTEST, *words)
            self.assertTrue((folder / name).read_bytes().startswith(beginning))
            count = len(Mode) if mode == "all" else 1
            self.assertEqual(output.count("parameters: "), count)

    def test_the_twin_without_a_relay_is_measured(self):
        words = ("--mode", "download", "--direct", *SHORT)
        (result,) = self.measured(*self.ends, *words)
        self.assertGreater(result["direct"]["total_bytes"], 0)
        quotient = result["bytes_per_second"] / result["direct"]["bytes_per_second"]
        self.assertAlmostEqual(result["ratio"], quotient)

    def test_an_address_is_scraped_beside_the_load(self):
        server = HTTPServer(("127.0.0.1", 0), Metrics)
        self.addCleanup(server.server_close)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        url = f"http://127.0.0.1:{server.server_port}"
        words = ("--mode", "speed", *SHORT, "--scrape")
        (result,) = self.measured(*self.ends, *words, f"{url}/metrics?format=text")
        self.assertEqual(result["scrapes"]["fault"], "")
        self.assertGreater(result["scrapes"]["answers"], 1)
        output, _ = self.run_bench(*self.ends, *words, f"{url}/gone", code=1)
        self.assertIn(f"{url}/gone: HTTP 404", output)
        _, errors = self.run_bench(*self.ends, *words, "metrics", code=2)
        self.assertIn("'metrics' is no address such as http://", errors)

    def test_json_goes_to_a_file_beside_the_tables(self):
        file = Path(self.mktemp())
        words = (*self.ends, "--mode", "speed", *SHORTEST, "--json", file)
        output, _ = self.run_bench(*words)
        self.assertIn("success", output)
        document = json.loads(file.read_text())
        (report,) = document["reports"]
        self.assertEqual((report["mode"], report["sound"]), ("speed", True))
        self.assertFalse(document["interrupted"])

    def test_a_taken_port_is_told(self):
        with socket.create_server(("127.0.0.1", self.port)):
            _, errors = self.run_bench(*self.ends, code=1)
        place = f"127.0.0.1:{self.port}"
        self.assertEqual(
            errors,
            f"Error: the far end cannot listen on {place}: Address already in use\n",
        )

    def test_the_package_is_a_program_too(self):
        module = (sys.executable, "-m", "gateway.bench")
        words = (*self.ends, "--mode", "speed", *SHORTEST)
        process = self.run_program(*module, *words)
        output, errors = process.communicate(timeout=SECONDS)
        self.assertEqual((process.returncode, errors), (0, ""))
        self.assertIn("100.00 % ✓", output)
        process = self.run_program(*module, "--mode", "fast")
        _, errors = process.communicate(timeout=SECONDS)
        self.assertEqual(process.returncode, 2)
        self.assertIn("Usage: python -m gateway.bench [OPTIONS]", errors)

    def test_a_file_that_cannot_be_written_is_told_before_anything_else(self):
        words = (*self.ends, "--mode", "concurrent", *SHORTEST)
        for option, name in (
            ("--json", "/nowhere/x"),
            ("--plot", "/nowhere/x.png"),
            ("--json", "/proc/version/x"),
        ):
            output, errors = self.run_bench(*words, option, name, code=1)
            self.assertIn(f"cannot write {name}", errors)
            self.assertEqual(output, "")

    def test_a_full_disk_costs_the_file_alone(self):
        words = (*self.ends, "--mode", "concurrent", *SHORTEST)
        output, errors = self.run_bench(*words, "--json", "/dev/full", code=1)
        self.assertIn("cannot write /dev/full", errors)
        self.assertIn("fastest", output)

    def test_an_interrupt_shows_what_there_is(self):
        """The case under way included."""
        words = (*self.ends, "--mode", "concurrent", "--duration", "10m")
        file = Path(self.mktemp())
        process = self.start(*words, "--json", file)
        self.wait_until_connected(self.port)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=SECONDS)
        self.assertEqual(process.returncode, 1, errors)
        self.assertIn("🚀 fastest: connections 1, ", output)
        self.assertIn("stopped before everything was measured", errors)
        document = json.loads(file.read_text())
        self.assertTrue(document["interrupted"])
        (result,) = document["reports"][0]["results"]
        self.assertEqual(result["failed_messages"], 0)
        self.assertGreater(result["messages"], 0)

    def test_children_do_not_outlive_a_killed_command(self):
        """Not even one that cannot say goodbye; checked again at the end."""
        process = self.start(*self.ends, "--mode", "upload", "--duration", "10m")
        self.wait_until_connected(self.port)
        process.kill()
        # pipes end when the last process that holds them has
        process.communicate(timeout=SECONDS)

    def test_an_interrupt_before_the_curves_draws_none(self):
        file = Path(self.mktemp() + ".png")
        words = (*self.ends, "--duration", "10m", "--plot", file)
        process = self.start(*words)
        self.wait_until_connected(self.port)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=SECONDS)
        self.assertEqual(process.returncode, 1)
        self.assertIn("success", output)
        self.assertIn(f"no curve was measured; {file} is not written", errors)
        self.assertNotIn("Traceback", errors)
        self.assertFalse(file.exists())

    def wait_until_connected(self, port):
        """Return once a few thousand bytes may have gone over the port."""
        mark = f"{port:04X}"
        for _ in range(int(SECONDS * 20)):
            rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
            if sum(row.split()[3] == "01" and f":{mark} " in row for row in rows) >= 2:
                select.select([], [], [], 0.5)
                return
            select.select([], [], [], 0.05)
        self.fail("no connection was made")


class FailureTests(BenchCase):
    """What goes wrong is told, counted, and ends in exit code 1."""

    def odd(self, serve):
        server = OddServer(serve)
        self.addCleanup(server.stop)
        return ("--connect", server.port)

    def test_a_corrupted_echo_fails_the_run(self):
        def corrupt(sock):
            greeted(sock)
            for number, message in enumerate(messages(sock, 1024)):
                changed = bytearray(message)
                changed[500] ^= number == 0
                sock.sendall(changed)

        words = (*self.odd(corrupt), "--mode", "reliability", "--concurrent", 1)
        output, _ = self.run_bench(*words, *SHORT, code=1)
        self.assertRegex(output, r"failed messages +│ +1 ")
        self.assertRegex(output, r"message 0: byte 500 of 1024 is 0x.. instead of 0x..")

    def test_a_plain_echo_server_will_do(self):
        words = (*self.odd(plain_echo), *SHORT)
        (result,) = self.measured(*words, "--mode", "speed")
        self.assertGreater(result["messages"], 0)
        self.assertIsNone(result["far_cpu_share"])
        self.assertIsNone(result["far_wait_share"])
        _, errors = self.run_bench(*words, "--mode", "upload", code=1)
        self.assertIn("only echoes", errors)

    def test_a_stranger_is_not_taken_for_a_far_end(self):
        for answer in (b"", b"SSH-2.0-x\r\n", b"x" * 100):
            words = self.odd(lambda sock, answer=answer: sock.sendall(answer))
            _, errors = self.run_bench(*words, *SHORT, code=1)
            self.assertRegex(errors, "no far end|reset")
        words = self.odd(lambda sock: sock.sendall(b"x" * 100) or sock.recv(1000))
        _, errors = self.run_bench(*words, *SHORT, code=1)
        self.assertNotIn("closed", errors)

    def test_who_names_no_port_is_told_which_it_is(self):
        port = take_ports()  # the usual one may be somebody's
        program = (
            "from gateway.cli import bench\n"
            f"bench.USUAL_CONNECT = bench.HostPort('127.0.0.1', {port})\n"
            "bench.bench()"
        )
        words = ("--listen", take_ports(), "--direct")
        process = self.run_program(sys.executable, "-c", program, *words)
        _, errors = process.communicate(timeout=SECONDS)
        self.assertEqual(process.returncode, 1)
        self.assertIn(f"127.0.0.1:{port}: nothing listens there\n", errors)
        self.assertIn("--connect names the port that leads to the far end", errors)

    def test_a_port_where_nobody_listens_is_told(self):
        _, errors = self.run_bench("--connect", take_ports(), code=1)
        self.assertTrue(errors.endswith(": nothing listens there\n"), errors)

    def test_what_was_measured_before_a_failure_is_shown(self):
        calls = []

        def mortal(sock):
            """Serve the first case; then be another server."""
            calls.append(sock)
            if len(calls) < 7:
                greeted(sock)
                plain_echo(sock)

        words = (*self.odd(mortal), "--mode", "concurrent", *SHORTEST)
        output, errors = self.run_bench(*words, code=1)
        self.assertIn("fastest: connections 1,", output)
        self.assertRegex(errors, "no far end|reset")


class UsageTests(SynchronousTestCase):
    """Options without an effect are refused, and impossible ones."""

    def assert_refused(self, words, reason):
        result = run("bench", *words.split())
        self.assertEqual(result.exit_code, 2, result.output)
        self.assertIn(reason, result.output)

    def test_options_that_the_mode_does_not_use(self):
        self.assert_refused("--mode sizes --size 5", "no effect with --mode sizes")
        self.assert_refused("--mode concurrent --concurrent 5", "no effect")
        self.assert_refused("--mode speed --plot x.svg", "no effect")

    def test_options_beside_those_that_stand_alone(self):
        self.assert_refused("--listen 9900 --mode speed", "without --connect")
        self.assert_refused("--compare-stock --direct", "no effect")

    def test_values_that_cannot_be(self):
        self.assert_refused("--duration 5h", "no duration")
        self.assert_refused("--duration 1ms", "not between 50ms and 60m")
        self.assert_refused("--mode reliability --size 8", "at least 9")
        self.assert_refused("--connect :0", "0")
        self.assert_refused("--listen 70000", "70000")
        self.assert_refused("--plot curves.pdf", ".png or .svg")
        self.assert_refused("--concurrent 0", "0")

    def test_curves_without_matplotlib(self):
        """Told before anything is measured."""
        self.patch(plot, "find_spec", lambda _name: None)
        result = run("bench", "--plot", "x.svg")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("pip install 'gotunnel[plot]'", result.output)
