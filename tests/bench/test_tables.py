"""What is printed."""

import io
import os
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from gateway.bench.bench import Report, Result
from gateway.bench.cases import Mode, cases_of
from gateway.bench.figures import megabytes
from gateway.bench.labels import LABELS
from gateway.bench.loads import Tally
from gateway.bench.style import PLAIN, Style
from gateway.bench.tables import drawn
from gateway.bench.usage import Usage


def tally_of(speed=1e6, *, latency=0.001, messages=1000, **changes):
    """Return what a flawless second gives."""
    tally = Tally(seconds=1.0, messages=messages, size_bytes=int(speed), **changes)
    tally.latencies.recent.extend([latency] * messages)
    return tally


def result_of(case, tally, **changes):
    """Return a result without a remark."""
    return Result(case=case, tally=tally, **{"far_usage": Usage(0.5), **changes})


def report_of(mode, tallies, **changes):
    """Return a report with a tally for each of the first cases."""
    cases = cases_of(mode, None, None)
    results = [
        result_of(case, tally, **changes)
        for case, tally in zip(cases, tallies, strict=False)
    ]
    return Report(mode=mode, seconds=10, workers=1, results=results)


def text_of(report, style=Style(), width=200):  # noqa: B008 - a constant
    """Return the print of a report, without what is behind each line."""
    file = io.StringIO()
    console = Console(file=file, width=width, highlight=False, emoji=False)
    for item in drawn(report, style, width):
        console.print(item)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


BOX = """\
                      speed
╭─────────────────────┬──────────────────────────╮
│ duration            │                 10.000 s │
│ total bytes         │      95400960 (95.40 MB) │
│ total messages      │                    93165 │
│ good messages       │                    93165 │
│ failed messages     │                        0 │
│ connection failures │                        0 │
│ success             │               100.00 % ✓ │
│ mean speed          │ 9.54 MB/s (76.32 Mbit/s) │
│ least latency       │                  50.0 µs │
│ most latency        │                 2.000 ms │
│ mean latency        │                 575.0 µs │
│ P50                 │                 125.0 µs │
│ P95                 │                 1.722 ms │
│ P99                 │                 1.944 ms │
│ throughput          │        9316.50 packets/s │
╰─────────────────────┴──────────────────────────╯
parameters: connections 4, size 1 KiB, duration 10 s, load workers 1
"""
TABLE = """\
                                connections side by side

  conns    MB/s      success   packets/s       mean        P50        P95        P99 \
  failures   total MB   scaling
 ─
      1    8.63   100.00 % ✓        1000   200.0 µs   200.0 µs   200.0 µs   200.0 µs \
         0       8.63     1.00x
      2   34.41   100.00 % ✓        1000   100.0 µs   100.0 µs   100.0 µs   100.0 µs \
         0      34.41     3.99x   🚀
      5   25.89   100.00 % ✓        1000   300.0 µs   300.0 µs   300.0 µs   300.0 µs \
         0      25.89     3.00x

🚀 fastest: connections 2, 34.41 MB/s (275.28 Mbit/s)
best success: connections 1, 100.00 % ✓
lowest latency: connections 2, 100.0 µs
parameters: size 1 KiB, duration 10 s, load workers 1
"""


def without_frame(text):
    """Return a table whose title and rule do not depend on its width."""
    title, *lines = text.splitlines()
    lines = [" ─" if line.startswith(" ─") else line for line in lines]
    return "\n".join([title.strip(), *lines])


