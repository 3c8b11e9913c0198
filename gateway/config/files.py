"""Reading configuration files and files that hold a secret."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from gateway.errors import ConfigError

LARGEST_FILE: Final = 1 << 20  # bytes
_OTHERS: Final = 0o007


class FileContent(NamedTuple):
    """What was read of a file.

    Attributes:
        content: its bytes; one more than `LARGEST_FILE` if it is longer.
        mode: its permission bits.
    """

    content: bytes
    mode: int


Reader: TypeAlias = Callable[[str], FileContent]


def read_file(name: str) -> FileContent:
    """Read a file, but not much more than is accepted.

    Raises:
        OSError: as the system says it.
    """
    with open(name, "rb") as file:
        content = file.read(LARGEST_FILE + 1)
        return FileContent(content, os.fstat(file.fileno()).st_mode & 0o777)


def read_text(name: str, reader: Reader) -> str:
    """Return the text of a configuration file.

    Raises:
        ConfigError: it cannot be read, is too long, or is no text.
    """
    return _decode(name, _read(name, reader).content)


def read_secret(name: str, reader: Reader) -> str:
    """Return the secret in a file, without the line end behind it.

    Raises:
        ConfigError: it cannot be read, or others can read it, or there is none.
    """
    content, mode = _read(name, reader)
    if mode & _OTHERS:
        raise ConfigError(
            [
                f"{name!r} is open to every user of this machine (mode {mode:03o}); "
                f"run: chmod o= {name}"
            ]
        )
    text = _decode(name, content).rstrip("\r\n")
    if not text:
        raise ConfigError([f"{name!r} is empty; it must hold a secret"])
    return text


def _read(name: str, reader: Reader) -> FileContent:
    try:
        found = reader(name)
    except (OSError, ValueError) as fault:  # ValueError: a name that no system takes
        reason = getattr(fault, "strerror", None) or "not a file name"
        raise ConfigError([f"{name!r} cannot be read: {reason}"]) from None
    if len(found.content) > LARGEST_FILE:
        raise ConfigError(
            [f"{name!r} is longer than {LARGEST_FILE} bytes, which is the limit"]
        )
    return found


def _decode(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise ConfigError(
            [f"{name!r} is not UTF-8 text (byte {fault.start})"]
        ) from None
