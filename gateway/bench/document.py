"""Reports as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

from gateway import __version__
from gateway.bench.bench import Report, Result
from gateway.bench.loads import Tally


def document_of(reports: Sequence[Report], *, interrupted: bool) -> dict[str, object]:
    """Return everything that was measured, and on what."""
    return {
        "software": f"gotunnel {__version__}",
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": os.cpu_count(),
        "interrupted": interrupted,
        "reports": [_report(report) for report in reports],
    }


def _report(report: Report) -> dict[str, object]:
    return {
        "mode": report.mode.value,
        "parameters": {"duration_seconds": report.seconds, "workers": report.workers},
        "sound": report.sound,
        "results": [_result(result) for result in report.results],
    }


def _result(result: Result) -> dict[str, object]:
    case, far = result.case, result.far_usage
    return {
        "kind": case.kind.value,
        "connections": case.connections,
        "size_bytes": case.size,
        **_tally(result.tally),
        "load_cpu_share": result.tally.usage.ran,
        "load_wait_share": result.tally.usage.waited,
        "far_cpu_share": None if far is None else far.ran,
        "far_wait_share": None if far is None else far.waited,
        "load_was_limit": result.load_was_limit,
        "far_was_limit": result.far_was_limit,
        "direct": None if result.direct is None else _tally(result.direct),
        "ratio": result.ratio,
        "scrapes": None
        if result.scrapes is None
        else {
            **result.scrapes._asdict(),
            "per_second": result.scrapes.rate,
        },
    }


def _tally(tally: Tally) -> dict[str, object]:
    latency = tally.latencies.summary()
    return {
        "seconds": tally.seconds,
        "total_bytes": tally.size_bytes,
        "bytes_per_second": tally.bytes_a_second,
        "messages": tally.messages,
        "messages_per_second": tally.messages_a_second,
        "failed_messages": tally.failed,
        "connection_failures": tally.lost,
        "success": tally.success,
        "latency_seconds": None if latency is None else latency._asdict(),
        "fault": tally.fault,
    }
