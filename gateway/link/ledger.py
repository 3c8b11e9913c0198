"""What one link holds and owes: its queues, and the credit of each stream."""

from __future__ import annotations

from typing import Any, cast

from gateway.interfaces import NamedLink
from gateway.link.protocol import LinkProtocol
from gateway.link.stream import StreamTransport
from gateway.mux.credit import UNLIMITED


def ledger_of(named: NamedLink) -> dict[str, Any]:
    """Return everything as values for JSON; sizes in bytes, times in seconds."""
    link = cast(LinkProtocol, named.link)  # there is no other kind yet
    session = link.session
    core, liveness = session.core, session.liveness
    return {
        "agent": named.agent,
        "number": named.number,
        "address": link.address,
        "state": _state(link),
        "protocol": _protocol(link),
        "rtt": liveness.rtt_seconds,
        "shortest_rtt": liveness.shortest,
        "heartbeat": liveness.interval,
        "received": session.received_bytes,
        "sent": core.outbox.sent_bytes,
        "kept": link.kept_bytes,
        "partial": session.kept_bytes,
        "skipped": session.skipped_bytes,
        "queue": core.outbox.waiting_bytes,
        "unsent": link.transport.unsent,
        "full": link.full,
        "paused": link.paused,
        "stalled": link.stalled,
        "oddities": dict(core.counts),
        "streams": [_stream(end) for end in _ends(link)],
    }


def _ends(link: LinkProtocol) -> list[StreamTransport]:
    # on a legacy link two ids may lead to one stream
    return list(dict.fromkeys(link.stream_ends()))


def _state(link: LinkProtocol) -> str:
    session = link.session
    if session.ended:
        return "ended"
    if session.rules is None:
        return "undecided"
    if session.leaving or session.far_leaving:
        return "leaving"
    return "up"


def _protocol(link: LinkProtocol) -> str:
    if link.session.rules is None:
        return "undecided"
    return "legacy" if link.legacy else "negotiated"


def _stream(end: StreamTransport) -> dict[str, Any]:
    stream = end.stream
    sending, receiving = stream.sending, stream.receiving
    return {
        "id": stream.id,
        "state": stream.state.value,
        "sent": end.sent,
        "received": end.received,
        "send_credit": _credit(sending.left),
        "receive_credit": _credit(receiving.unspent),
        "window": _credit(receiving.window),
        "held": end.held,
        "tail": end.waiting,
        "unsent": end.unsent,
        "paused": end.paused,
    }


def _credit(left: int) -> int | None:
    """Return the bytes; None = there is no limit."""
    return None if left >= UNLIMITED >> 1 else left


def as_text(ledgers: list[dict[str, Any]]) -> str:
    """Return the same for people: a paragraph for each link, a line for each stream."""
    lines = [f"links: {len(ledgers)}"]
    for link in ledgers:
        streams = link["streams"]
        name = "?" if link["agent"] is None else f"{link['agent']}/{link['number']}"
        lines += ["", f"{name} {link['address']} {link['state']} {link['protocol']}"]
        lines += [
            f"  {key}: {_shown(value)}"
            for key, value in link.items()
            if key not in ("agent", "number", "address", "state", "protocol", "streams")
        ]
        lines.append(f"  streams: {len(streams)}")
        for stream in streams:
            words = " ".join(f"{key}={_shown(value)}" for key, value in stream.items())
            lines.append(f"    {words}")
    return "\n".join(lines) + "\n"


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {number}" for key, number in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value).replace(" ", "_")
