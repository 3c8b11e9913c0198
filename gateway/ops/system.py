"""Whether the machine has what a busy process needs."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from gateway.ops.findings import Finding, Verdict, good

OTHER_DESCRIPTORS: Final = 64
GOOD_BACKLOG: Final = 4096
GOOD_BUFFER: Final = 4 << 20  # bytes of one connection, at most
LEAST_BUFFER: Final = 212_992  # what Linux itself begins with
LEAST_DISK: Final = 100 << 20
GOOD_DISK: Final = 1 << 30
LEAST_MEMORY: Final = 64 << 20
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_CORE: Final = "/proc/sys/net/core/"
_IPV4: Final = "/proc/sys/net/ipv4/"
_NOT_SYNCHRONISED: Final = 5  # TIME_ERROR of adjtimex(2)


@dataclass(frozen=True, slots=True)
class Machine:
    """What is asked of the system.

    Attributes:
        now: the time.
        descriptors: files that a process may open at most.
        read: returns the text of a file, or None.
        free_disk: returns the free bytes at a path that exists.
        clock_state: returns what adjtimex(2) says; None = it cannot be asked.
    """

    now: datetime
    descriptors: int
    read: Callable[[str], str | None]
    free_disk: Callable[[str], int] = lambda path: shutil.disk_usage(path).free
    clock_state: Callable[[], int | None] = lambda: clock_state()


def clock_state() -> int | None:
    """Return the state of the system's clock as the kernel keeps it."""
    try:
        adjtimex = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return None
    nothing_changed = ctypes.create_string_buffer(512)  # of zeros: modes = 0
    state = int(adjtimex(nothing_changed))
    return state if state >= 0 else None


def judge_clock(machine: Machine) -> Iterator[Finding]:
    """Judge whether anything keeps the clock right."""
    state = machine.clock_state()
    what = f"the clock says {machine.now:%Y-%m-%d %H:%M:%S} UTC"
    if state is None:
        yield Finding(
            "clock", Verdict.MIND, f"{what}; who keeps it is not known", "compare it"
        )
    elif state == _NOT_SYNCHRONISED:
        yield Finding(
            "clock",
            Verdict.MIND,
            f"{what}, and nothing keeps it right",
            "timedatectl set-ntp true, or see that the host's clock is kept",
            "synchronised by NTP",
        )
    else:
        yield good("clock", f"{what}, and is kept right")


def judge_descriptors(
    machine: Machine, key: str, wanted: int, *, each: int, pid: int | None
) -> Iterator[Finding]:
    """Judge the limit of open files.

    Args:
        machine: the system.
        key: of the limit that needs them.
        wanted: that limit; 0 = unlimited.
        each: files that one visitor takes at most.
        pid: of the running process; None = what one started from here would have.
    """
    descriptors, whose = machine.descriptors, "a process started here"
    if pid is not None:
        found = _limit_of(machine, pid)
        if found is not None:
            descriptors, whose = found, f"the running process {pid}"
    needed = each * wanted + OTHER_DESCRIPTORS
    what = f"{whose} may open {descriptors} files; {key} is {wanted or 'unlimited'}"
    if wanted and needed <= descriptors:
        yield good("descriptors", what)
        return
    verdict = Verdict.MIND
    if wanted and descriptors < min(wanted, 1024):
        verdict = Verdict.BAD  # the limit is clamped to less than a small site needs
    yield Finding(
        "descriptors",
        verdict,
        what,
        "raise LimitNOFILE in the unit (ulimit -n), or lower the limit"
        if wanted
        else f"set {key} to what this machine can hold",
        f"{needed} files or more" if wanted else "a limit",
    )


def _limit_of(machine: Machine, pid: int) -> int | None:
    for line in (machine.read(f"/proc/{pid}/limits") or "").splitlines():
        if line.startswith("Max open files"):
            soft = line.split()[3]
            return int(soft) if soft.isdigit() else 1 << 30
    return None


def _numbers(machine: Machine, file: str) -> list[int]:
    words = (machine.read(file) or "").split()
    return [int(word) for word in words if word.isdigit()]


