"""PROXY protocol, versions 1 and 2: who a forwarded connection is from.

Source: the HAProxy project's `proxy-protocol.txt`, sections 2.1 and 2.2.
"""

from __future__ import annotations

import re
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

from gateway.errors import ProtocolError

LONGEST_V1: Final = 107  # bytes, with the line's end
SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
LONGEST_V2: Final = 16 + 2048  # with what we take of the type-length-values
_FIXED: Final = struct.Struct("!12sBBH")
_V4: Final = struct.Struct("!4s4sHH")
_V6: Final = struct.Struct("!16s16sHH")
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_PORT: Final = re.compile(rb"0|[1-9][0-9]{0,4}")


class Place(NamedTuple):
    """One end of a connection.

    Attributes:
        host: literal IPv4 or IPv6 address, without a scope.
        port: 0..65535.
    """

    host: str
    port: int


class Header(NamedTuple):
    """What a header says, and how long it is.

    Attributes:
        source: where the connection is from; None = the balancer itself, or unknown.
        length: bytes of the header.
    """

    source: Place | None
    length: int


class ProxyHeaderError(ProtocolError):
    """What should be a header is none."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"PROXY header: {detail}", "proxy")


def encode(form: str, source: Place, destination: Place) -> bytes:
    """Return the header.

    Args:
        form: "v1" or "v2".
        source: the visitor.
        destination: what it connected to.
    """
    one, other = _address(source.host), _address(destination.host)
    if one.version != other.version:  # the shorter one fits into the longer
        one, other = _as_v6(one), _as_v6(other)
    six = one.version == 6
    if form == "v1":
        family = "TCP6" if six else "TCP4"
        return (
            f"PROXY {family} {one} {other} {source.port} {destination.port}\r\n"
        ).encode("ascii")
    ends = (_V6 if six else _V4).pack(
        one.packed, other.packed, source.port, destination.port
    )
    return _FIXED.pack(SIGNATURE, _PROXY, _TCP6 if six else _TCP4, len(ends)) + ends


def decode(data: bytes) -> Header | None:
    """Return the header that `data` begins with, or None while it is not whole.

    Raises:
        ProxyHeaderError: it is none.
    """
    if data[: len(SIGNATURE)] == SIGNATURE[: len(data)]:
        return _decode_v2(data)
    if data[:6] == b"PROXY "[: len(data)]:
        return _decode_v1(data)
    raise ProxyHeaderError(f"it begins with {data[:16]!r}")


def _decode_v1(data: bytes) -> Header | None:
    end = data.find(b"\r\n", 0, LONGEST_V1)
    if end < 0:
        if len(data) >= LONGEST_V1:
            raise ProxyHeaderError(f"a line of more than {LONGEST_V1} bytes")
        return None
    words = data[:end].split(b" ")
    length = end + 2
    if words[1] == b"UNKNOWN":
        return Header(None, length)
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise ProxyHeaderError(f"{data[:end]!r} has another form")
    return Header(_v1_source(words, data[:end]), length)


def _v1_source(words: list[bytes], line: bytes) -> Place:
    try:
        ends = [ip_address(word.decode("ascii")) for word in words[2:4]]
    except ValueError:
        raise ProxyHeaderError(f"{line!r} names no addresses") from None
    version = 4 if words[1] == b"TCP4" else 6
    ports = [int(word) for word in words[4:] if _PORT.fullmatch(word)]
    if [end.version for end in ends] != [version] * 2 or len(ports) != 2:
        raise ProxyHeaderError(f"{line!r} does not fit together")
    if "%" in str(ends[0]) or max(ports) > 65535:
        raise ProxyHeaderError(f"{line!r} is no place on the internet")
    return Place(_shown(ends[0]), ports[0])


def _decode_v2(data: bytes) -> Header | None:
    if len(data) < _FIXED.size:
        return None
    _, command, family, size = _FIXED.unpack_from(data)
    length = _FIXED.size + size
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError(f"version and command {command:#04x} are not known")
    if length > LONGEST_V2:
        raise ProxyHeaderError(f"{length} bytes are more than {LONGEST_V2}")
    if len(data) < length:
        return None
    if command == _LOCAL:
        return Header(None, length)
    form = {_TCP4: _V4, _TCP6: _V6}.get(family)
    if form is None:
        return Header(None, length)  # UDP, a UNIX socket, or unspecified
    if size < form.size:
        raise ProxyHeaderError(f"{size} bytes of addresses, {form.size} are needed")
    packed, _, port, _ = form.unpack_from(data, _FIXED.size)
    return Header(Place(_shown(ip_address(packed)), port), length)


def _address(host: str) -> IPv4Address | IPv6Address:
    return ip_address(host.partition("%")[0])


def _as_v6(address: IPv4Address | IPv6Address) -> IPv6Address:
    if isinstance(address, IPv6Address):
        return address
    return IPv6Address(b"\x00" * 10 + b"\xff\xff" + address.packed)


def _shown(address: IPv4Address | IPv6Address) -> str:
    """Return the address as the rest of the gateway writes it."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
