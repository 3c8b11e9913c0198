"""Life of a stream, as a table.

The table is that of a negotiated link; a legacy link uses OPENING, DIALING, OPEN
and ENDED only (`legacy.py`).  A pair that is missing is a protocol error.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple, Protocol

from gateway.errors import ProtocolError
from gateway.mux.credit import ReceiveCredit, SendCredit
from gateway.wire.messages import OpenRequest


class State(Enum):
    """Where a stream stands; FS and FR: FIN sent, FIN received."""

    OPENING = "opening"
    OPENING_FS = "opening, FIN sent"
    DIALING = "dialing"
    DIALING_FR = "dialing, FIN received"
    OPEN = "open"
    FS = "FIN sent"
    FR = "FIN received"
    ENDED = "ended"


class Event(Enum):
    """What happens to it."""

    FIN_SENT = "FIN sent"
    FIN_RECEIVED = "FIN received"
    DATA_RECEIVED = "Data received"
    SUCCESS_RECEIVED = "success received"
    FAILURE_RECEIVED = "failure received"
    SUCCESS_SENT = "success sent"
    FAILURE_SENT = "failure sent"
    RESET = "RESET sent or received"


_LIVE: Final = tuple(state for state in State if state is not State.ENDED)

NEXT: Final[dict[tuple[State, Event], State]] = {
    (State.OPENING, Event.FIN_SENT): State.OPENING_FS,
    (State.OPENING, Event.SUCCESS_RECEIVED): State.OPEN,
    (State.OPENING, Event.FAILURE_RECEIVED): State.ENDED,
    (State.OPENING_FS, Event.SUCCESS_RECEIVED): State.FS,
    (State.OPENING_FS, Event.FAILURE_RECEIVED): State.ENDED,
    (State.DIALING, Event.DATA_RECEIVED): State.DIALING,
    (State.DIALING, Event.FIN_RECEIVED): State.DIALING_FR,
    (State.DIALING, Event.SUCCESS_SENT): State.OPEN,
    (State.DIALING, Event.FAILURE_SENT): State.ENDED,
    (State.DIALING_FR, Event.SUCCESS_SENT): State.FR,
    (State.DIALING_FR, Event.FAILURE_SENT): State.ENDED,
    (State.OPEN, Event.DATA_RECEIVED): State.OPEN,
    (State.OPEN, Event.FIN_SENT): State.FS,
    (State.OPEN, Event.FIN_RECEIVED): State.FR,
    (State.FS, Event.DATA_RECEIVED): State.FS,
    (State.FS, Event.FIN_RECEIVED): State.ENDED,
    (State.FR, Event.FIN_SENT): State.ENDED,
    **{(state, Event.RESET): State.ENDED for state in _LIVE},
}

TAKES_DATA: Final = frozenset(
    state for state in State if (state, Event.DATA_RECEIVED) in NEXT
)
FIN_IS_SENT: Final = frozenset({State.OPENING_FS, State.FS})
FIN_IS_RECEIVED: Final = frozenset({State.DIALING_FR, State.FR})
UNCONFIRMED: Final = frozenset(
    {State.OPENING, State.OPENING_FS, State.DIALING, State.DIALING_FR}
)


def after(state: State, event: Event) -> State:
    """Return the state that follows.

    Raises:
        ProtocolError: the table has no such step.
    """
    try:
        return NEXT[state, event]
    except KeyError:
        raise ProtocolError(
            f"{event.value} while the stream is {state.value}", "state"
        ) from None


class Ending(NamedTuple):
    """Why a stream is over.

    Attributes:
        reason: for the log and the counters; no trailing full stop.
        flush: True = the near socket gets what was received, then a clean close;
            False = it is aborted.
    """

    reason: str
    flush: bool


class StreamRequest(NamedTuple):
    """What a stream is opened for.

    Attributes:
        protocol: kind of the stream, such as `wire.frames.PROTOCOL_TCP`.
        port: of the target.
        host: of the target; empty = the default one of whoever dials.
        meta: what else the dialler is told; must have a JSON form.
    """

    protocol: int
    port: int
    host: str
    meta: dict[str, object]


class StreamEnd(Protocol):
    """The near side of a stream, as its session sees it.

    A session has changed its own state before it calls; the callee may call the
    session back before it returns.
    """

    def requested(self, request: OpenRequest) -> None:
        """The far end wants a target; answer now or later."""

    def opened(self) -> None:
        """The far end reached the target."""

    def deliver(self, data: memoryview) -> None:
        """Bytes from the far end; repay them as they leave."""

    def far_finished(self) -> None:
        """Nothing comes behind what was delivered."""

    def granted(self) -> None:
        """There is credit again."""

    def ended(self, ending: Ending) -> None:
        """The stream is over and forgotten; called exactly once."""


class Stream:
    """One stream of one link.

    Attributes:
        id: the wire's connID.
        state: see `State`.
        end: the near side; gone once the stream is over.
        sending: credit for our Data.
        receiving: credit for the peer's Data.
        early: Data bytes that may still be sent before the target is confirmed.
        other_id: second id of the same visitor on a legacy link whose form of
            ConnectRequest is not known yet, else None.
    """

    __slots__ = ("early", "end", "id", "other_id", "receiving", "sending", "state")

    end: StreamEnd

    def __init__(
        self,
        stream_id: int,
        state: State,
        sending: SendCredit,
        receiving: ReceiveCredit,
        early: int = 0,
    ) -> None:
        self.id = stream_id
        self.state = state
        self.sending = sending
        self.receiving = receiving
        self.early = early
        self.other_id: int | None = None