def judge_buffers(machine: Machine) -> Iterator[Finding]:
    """Judge what the kernel gives to sockets."""
    for name, least in (
        (f"{_CORE}rmem_max", LEAST_BUFFER),
        (f"{_CORE}wmem_max", LEAST_BUFFER),
        (f"{_CORE}somaxconn", GOOD_BACKLOG),
    ):
        yield from _at_least(name, _numbers(machine, name)[:1], least)
    for name in (f"{_IPV4}tcp_rmem", f"{_IPV4}tcp_wmem"):
        yield from _at_least(name, _numbers(machine, name)[2:3], GOOD_BUFFER)
    yield from _judge_tcp_memory(machine)


def _at_least(file: str, found: list[int], least: int) -> Iterator[Finding]:
    key = file.removeprefix("/proc/sys/").replace("/", ".")
    for value in found:
        if value >= least:
            yield good("buffers", f"{key} is {value}")
        else:
            yield Finding(
                "buffers",
                Verdict.MIND,
                f"{key} is {value}",
                f"raise it by sysctl to {least} (the last number where it has three)",
                f"{least} or more",
            )


def _judge_tcp_memory(machine: Machine) -> Iterator[Finding]:
    """Judge how near all TCP of this machine is to the kernel's own limit."""
    limits = _numbers(machine, f"{_IPV4}tcp_mem")
    words = (machine.read("/proc/net/sockstat") or "").split()
    if len(limits) != 3 or "TCP:" not in words:
        return
    tcp = words[words.index("TCP:") :]
    used = int(tcp[tcp.index("mem") + 1])
    what = f"TCP holds {used * _PAGE >> 20} of {limits[1] * _PAGE >> 20} MiB"
    if used < limits[1] // 2:
        yield good("buffers", what)
    else:
        yield Finding(
            "buffers",
            Verdict.BAD if used >= limits[1] else Verdict.MIND,
            what,
            "find who does not read (ss -tm), or raise sysctl net.ipv4.tcp_mem",
            "less than half",
        )


def judge_disk(machine: Machine, what: str, path: str) -> Iterator[Finding]:
    """Judge whether there is room where something is written."""
    folder = next(one for one in Path(path).absolute().parents if one.exists())
    free = machine.free_disk(str(folder))
    words = f"{what}: {free >> 20} MiB free in {folder}"
    if free >= GOOD_DISK:
        yield good("disk", words)
    else:
        yield Finding(
            "disk",
            Verdict.BAD if free < LEAST_DISK else Verdict.MIND,
            words,
            "make room there, or move it",
            f"{GOOD_DISK >> 20} MiB or more",
        )


def judge_memory(machine: Machine, limit: int) -> Iterator[Finding]:
    """Judge whether memory suffices for what a process may hold.

    Args:
        machine: the system.
        limit: `limits.memory`, bytes; 0 = unlimited.
    """
    available = _available(machine)
    if available is None:
        return
    words = f"{available >> 20} MiB of memory are available"
    if limit:
        words += f"; limits.memory is {limit >> 20} MiB"
    if available < LEAST_MEMORY:
        yield Finding(
            "memory", Verdict.BAD, words, "end what takes it (ps aux --sort -rss)"
        )
    elif not limit or available < limit:
        yield Finding(
            "memory",
            Verdict.MIND,
            words,
            "lower limits.memory, or give the machine more"
            if limit
            else "set limits.memory: slow readers can use all of it up",
            "limits.memory fits into what is available",
        )
    else:
        yield good("memory", words)


def _available(machine: Machine) -> int | None:
    """Return the bytes that can be had, also within a limit of the control group."""
    found = None
    for line in (machine.read("/proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable:"):
            found = int(line.split()[1]) * 1024
    limit = (machine.read("/sys/fs/cgroup/memory.max") or "").strip()
    used = (machine.read("/sys/fs/cgroup/memory.current") or "").strip()
    if limit.isdigit() and used.isdigit():
        within = max(0, int(limit) - int(used))
        found = within if found is None else min(found, within)
    return found
