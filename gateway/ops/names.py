"""Look up names of hosts, side by side and within a few seconds."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from gateway.ops.findings import Finding, Verdict, good

SECONDS: Final = 5.0
MOST_NAMES: Final = 30


class Looked(NamedTuple):
    """What became of one name.

    Attributes:
        addresses: in the order in which they are tried.
        fault: why there are none; empty if there are.
    """

    addresses: list[str]
    fault: str


def look_up(names: Iterable[str]) -> dict[str, Looked]:
    """Return what each name leads to; literal addresses lead to themselves."""
    found: dict[str, Looked] = {}
    threads = {}
    for name in list(dict.fromkeys(names))[:MOST_NAMES]:
        found[name] = Looked([], f"the name was not looked up within {SECONDS:g} s")
        # a resolver that hangs must not keep the command from ending
        threads[name] = threading.Thread(target=_ask, args=(name, found), daemon=True)
        threads[name].start()
    for thread in threads.values():
        thread.join(SECONDS)
    return dict(found)


def _ask(name: str, found: dict[str, Looked]) -> None:
    try:
        places = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as fault:
        found[name] = Looked([], getattr(fault, "strerror", None) or str(fault))
    else:
        addresses = dict.fromkeys(str(place[0]) for *_, place in places)
        found[name] = Looked(list(addresses), "")


def judge_names(what: str, names: Iterable[str]) -> Iterator[Finding]:
    """Judge whether names lead anywhere."""
    for name, (addresses, fault) in look_up(names).items():
        if fault:
            yield Finding(
                "dns",
                Verdict.BAD,
                f"{what} {name}: {fault}",
                "look at the spelling, at /etc/resolv.conf and at the DNS",
                "an address",
            )
        else:
            yield good("dns", f"{what} {name} is {', '.join(addresses)}")
