"""What a probe of a gateway found, and what to think of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final

from cryptography import x509

from gateway import SOFTWARE
from gateway.ops.findings import Finding, Verdict, good
from gateway.ops.sealing import is_issued_by, judge_dates, subject_of
from gateway.policy.addresses import join_host_port

SKEW_SECONDS: Final = 2.0  # that is worth a word
MUCH_SKEW_SECONDS: Final = 60.0  # tokens and young certificates fail
SLOW_SECONDS: Final = 0.3  # of a round trip
SLOW_RATE: Final = 125_000.0  # bytes a second
_ISSUER: Final = "issuer that is not trusted"


class Stage(Enum):
    """How far a probe has come before it failed."""

    NAME = "the name"
    CONNECTION = "the connection"
    SEAL = "TLS"
    GREETING = "HELLO"
    DONE = "everything"


@dataclass(slots=True, kw_only=True)
class Probe:
    """One gateway as an agent sees it.

    Attributes:
        host: as configured.
        port: of its link port.
        stage: where it ended.
        fault: why; empty = it did not fail.
        addresses: what the name leads to.
        connect_seconds: for the connection that was made.
        sealed: whether TLS was asked for.
        tls: what was agreed on, for people; empty without TLS.
        chain: certificates that the gateway showed, its own first.
        software: name and version of the gateway; empty = not told.
        skew_seconds: by how much our clock is ahead of the gateway's; None = not told.
        understood: the gateway knows probes.
        round_trip: shortest, in seconds; None = not measured.
        download: bytes and seconds; None = not measured.
        upload: bytes and seconds; None = not measured.
    """

    host: str
    port: int
    stage: Stage = Stage.NAME
    fault: str = ""
    addresses: list[str] = field(default_factory=list)
    connect_seconds: float = 0.0
    sealed: bool = False
    tls: str = ""
    chain: list[x509.Certificate] = field(default_factory=list)
    software: str = ""
    skew_seconds: float | None = None
    understood: bool = False
    round_trip: float | None = None
    download: tuple[int, float] | None = None
    upload: tuple[int, float] | None = None

    @property
    def where(self) -> str:
        """Host and port."""
        return join_host_port(self.host, self.port)


_ADVICE: Final = {
    Stage.NAME: "look at the spelling of server, at /etc/resolv.conf, and at the DNS",
    Stage.CONNECTION: "look whether the gateway runs, at tunnel.listen_port there, and "
    "at firewalls between",
    Stage.SEAL: "look at tls here and at security.tunnel there; both must be on, and "
    "ca_file must hold the issuer of the gateway's certificate",
    Stage.GREETING: "look at name and token here, and at the gateway's log, which says "
    "more",
}


def judge_probe(probe: Probe, now: datetime) -> Iterator[Finding]:
    """Judge everything, in the order in which a link is made."""
    where, failed = probe.where, probe.stage
    if failed is Stage.NAME:
        yield _failure("dns", probe)
        return
    yield good("dns", f"{probe.host} is {', '.join(probe.addresses)}")
    if failed is Stage.CONNECTION:
        yield _failure("ports", probe)
        return
    yield good("ports", f"{where} answers in {probe.connect_seconds * 1000:.1f} ms")
    yield from _judge_seal(probe, now)
    if failed is Stage.SEAL:
        return
    if failed is Stage.GREETING:
        yield _failure("link", probe)
        return
    if not probe.understood:
        yield Finding(
            "link",
            Verdict.MIND,
            f"{where} took this for an agent of its own: it does not know probes, and "
            "a running agent of this name was displaced for a moment",
            "bring the gateway up to date",
            "a gateway that knows probes",
        )
        return
    yield good("link", f"{where} would take this agent")
    yield _judge_version(probe)
    yield _judge_clock(probe)
    yield from _judge_speed(probe)


def _failure(area: str, probe: Probe) -> Finding:
    return Finding(
        area,
        Verdict.BAD,
        f"{probe.where}: {probe.fault}",
        _ADVICE[probe.stage],
        {
            Stage.NAME: "an address for the name",
            Stage.CONNECTION: "a connection to the link port",
            Stage.GREETING: "HELLO is accepted",
        }.get(probe.stage, ""),
    )


def _judge_seal(probe: Probe, now: datetime) -> Iterator[Finding]:
    if not probe.sealed:
        return
    if probe.stage is Stage.SEAL:
        yield Finding(
            "tls",
            Verdict.BAD,
            f"{probe.where}: {probe.fault}",
            _seal_advice(probe),
            "a handshake with a gateway that proves who it is",
        )
    else:
        yield good("tls", f"{probe.where}: {probe.tls}, and it is who it should be")
    for number, certificate in enumerate(probe.chain):
        kind = "certificate" if number == 0 else "issuer"
        yield judge_dates(
            "tls",
            f"{probe.where}: the {kind} {subject_of(certificate)}",
            certificate,
            now,
            "renew it on the gateway",
        )


def _seal_advice(probe: Probe) -> str:
    """Return what to do; a chain that lacks its middle looks like a wrong issuer."""
    last = probe.chain[-1] if probe.chain else None
    if last is not None and _ISSUER in probe.fault and not is_issued_by(last, last):
        return (
            f"if the trusted issuer did not sign it itself: append "
            f"{last.issuer.rfc4514_string()} to the gateway's cert_file, which ends "
            "before it; else correct tls.ca_file here"
        )
    return _ADVICE[Stage.SEAL]


def _judge_version(probe: Probe) -> Finding:
    if probe.software == SOFTWARE:
        return good("version", f"both ends are {SOFTWARE}")
    return Finding(
        "version",
        Verdict.MIND,
        f"this is {SOFTWARE}, the gateway is {probe.software or 'of no known version'}",
        "bring the older end up to date, the gateway first",
        "the same version at both ends",
    )


def _judge_clock(probe: Probe) -> Finding:
    skew = probe.skew_seconds
    if skew is None:
        return Finding(
            "clock",
            Verdict.MIND,
            "the gateway did not tell its time",
            "compare the clocks by hand",
        )
    words = f"this clock is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} "
    words += "the gateway's"
    if abs(skew) < SKEW_SECONDS:
        return good("clock", words)
    verdict = Verdict.BAD if abs(skew) >= MUCH_SKEW_SECONDS else Verdict.MIND
    return Finding(
        "clock",
        verdict,
        words,
        "set the clock by NTP (timedatectl set-ntp true) on the end that is wrong",
        f"less than {SKEW_SECONDS:g} s apart",
    )


def _judge_speed(probe: Probe) -> Iterator[Finding]:
    if probe.round_trip is None:
        yield Finding(
            "path",
            Verdict.MIND,
            "round trip and speed could not be measured in time",
            "try again when the path is less busy",
        )
        return
    words = f"round trip {probe.round_trip * 1000:.1f} ms"
    if probe.round_trip < SLOW_SECONDS:
        yield good("path", words)
    else:
        yield Finding(
            "path",
            Verdict.MIND,
            words,
            "look for what is far, or full, on the way (mtr)",
            f"below {SLOW_SECONDS * 1000:g} ms",
        )
    for direction, measured in (
        ("from the gateway", probe.download),
        ("to the gateway", probe.upload),
    ):
        yield _rate(direction, measured)


def _rate(direction: str, measured: tuple[int, float] | None) -> Finding:
    if measured is None:
        return Finding(
            "path",
            Verdict.MIND,
            f"the speed {direction} could not be measured in time",
            "look for what is slow, or full, on the way",
            f"{SLOW_RATE / 1e6:g} MB/s or more",
        )
    size, seconds = measured
    rate = size / max(seconds, 1e-6)
    words = f"{rate / 1e6:.1f} MB/s {direction} ({size >> 10} KiB in {_span(seconds)})"
    if rate >= SLOW_RATE:
        return good("path", words)
    return Finding(
        "path",
        Verdict.MIND,
        words,
        "look for what is slow, or full, on the way",
        f"{SLOW_RATE / 1e6:g} MB/s or more",
    )


def _span(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
