"""Frame kinds, reasons and statuses: the numbers of the protocol.

Kinds below 0x10 are the plain version 0x01 protocol; the others are sent only
to a peer that took part in HELLO / HELLO_ACK.  See docs/protocol.md.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 0x01
HEADER_BYTES: Final = 6
DATA_HEADER_BYTES: Final = 10  # of a Data frame, with the connID
MAX_PAYLOAD: Final = 1 << 20  # bytes, the connID included
MAX_CONTROL: Final = 4608  # of a frame of a decided link that is not Data
MAX_FIRST: Final = 8192  # of any frame before a link is decided
MAX_ID: Final = (1 << 32) - 1
MAX_CREDIT: Final = (1 << 31) - 1

CONNECT_REQUEST: Final = 0x01
CONNECT_RESPONSE: Final = 0x02
DATA: Final = 0x03
CLOSE: Final = 0x04
KEEP_ALIVE: Final = 0x05
HELLO: Final = 0x10
HELLO_ACK: Final = 0x11
FIN: Final = 0x12
WINDOW: Final = 0x13
OPEN: Final = 0x14
REGISTER: Final = 0x15
REGISTER_ACK: Final = 0x16
GOAWAY: Final = 0x17
RESET: Final = 0x18
AUTH: Final = 0x19
PING: Final = 0x1A

BASE_KINDS: Final = frozenset(
    {CONNECT_REQUEST, CONNECT_RESPONSE, DATA, CLOSE, KEEP_ALIVE}
)
KIND_NAMES: Final[dict[int, str]] = {
    CONNECT_REQUEST: "ConnectRequest",
    CONNECT_RESPONSE: "ConnectResponse",
    DATA: "Data",
    CLOSE: "Close",
    KEEP_ALIVE: "KeepAlive",
    HELLO: "HELLO",
    HELLO_ACK: "HELLO_ACK",
    FIN: "FIN",
    WINDOW: "WINDOW",
    OPEN: "OPEN",
    REGISTER: "REGISTER",
    REGISTER_ACK: "REGISTER_ACK",
    GOAWAY: "GOAWAY",
    RESET: "RESET",
    AUTH: "AUTH",
    PING: "PING",
}

# status of ConnectResponse; a legacy gateway knows only 0 and 1
SUCCESS: Final = 0x00
FAILURE: Final = 0x01
STATUS_TEXTS: Final[dict[int, str]] = {
    0x00: "success",
    0x01: "failure",
    0x02: "refused by the target",
    0x03: "timeout",
    0x04: "unresolvable name",
    0x05: "denied by the agent's policy",
    0x06: "limit reached",
}
STATUS_LIMIT: Final = 0x06

# reason of GOAWAY
STOPPING: Final = 0
REPLACED: Final = 1
REVOKED: Final = 2
PROTOCOL_ERROR: Final = 3
RELOAD: Final = 4
SURPLUS: Final = 5  # an agent has more links than it needs
POLITE_REASONS: Final = frozenset({STOPPING, RELOAD, SURPLUS})

# reason of RESET
ABORTED: Final = 0
UNKNOWN_ID: Final = 1
TIMED_OUT: Final = 2
OVER_LIMIT: Final = 3
DENIED: Final = 4
KILLED: Final = 5
RESET_TEXTS: Final[dict[int, str]] = {
    ABORTED: "aborted",
    UNKNOWN_ID: "unknown id",
    TIMED_OUT: "timeout",
    OVER_LIMIT: "limit",
    DENIED: "denied",
    KILLED: "killed by the operator",
}

# protocol of OPEN
PROTOCOL_TCP: Final = 1

PING_QUESTION: Final = 0
PING_ANSWER: Final = 1
