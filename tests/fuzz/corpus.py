"""Inputs that are kept: files of `tests/fuzz/corpus`, and the golden frames."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from tests.wire.golden import VECTORS

FOLDER: Final = Path(__file__).parent / "corpus"


def golden_frames() -> list[bytes]:
    """Return every frame of docs/vectors.json, the malformed ones too."""
    rows = [*VECTORS["frames"], *VECTORS["malformed"]]
    return [bytes.fromhex(row["hex"]) for row in rows]


def kept(target: str) -> list[bytes]:
    """Return the files of one target, in the order of their names."""
    return [path.read_bytes() for path in sorted((FOLDER / target).iterdir())]


def keep(target: str, data: bytes, why: str) -> Path:
    """Add a file to the corpus and return its path.

    Args:
        target: whose input it is.
        data: the input.
        why: first word of the name, such as "found".
    """
    path = FOLDER / target / f"{why}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path
