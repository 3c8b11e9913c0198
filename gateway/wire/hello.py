"""HELLO, HELLO_ACK, REGISTER and REGISTER_ACK: JSON with limits.

Unknown keys are ignored; a known key of a wrong type or outside its limits is a
`PayloadError` that names the key, the value and the limit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.errors import PayloadError
from gateway.wire import frames
from gateway.wire.codec import encode_frame
from gateway.wire.messages import Payload, decode_json, encode_json
from gateway.wire.plain import cleaned, is_plain

MIN_WINDOW: Final = 16384
MIN_FRAME: Final = 4100
MAX_LINKS: Final = 16
DEFAULT_WINDOW: Final = 262144
DEFAULT_FRAME: Final = 262144
MAX_CLOCK: Final = float(1 << 40)  # Unix seconds
MAX_PADDING: Final = 1 << 19  # bytes that a probe may ask for
NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
NAME_TAKEN: Final = "another agent uses this name"  # error of HELLO_ACK
_INSTANCE: Final = re.compile(r"[0-9a-f]{16}")
_MAX_FEATURES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What an agent says first.

    Attributes:
        agent: name, 1..64 of letters, digits, dot, underscore, hyphen.
        instance: 16 hex digits, random for each process.
        link: number of this link among the agent's, 0..15.
        token: shared secret, or None.
        auth: how the agent will prove who it is ("scram-sha-256"), or None.
        features: optional features that the agent offers.
        window: credit it grants on each new stream, bytes, 16384..2^31-1.
        max_frame: longest payload it accepts, bytes, 4100..1048576.
        software: name and version, for people.
        probe: this link is to take no place: the gateway only says whether it would
            take the agent, and sends so many bytes of padding; None = it is no probe.
    """

    agent: str = "default"
    instance: str
    link: int = 0
    token: str | None = field(default=None, repr=False)
    auth: str | None = None
    features: frozenset[str] = frozenset()
    window: int = DEFAULT_WINDOW
    max_frame: int = DEFAULT_FRAME
    software: str = ""
    probe: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloAck:
    """What a gateway answers.

    Attributes:
        session: random word that both ends log.
        features: optional features that both ends have.
        window: credit it grants on each new stream, bytes.
        max_frame: longest payload it accepts, bytes.
        heartbeat: seconds between the agent's keep-alives.
        open_timeout: seconds until the gateway gives an opening stream up.
        links: how many links of one agent it takes.
        software: name and version of the gateway; told to probes.
        clock: Unix seconds by the gateway's clock; told to probes.
        probe: the link was understood to be a probe, and takes no place.
        error: why the link is refused; None = it is not.
    """

    session: str = ""
    features: frozenset[str] = frozenset()
    window: int = DEFAULT_WINDOW
    max_frame: int = DEFAULT_FRAME
    heartbeat: float = 15.0
    open_timeout: float = 10.0
    links: int = MAX_LINKS
    software: str = ""
    clock: float | None = None
    probe: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """An agent's wish for a public port, or for giving one back.

    Attributes:
        id: the agent's own word for it, 1..64 characters.
        protocol: "tcp"; judged by the gateway.
        port: public port; 0 = any.
        host: host that the agent is to dial; empty = its default host.
        local: port that the agent is to dial.
        remove: True = give it back; the other fields do not matter.
    """

    id: str
    protocol: str = "tcp"
    port: int = 0
    host: str = ""
    local: int = 0
    remove: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterAck:
    """The gateway's answer.

    Attributes:
        id: as in the question.
        public_url: for people; empty with `error`.
        port: public port; 0 with `error` or after a removal.
        error: why not; None = granted.
    """

    id: str
    public_url: str = ""
    port: int = 0
    error: str | None = None


def encode_hello(hello: Hello) -> bytes:
    """Return the frame."""
    body: dict[str, Any] = {
        "agent": hello.agent,
        "instance": hello.instance,
        "link": hello.link,
        "features": sorted(hello.features),
        "window": hello.window,
        "max_frame": hello.max_frame,
        "software": hello.software,
    }
    if hello.token is not None:
        body["token"] = hello.token
    if hello.auth is not None:
        body["auth"] = hello.auth
    if hello.probe is not None:
        body["probe"] = hello.probe
    return encode_frame(frames.HELLO, encode_json(body))


def decode_hello(payload: Payload) -> Hello:
    """Read a HELLO."""
    found = _Fields(decode_json(payload, "HELLO"), "HELLO")
    return Hello(
        agent=found.word("agent", NAME_PATTERN, "default"),
        instance=found.word("instance", _INSTANCE),
        link=found.number("link", 0, MAX_LINKS - 1, 0),
        token=found.optional_text("token", 1024),
        auth=found.optional_text("auth", 64),
        features=found.words("features"),
        window=found.number("window", MIN_WINDOW, frames.MAX_CREDIT, DEFAULT_WINDOW),
        max_frame=found.number(
            "max_frame", MIN_FRAME, frames.MAX_PAYLOAD, DEFAULT_FRAME
        ),
        software=found.words_for_people("software", 200),
        probe=found.optional_number("probe", 0, MAX_PADDING),
    )


def encode_hello_ack(ack: HelloAck) -> bytes:
    """Return the frame; a refusal carries the error alone."""
    body: dict[str, Any] = {"session": ack.session}
    if ack.error is not None:
        body["error"] = ack.error
    else:
        body |= {
            "features": sorted(ack.features),
            "window": ack.window,
            "max_frame": ack.max_frame,
            "heartbeat": ack.heartbeat,
            "open_timeout": ack.open_timeout,
            "links": ack.links,
        }
        if ack.probe:
            body |= {"software": ack.software, "clock": ack.clock, "probe": True}
    return encode_frame(frames.HELLO_ACK, encode_json(body))


