"""docs/bench.md: its examples run, and its words are those of the program."""

import json
import re
import shlex
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from gateway.bench import compare
from gateway.bench.bench import Report, Result
from gateway.bench.cases import Mode, cases_of
from gateway.bench.document import document_of
from gateway.bench.latency import KEPT
from gateway.bench.loads import Tally
from gateway.bench.pingpong import PAUSE_SECONDS
from gateway.bench.watch import PATIENCE_SECONDS
from gateway.cli.bench_rivals import compare_with_stock
from gateway.cli.main import gotunnel
from tests.bench.running import BenchCase
from tests.cli.cases import COMMAND
from tests.integration.ports import take_ports

PAGE = (Path(__file__).parents[2] / "docs" / "bench.md").read_text("utf-8")
LINES = re.findall(r"^gotunnel (.*)$", PAGE, re.MULTILINE)


class PageTests(SynchronousTestCase):
    """The words."""

    def test_every_mode_has_a_row(self):
        rows = re.findall(r"^\| `([a-z]+)` \|", PAGE, re.MULTILINE)
        self.assertEqual(rows[: len(Mode) + 1], [*map(str, Mode), "all"])

    def test_numbers_are_those_of_the_program(self):
        self.assertIn(f"a pause of {PAUSE_SECONDS * 1000:g} ms", PAGE)
        self.assertIn(f"has {PATIENCE_SECONDS:g} seconds to\narrive", PAGE)
        self.assertIn(f"up to {KEPT} messages", PAGE)
        cases = sum(len(cases_of(mode, None, None)) for mode in Mode)
        self.assertEqual(round(cases * 10 / 60), 6)
        self.assertIn("takes about six minutes", PAGE)

    def test_every_key_of_the_json_is_named(self):
        (case,) = cases_of(Mode.SPEED, None, None)
        tally = Tally(seconds=1.0, messages=1)
        tally.latencies.recent.append(1.0)
        result = Result(case=case, tally=tally, far_usage=None, direct=tally)
        report = Report(mode=Mode.SPEED, seconds=1, workers=1, results=[result])
        document = document_of([report], interrupted=False)
        for key in re.findall(r'"([a-z0-9_]+)":', json.dumps(document)):
            if key not in ("duration_seconds", "workers"):
                self.assertIn(f"`{key}`", PAGE)


class _Page(BaseHTTPRequestHandler):
    """Answers in the place of a gateway that is scraped."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format_, *values):
        """Keep standard error clean."""


class ExampleTests(BenchCase):
    """Every command line, shortened, with a forwarder in the mapping's place."""

    def setUp(self):
        super().setUp()
        self.far_port = take_ports()
        self.public_port = take_ports()
        listen = f"--listen=127.0.0.1:{self.public_port}"
        target = f"--target=127.0.0.1:{self.far_port}"
        self.launch([*COMMAND, "forward", listen, target], "forwarding")
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        page = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
        self.page_port = page.server_port
        Thread(target=page.serve_forever, daemon=True).start()
        self.addCleanup(page.server_close)
        self.addCleanup(page.shutdown)

    def test_the_examples_run(self):
        far = None
        run = []
        for line in LINES:
            words = shlex.split(self.replaced(line))
            if words[0] != "bench" or "--compare-stock" in words:
                command = gotunnel.commands[words[0]]
                command.make_context(words[0], words[1:])
                continue
            if "--connect" not in words:
                far, _ = self.launch([*COMMAND, *words], "far end listening")
                continue
            self.run_bench(*words[1:], "--duration", "50ms")
            if far is not None and "--listen" not in words:
                self.end(far)
            run.append(words)
        self.assertEqual(len(run), 5)
        names = sorted(path.name for path in self.folder.iterdir())
        self.assertEqual(names, ["curves.svg", "figures.json"])

    def replaced(self, line):
        """Return an example with ports and files of this test."""
        for place, port in (
            ("9900", self.far_port),
            ("10900", self.public_port),
            ("8080", self.page_port),
        ):
            line = re.sub(rf"(?<!\d){place}(?!\d)", str(port), line)
        line = line.replace("gateway.example.com", "127.0.0.1")
        return re.sub(r"(figures\.json|curves\.svg)", rf"{self.folder}/\1", line)


class CompareTests(BenchCase):
    """The comparison with a plain relay, too short to say anything."""

    def test_every_way_is_measured(self):
        self.patch(compare, "ROUNDS", 1)
        self.patch(compare, "SECONDS", 0.05)
        ratios = compare_with_stock(lambda: False)
        self.assertEqual({(r.way, r.metric) for r in ratios}, set(compare.FLOORS))
        self.assertTrue(all(ratio.ratio > 0 for ratio in ratios))
