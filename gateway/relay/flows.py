"""What waits for the two peers of a connection."""

from __future__ import annotations

from gateway.interfaces import IByteTransport
from gateway.policy.backlogs import Flow


def flows_of_stream(
    near: IByteTransport, received: int, waiting: int, sent: int
) -> tuple[Flow, ...]:
    """Return the flows of a socket and the stream of a link that it is joined to.

    Args:
        near: the socket.
        received: bytes from the stream for the socket.
        waiting: bytes from the socket that the link has not taken.
        sent: bytes from the socket, those included.

    Returns:
        To the socket and to the link; nothing if no byte waits.
    """
    unread, unacknowledged = near.kernel_bytes()
    if not (unread or unacknowledged or waiting or near.unsent):
        return ()
    return (
        Flow(near.unsent, unacknowledged, _taken(near, received)),
        Flow(waiting, unread, sent - waiting),
    )


def flows_of_pair(
    near: IByteTransport, far: IByteTransport, sent: int, received: int
) -> tuple[Flow, ...]:
    """Return the flows of two sockets that are joined.

    Args:
        near: the visitor's.
        far: the target's.
        sent: bytes from the visitor.
        received: bytes from the target.

    Returns:
        To the visitor and to the target; nothing if no byte waits.
    """
    near_unread, near_kept = near.kernel_bytes()
    far_unread, far_kept = far.kernel_bytes()
    kept = near_unread or near_kept or far_unread or far_kept
    if not (kept or near.unsent or far.unsent):
        return ()
    return (
        Flow(near.unsent, near_kept + far_unread, _taken(near, received)),
        Flow(far.unsent, far_kept + near_unread, _taken(far, sent)),
    )


def _taken(transport: IByteTransport, written: int) -> int:
    """Return what the peer has taken, or else what its kernel's buffer has."""
    acknowledged = transport.acknowledged()
    return written - transport.unsent if acknowledged is None else acknowledged
