"""Reading configuration files and files that hold a secret."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from gateway.config.fields import FEWEST_SECRET_CHARACTERS
from gateway.errors import ConfigError

LARGEST_FILE: Final = 1 << 20  # bytes
_OTHERS: Final = 0o007
_PLAIN_PATH: Final = re.compile(r"(/|\.{1,2}/|~).{0,300}|.{1,300}\.[A-Za-z]{1,8}")


class FileContent(NamedTuple):
    """What was read of a file.

    Attributes:
        content: its bytes; one more than `LARGEST_FILE` if it is longer.
        mode: its permission bits.
        is_shut: whether a folder above it keeps other users out, whatever its mode.
    """

    content: bytes
    mode: int
    is_shut: bool = False


Reader: TypeAlias = Callable[[str], FileContent]


def read_file(name: str) -> FileContent:
    """Read a file, but not much more than is accepted.

    Raises:
        OSError: as the system says it.
    """
    with open(name, "rb") as file:
        content = file.read(LARGEST_FILE + 1)
        mode = os.fstat(file.fileno()).st_mode & 0o777
    return FileContent(content, mode, _is_shut(name))


def _is_shut(name: str) -> bool:
    """Return whether a folder above a file lets only its owner or group in."""
    folders = Path(name).resolve().parents
    return any(not one.stat().st_mode & stat.S_IXOTH for one in folders)


def reading_in(folder: str, reader: Reader) -> Reader:
    """Return a reader that takes relative names to start from a folder."""
    return lambda name: reader(os.path.join(folder, name))


def read_at_once(name: str) -> FileContent:
    """Read a regular file like `read_file`; a pipe in its place is rejected.

    A running process reads files by this, because opening or reading a pipe may wait
    forever.

    Raises:
        OSError: as the system says it, or the file is not a regular one.
    """
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "Not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            return FileContent(file.read(LARGEST_FILE + 1), mode & 0o777)
    finally:
        os.close(descriptor)


class FileText(NamedTuple):
    """A text and who may read it.

    Attributes:
        text: the content.
        exposure: a sentence if every user of this machine can read the file; else
            None.
    """

    text: str
    exposure: str | None


def read_text(name: str, reader: Reader) -> FileText:
    """Return the text of a configuration file.

    Raises:
        ConfigError: it cannot be read, is too long, or is no text.
    """
    try:
        found = _read(name, reader)
    except ConfigError as fault:
        raise ConfigError([f"{name!r} {words}" for words in fault.problems]) from None
    exposure = None if found.is_shut else _exposure(name, found.mode)
    return FileText(_decode(name, found.content), exposure)


def read_secret(name: str, reader: Reader, *, allow_exposed: bool = False) -> str:
    """Return the secret in a file, without blanks and line ends around it.

    Args:
        name: of the file.
        reader: reads a file.
        allow_exposed: accept a file that every user of this machine can read.

    Raises:
        ConfigError: it cannot be read, or others can read it, or there is none.
    """
    try:
        content, mode, _ = _read(name, reader)
    except ConfigError as fault:
        shown = _name_or_secret(name)
        raise ConfigError([f"{shown} {words}" for words in fault.problems]) from None
    exposure = _exposure(name, mode)
    if exposure is not None and not allow_exposed:
        raise ConfigError([f"{exposure}; run: chmod o= {name}"])
    text = plain_secret(_decode(name, content))
    if not text:
        raise ConfigError([f"{name!r} is empty; it must hold a secret"])
    return text


def plain_secret(text: str) -> str:
    """Return a secret without what editors and shells put around it.

    That are blanks, line ends and a byte order mark; all who read a secret from a file
    or a variable take them away, so that both ends have the same.
    """
    return text.strip().removeprefix("\ufeff").strip()


def _exposure(name: str, mode: int) -> str | None:
    if not mode & _OTHERS:
        return None
    return f"{name!r} is open to every user of this machine (mode {mode:03o})"


def _name_or_secret(name: str) -> str:
    """Return a name for a message, unless it may be the secret itself.

    Secrets are pasted in place of their files' names now and then.
    """
    if len(name) < FEWEST_SECRET_CHARACTERS or _PLAIN_PATH.fullmatch(name):
        return repr(name)
    return "the file (its name is not shown, it may be the secret itself)"


def _read(name: str, reader: Reader) -> FileContent:
    """Read a file; what a fault says lacks the name."""
    try:
        found = reader(name)
    except (OSError, ValueError) as fault:  # ValueError: a name that no system takes
        reason = getattr(fault, "strerror", None) or "not a file name"
        raise ConfigError([f"cannot be read: {reason}"]) from None
    if len(found.content) > LARGEST_FILE:
        raise ConfigError([f"is longer than {LARGEST_FILE} bytes, which is the limit"])
    return found


def _decode(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise ConfigError(
            [f"{name!r} is not UTF-8 text (byte {fault.start})"]
        ) from None
