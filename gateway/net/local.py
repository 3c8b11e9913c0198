"""Which addresses are this machine's own."""

from __future__ import annotations

import socket

from gateway.net.addresses import family_of


def is_local(address: str) -> bool:
    """Tell whether a literal address is one of this machine's interfaces.

    The system is asked by binding: interfaces come and go while we run.
    """
    family = family_of(address)
    if family is None:
        return False
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