class BoxTests(SynchronousTestCase):
    """One result."""

    def setUp(self):
        self.tally = Tally(seconds=10.0, messages=93165, size_bytes=95400960)
        self.tally.latencies.recent.extend([50e-6, 100e-6, 150e-6, 2e-3])

    def test_a_box_has_every_figure(self):
        self.assertEqual(text_of(report_of(Mode.SPEED, [self.tally])), BOX)

    def test_chinese_labels_are_the_published_ones(self):
        text = text_of(report_of(Mode.SPEED, [self.tally]), Style("zh"))
        for words in (
            "测试时长 总字节数 总数据包数 成功数据包 失败数据包 连接失败次数 成功率",
            "平均速度 最小延迟 最大延迟 平均延迟 吞吐量",
        ):
            for word in words.split():
                self.assertIn(f"│ {word} ", text)

    def test_columns_of_wide_letters_line_up(self):
        text = text_of(report_of(Mode.SPEED, [self.tally]), Style("zh"))
        rows = [line for line in text.splitlines() if line.startswith("│")]
        self.assertEqual(len({cell_len(row) for row in rows}), 1)

    def test_a_one_way_flow_has_no_echoes(self):
        flow = Tally(seconds=1.0, size_bytes=10**9)
        text = text_of(report_of(Mode.UPLOAD, [flow]))
        self.assertIn("1000.00 MB/s (8000.00 Mbit/s)", text)
        self.assertIn("connections 5, size 64 KiB", text)
        for word in ("messages", "latency", "P99", "packets"):
            self.assertNotIn(word, text)

    def test_the_twin_without_a_relay_is_beside_it(self):
        report = report_of(Mode.SPEED, [self.tally], direct=tally_of(19.08e6))
        text = text_of(report)
        self.assertRegex(text, r"without a relay +│ +19.08 MB/s")
        self.assertRegex(text, r"ratio +│ +0.50")

    def test_failures_are_counted_and_the_first_is_told(self):
        tally = tally_of(messages=90, failed=10, lost=2, fault="message 3: byte 9")
        text = text_of(report_of(Mode.RELIABILITY, [tally]))
        self.assertRegex(text, r"total messages +│ +100 ")
        self.assertRegex(text, r"failed messages +│ +10 ")
        self.assertRegex(text, r"connection failures +│ +2 ")
        self.assertIn("90.00 % ✗", text)
        self.assertIn("first fault: message 3: byte 9", text)


class TableTests(SynchronousTestCase):
    """Several results."""

    def concurrent(self, **changes):
        rates = (8.63, 0.0002), (34.41, 0.0001), (25.89, 0.0003)
        tallies = [tally_of(speed * 1e6, latency=span) for speed, span in rates]
        return report_of(Mode.CONCURRENT, tallies, **changes)

    def test_a_table_has_every_figure(self):
        text = text_of(self.concurrent())
        self.assertEqual(without_frame(text), without_frame(TABLE))

    def test_the_twin_without_a_relay_has_its_columns(self):
        text = text_of(self.concurrent(direct=tally_of(17.205e6)))
        self.assertRegex(text, r"direct MB/s +ratio")
        self.assertRegex(text, r"\n +2 .* 17.2\d +2.00 +🚀")

    @settings(deadline=None, max_examples=30)
    @given(st.lists(st.integers(1, 10**6), min_size=1, max_size=7))
    def test_the_mark_is_on_the_winner_alone(self, speeds):
        """Also where rows before it were the best so far."""
        for mode, mark in ((Mode.CONCURRENT, "🚀"), (Mode.BANDWIDTH, "🏆")):
            tallies = [tally_of(speed * 1e4, messages=1) for speed in speeds]
            lines = text_of(report_of(mode, tallies)).splitlines()
            marked = [line for line in lines if line.endswith(mark)]
            best = megabytes(max(speeds) * 1e4)
            self.assertEqual(len(marked), 1)
            self.assertIn(f" {best} ", marked[0])
            (praise,) = [line for line in lines if line.startswith(mark)]
            self.assertIn(f" {best} MB/s", praise)

    def test_a_table_of_failures_has_no_winner(self):
        tallies = [Tally(seconds=1.0, lost=1, fault="reset")] * 3
        for mode in (Mode.CONCURRENT, Mode.SIZES, Mode.BANDWIDTH):
            text = text_of(report_of(mode, tallies))
            self.assertNotRegex(text, "🚀|🏆|fastest|best")

    def test_sizes_name_four_winners(self):
        tallies = [
            tally_of(1e6, latency=0.1, messages=5),
            tally_of(3e6, latency=0.3, messages=9),
            tally_of(2e6, latency=0.01, messages=7),
        ]
        text = text_of(report_of(Mode.SIZES, tallies))
        self.assertIn("🚀 fastest: 256 B, 3.00 MB/s", text)
        self.assertIn("lowest latency: 512 B, 10.000 ms", text)
        self.assertIn("highest throughput: 256 B, 9 packets/s", text)
        self.assertIn("best success: 64 B, 100.00 % ✓", text)

    def test_a_narrow_terminal_gets_fewer_columns_but_whole_ones(self):
        for mode in (Mode.CONCURRENT, Mode.SIZES, Mode.BANDWIDTH):
            tallies = [tally_of(1.5e9, latency=0.0123456)] * 3
            report = report_of(mode, tallies, direct=tally_of(1.6e9))
            text = text_of(report, width=100)
            self.assertNotIn("…", text)
            for word in ("MB/s", "success", "P99", "ratio", "1500.00", "12.346 ms"):
                self.assertIn(word, text)
            self.assertIn("P95", text_of(report))

    def test_no_terminal_cuts_a_cell(self):
        """Neither a slim one nor one that lets nobody move a cursor."""
        for terminal in ("xterm", "dumb"):
            self.patch(os, "environ", {**os.environ, "TERM": terminal})
            for mode in (Mode.CONCURRENT, Mode.SIZES, Mode.BANDWIDTH):
                tallies = [tally_of(1.5e9, latency=0.0123456)] * 3
                report = report_of(mode, tallies, direct=tally_of(1.6e9))
                for language in ("en", "zh"):
                    for width in (48, 60, 80, 100, 120):
                        text = text_of(report, Style(language), width)
                        rows = re.findall("^ .* 1500.00 .* 0.94", text, re.MULTILINE)
                        self.assertEqual(len(rows), 3, (terminal, mode, width))
                        self.assertNotIn("…", text)

    def test_a_row_with_failures_wins_nothing_from_one_without(self):
        fast = tally_of(9e6, latency=1e-6, failed=1)
        for mode in (Mode.CONCURRENT, Mode.SIZES, Mode.BANDWIDTH):
            text = text_of(report_of(mode, [tally_of(1e6), fast, tally_of(2e6)]))
            self.assertRegex(text, r"(🚀 fastest|🏆 maximum bandwidth): .*, 2\.00 MB/s")
            self.assertNotIn(": 9.00", text)
            text = text_of(report_of(mode, [fast]))
            self.assertRegex(text, r"(🚀 fastest|🏆 maximum bandwidth): .*, 9\.00 MB/s")

    def test_plain_terminals_get_plain_signs(self):
        lines = text_of(self.concurrent(), PLAIN).splitlines()
        self.assertEqual(sum(line.endswith(">>") for line in lines), 1)
        for line in lines:
            self.assertTrue(line.replace("─", "-").isascii(), line)


