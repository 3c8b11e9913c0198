"""Whether this machine's own packet filter lets visitors in, as far as it can be seen.

Rules are not worked out: what is looked for is a filter that drops what no rule
accepts, and rules that accept ports.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from gateway.ops.findings import Finding, Verdict, good

Run = Callable[[Sequence[str]], str | None]
_SECONDS: Final = 5.0
_PORTS: Final = re.compile(r"dports? (?:\{ ?)?([0-9][0-9:,\- ]*)")
_INPUT_CHAIN: Final = re.compile(r"chain [^{]*\{[^{}]*hook input[^}]*", re.DOTALL)
_RANGE: Final = re.compile(r"(\d+)(?: ?[:-] ?(\d+))?")


def run_or_none(command: Sequence[str]) -> str | None:
    """Return what a command says, or None if it cannot be had."""
    try:
        done = subprocess.run(  # noqa: S603 - a constant list
            command, capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def judge_filter(ports: Sequence[tuple[str, int, int]], run: Run) -> Iterator[Finding]:
    """Judge whether ports are open to others.

    Args:
        ports: what they are called, the first and the last of each.
        run: returns what a command says, or None.
    """
    seen = False
    for rules, drops in _filters(run):
        seen = True
        for name, first, last in ports:
            yield _judge(name, first, last, rules, drops=drops)
    if not seen:
        yield Finding(
            "firewall",
            Verdict.MIND,
            "the packet filter of this machine could not be seen",
            "run as root, and look at filters outside of this machine; `gotunnel "
            "firewall` prints rules that fit",
        )


def _filters(run: Run) -> Iterator[tuple[str, bool]]:
    """Return the rules for what comes in, and whether the rest is dropped."""
    tables = run(["nft", "list", "ruleset"])
    if tables is not None:
        # a set of ports has braces of its own
        flat = re.sub(r"dport \{ ?([^}]*)\}", r"dport \1", tables)
        chains = _INPUT_CHAIN.findall(flat)
        yield from ((chain, "policy drop" in chain) for chain in chains)
        if not chains:
            yield "", False
        return
    rules = run(["iptables", "-S", "INPUT"])
    if rules is not None:
        yield rules, "-P INPUT DROP" in rules


def _judge(name: str, first: int, last: int, rules: str, *, drops: bool) -> Finding:
    where = f"{name} {first}" if first == last else f"{name} {first}-{last}"
    for line in rules.splitlines():
        lower = line.lower()
        if _covers(line, first, last):
            if "accept" in lower:
                return good("firewall", f"{where} is let in")
            if "drop" in lower or "reject" in lower:
                return Finding(
                    "firewall",
                    Verdict.BAD,
                    f"{where} is kept out: {line.strip()}",
                    "change that rule; `gotunnel firewall` prints rules that fit",
                    "visitors are let in",
                )
    if drops:
        return Finding(
            "firewall",
            Verdict.BAD,
            f"{where} is kept out: no rule lets it in, and the rest is dropped",
            "add a rule; `gotunnel firewall` prints rules that fit",
            "visitors are let in",
        )
    return good("firewall", f"{where} is not kept out by this machine's own filter")


def _covers(line: str, first: int, last: int) -> bool:
    found = _PORTS.search(line)
    if found is None:
        return False
    return any(
        int(low) <= first and last <= int(high or low)
        for low, high in _RANGE.findall(found[1])
    )