def decode_hello_ack(payload: Payload) -> HelloAck:
    """Read a HELLO_ACK."""
    found = _Fields(decode_json(payload, "HELLO_ACK"), "HELLO_ACK")
    return HelloAck(
        session=found.words_for_people("session", 200),
        features=found.words("features"),
        window=found.number("window", MIN_WINDOW, frames.MAX_CREDIT, DEFAULT_WINDOW),
        max_frame=found.number(
            "max_frame", MIN_FRAME, frames.MAX_PAYLOAD, DEFAULT_FRAME
        ),
        heartbeat=found.seconds("heartbeat", 0.1, 3600, 15.0),
        open_timeout=found.seconds("open_timeout", 0.1, 3600, 10.0),
        links=found.number("links", 1, 1 << 16, MAX_LINKS),
        software=found.words_for_people("software", 200),
        clock=found.optional_seconds("clock", 0.0, MAX_CLOCK),
        probe=found.flag("probe"),
        error=found.optional_words_for_people("error", 2000),
    )


def encode_register(wish: Register) -> bytes:
    """Return the frame."""
    body: dict[str, Any] = {"id": wish.id}
    if wish.remove:
        body["remove"] = True
    else:
        body |= {
            "protocol": wish.protocol,
            "port": wish.port,
            "host": wish.host,
            "local": wish.local,
        }
    return encode_frame(frames.REGISTER, encode_json(body))


def decode_register(payload: Payload) -> Register:
    """Read a REGISTER."""
    found = _Fields(decode_json(payload, "REGISTER"), "REGISTER")
    name = found.plain_text("id", 64)
    if not name:
        raise PayloadError("REGISTER id is missing or empty")
    if found.flag("remove"):
        return Register(id=name, remove=True)
    return Register(
        id=name,
        protocol=found.plain_text("protocol", 32) or "tcp",
        port=found.number("port", 0, 65535, 0),
        host=found.plain_text("host", 255),
        local=found.number("local", 1, 65535),
    )


def encode_register_ack(ack: RegisterAck) -> bytes:
    """Return the frame."""
    body: dict[str, Any] = {
        "id": ack.id,
        "public_url": ack.public_url,
        "port": ack.port,
    }
    if ack.error is not None:
        body["error"] = ack.error
    return encode_frame(frames.REGISTER_ACK, encode_json(body))


def decode_register_ack(payload: Payload) -> RegisterAck:
    """Read a REGISTER_ACK."""
    found = _Fields(decode_json(payload, "REGISTER_ACK"), "REGISTER_ACK")
    return RegisterAck(
        id=found.plain_text("id", 64),
        public_url=found.plain_text("public_url", 1000),
        port=found.number("port", 0, 65535, 0),
        error=found.optional_words_for_people("error", 2000),
    )


class _Fields:
    """Read typed fields out of one JSON object."""

    def __init__(self, body: dict[str, Any], frame: str) -> None:
        self._body = body
        self._frame = frame

    def _wrong(self, key: str, wanted: str) -> PayloadError:
        value = repr(self._body.get(key))
        shown = value if len(value) <= 80 else value[:77] + "..."
        if key == "token":
            shown = "the value"
        return PayloadError(f"{self._frame} {key}: {shown} is not {wanted}")

    def text(self, key: str, limit: int) -> str:
        found = self._body.get(key, "")
        if not isinstance(found, str) or len(found) > limit:
            raise self._wrong(key, f"a string of at most {limit} characters")
        return found

    def optional_text(self, key: str, limit: int) -> str | None:
        return None if self._body.get(key) is None else self.text(key, limit)

    def plain_text(self, key: str, limit: int) -> str:
        found = self.text(key, limit)
        if not is_plain(found):
            raise self._wrong(key, "a string without control characters")
        return found

    def words_for_people(self, key: str, limit: int) -> str:
        """Return a text that is only shown; it is cleaned and never refused for it."""
        return cleaned(self.text(key, limit), limit)

    def optional_words_for_people(self, key: str, limit: int) -> str | None:
        found = self.optional_text(key, limit)
        return None if found is None else cleaned(found, limit)

    def word(self, key: str, form: re.Pattern[str], default: str | None = None) -> str:
        found = self._body.get(key, default)
        if not isinstance(found, str) or not form.fullmatch(found):
            raise self._wrong(key, f"of the form {form.pattern}")
        return found

    def words(self, key: str) -> frozenset[str]:
        found = self._body.get(key, [])
        if (
            not isinstance(found, list)
            or len(found) > _MAX_FEATURES
            or not all(isinstance(one, str) and len(one) <= 64 for one in found)
        ):
            raise self._wrong(key, f"a list of at most {_MAX_FEATURES} words")
        return frozenset(found)

    def number(self, key: str, low: int, high: int, default: int | None = None) -> int:
        found = self._body.get(key, default)
        if type(found) is not int or not low <= found <= high:
            raise self._wrong(key, f"a whole number, {low}..{high}")
        return found

    def optional_number(self, key: str, low: int, high: int) -> int | None:
        return None if self._body.get(key) is None else self.number(key, low, high)

    def optional_seconds(self, key: str, low: float, high: float) -> float | None:
        if self._body.get(key) is None:
            return None
        return self.seconds(key, low, high, low)

    def seconds(self, key: str, low: float, high: float, default: float) -> float:
        found = self._body.get(key, default)
        if type(found) not in (int, float) or not low <= found <= high:
            raise self._wrong(key, f"a number of seconds, {low}..{high}")
        return float(found)

    def flag(self, key: str) -> bool:
        found = self._body.get(key, False)
        if type(found) is not bool:
            raise self._wrong(key, "true or false")
        return found