class NoteTests(SynchronousTestCase):
    """What a figure does not say by itself."""

    def test_a_busy_load_is_said(self):
        text = text_of(report_of(Mode.SPEED, [tally_of(usage=Usage(0.97, 0.02))]))
        self.assertIn(
            "the load generator was the limit: it ran 97% of the time; "
            "try more --workers\n",
            text,
        )

    def test_a_busy_far_end_is_said(self):
        report = report_of(Mode.SPEED, [tally_of()], far_usage=Usage(0.95))
        said = "the far end was the limit: it ran 95% of the time\n"
        self.assertIn(said, text_of(report))

    def test_who_lacks_a_core_is_a_limit_that_more_workers_do_not_move(self):
        scarce = Usage(0.32, 0.61)
        tally = tally_of(usage=scarce)
        text = text_of(report_of(Mode.SPEED, [tally], far_usage=scarce))
        for who in ("load generator", "far end"):
            self.assertIn(
                f"the {who} was the limit: it ran 32% of the time and waited 61% for "
                "a free core\n",
                text,
            )
        self.assertNotIn("--workers", text)

    def test_many_rows_are_counted(self):
        report = report_of(Mode.SIZES, [tally_of(usage=Usage(0.95))] * 4 + [tally_of()])
        self.assertIn("was the limit in 4 of 5 rows: it ran 95% of", text_of(report))

    def test_rows_are_named_if_some_had_room(self):
        busy, idle = tally_of(usage=Usage(0.95)), tally_of()
        for mode, name in (
            (Mode.CONCURRENT, "connections 2"),
            (Mode.SIZES, "256 B"),
            (Mode.BANDWIDTH, "5 x 64 KiB"),
        ):
            text = text_of(report_of(mode, [idle, busy, idle]))
            self.assertIn(f"was the limit in {name}: it ran 95% of", text)
            text = text_of(report_of(mode, [busy] * 7))
            self.assertIn("was the limit: it ran 95% of", text)

    def test_a_failure_without_the_relay_is_one(self):
        """What a ratio is made of must be sound, too."""
        twin = tally_of(lost=1, fault="reset")
        report = report_of(Mode.SPEED, [tally_of()], direct=twin)
        self.assertFalse(report.sound)
        self.assertIn("first fault: reset", text_of(report))
        self.assertTrue(report_of(Mode.SPEED, [tally_of()], direct=tally_of()).sound)

    def test_nothing_is_said_of_processes_with_room(self):
        most = Usage(0.5, 0.39)
        for usage in (most, None):
            report = report_of(Mode.SPEED, [tally_of(usage=most)], far_usage=usage)
            self.assertNotIn("limit", text_of(report))

    def test_labels_have_both_languages(self):
        for key, (english, chinese) in LABELS.items():
            self.assertTrue(english.isascii(), key)
            fields = re.findall(r"{\w+}", english)
            self.assertEqual(re.findall(r"{\w+}", chinese), fields, key)
