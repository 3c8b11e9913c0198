"""The files of the live view, as they are sent: read once, under fixed names."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

STATIC: Final = "/static/"
_PACKAGE: Final = "gateway"
_FOLDER: Final = "web"
_PAGE: Final = "index.html"
_VERSION_MARK: Final = b"/static/VERSION/"
_TYPES: Final = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".txt": b"text/plain; charset=utf-8",
}


class SentFile(NamedTuple):
    """One file, ready to be sent.

    Attributes:
        content_type: of the answer.
        plain: its bytes.
        packed: the same, compressed by gzip.
        tag: entity tag of the plain form, without quotes.
    """

    content_type: bytes
    plain: bytes
    packed: bytes
    tag: bytes


class Pages(NamedTuple):
    """All files of the live view.

    Attributes:
        page: the page itself.
        static: the other files by the path that they are asked for.  The path holds a
            digest of all of them, so that a browser may keep what it has for ever.
    """

    page: SentFile
    static: dict[str, SentFile]


@cache
def shipped_pages() -> Pages:
    """Return the files that come with the package."""
    found = dict(sorted(_walk(files(_PACKAGE) / _FOLDER, "")))
    whole = hashlib.sha256()
    for name, content in found.items():
        whole.update(f"{name} {len(content)}\n".encode())
        whole.update(content)
    version = whole.hexdigest()[:12]
    base = f"{STATIC}{version}/"
    page = found.pop(_PAGE).replace(_VERSION_MARK, base.encode())
    return Pages(
        _sent(_PAGE, page),
        {base + name: _sent(name, content) for name, content in found.items()},
    )


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    """Return names and contents of all files that have a type of ours."""
    found = []
    for entry in folder.iterdir():
        name = prefix + entry.name
        if entry.is_dir():
            found += _walk(entry, f"{name}/")
        elif _suffix(name) in _TYPES:
            found.append((name, entry.read_bytes()))
    return found


def _sent(name: str, content: bytes) -> SentFile:
    packed = gzip.compress(content, mtime=0)
    tag = hashlib.sha256(content).hexdigest()[:16].encode()
    return SentFile(_TYPES[_suffix(name)], content, packed, tag)


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
