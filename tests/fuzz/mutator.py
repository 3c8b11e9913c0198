"""Change inputs a little, or join parts of several; the same seed, the same changes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

LONGEST: Final = 1 << 16  # bytes; what a mutation grows to is cut there
MOST_STEPS: Final = 6  # changes of one mutation
_NUMBERS: Final = (0, 1, 2, 3, 4, 5, 6, 9, 16, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF)
_LONG_NUMBERS: Final = (*_NUMBERS, 1 << 16, 1 << 20, (1 << 20) + 1, 1 << 31, 0xFFFFFFFF)
_TEXTS: Final = (
    *(b"", b"\0", b"\xff", b"\r\n", b"\r\n\r\n", b"{", b"}", b"[", b"]", b'"', b","),
    *(b"null", b"true", b"-1", b"1e999", b"65536", b"99999999999999999999", b"%00"),
    *(b"\\ud800", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"../", b"*", b"::1", b"/0", b"=,"),
)


class Mutator:
    """Make new inputs out of known ones."""

    def __init__(self, random: Random, words: Sequence[bytes] = ()) -> None:
        """Remember the source of chance.

        Args:
            random: decides everything.
            words: pieces worth inserting, such as whole frames.
        """
        self._random = random
        self._words = (*_TEXTS, *words)
        self._steps: tuple[Callable[[bytearray, Sequence[bytes]], None], ...] = (
            self._flip,
            self._set_byte,
            self._insert_word,
            self._insert_word,
            self._delete,
            self._repeat,
            self._write_number,
            self._write_number,
            self._splice,
            self._append,
            self._cut,
        )

    def mutate(self, pool: Sequence[bytes]) -> bytes:
        """Return a changed member of the pool."""
        random = self._random
        found = bytearray(random.choice(pool))
        for _ in range(random.randint(1, MOST_STEPS)):
            random.choice(self._steps)(found, pool)
        return bytes(found[:LONGEST])

    def cuts(self, data: bytes) -> list[bytes]:
        """Cut an input as a network might: mostly not at all."""
        random = self._random
        if len(data) < 2 or random.random() < 0.6:
            return [data]
        most = min(4, len(data))
        places = sorted(random.randrange(len(data)) for _ in range(most))
        edges = zip([0, *places], [*places, len(data)], strict=True)
        return [data[a:b] for a, b in edges if a < b]

    def _span(self, data: bytearray) -> tuple[int, int]:
        start = self._random.randrange(len(data) + 1)
        return start, start + self._random.choice((1, 2, 4, 8, 64))

    def _flip(self, data: bytearray, _pool: Sequence[bytes]) -> None:
        if data:
            data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)

    def _set_byte(self, data: bytearray, _pool: Sequence[bytes]) -> None:
        if data:
            data[self._random.randrange(len(data))] = self._random.randrange(256)

    def _insert_word(self, data: bytearray, _pool: Sequence[bytes]) -> None:
        start = self._random.randrange(len(data) + 1)
        data[start:start] = self._random.choice(self._words)

    def _delete(self, data: bytearray, _pool: Sequence[bytes]) -> None:
        start, stop = self._span(data)
        del data[start:stop]

    def _repeat(self, data: bytearray, _pool: Sequence[bytes]) -> None:
        start, stop = self._span(data)
        times = self._random.choice((1, 1, 2, 3, 50))
        data[start:start] = bytes(data[start:stop]) * times

    def _write_number(self, data: bytearray, _pool: Sequence[bytes]) -> None:
        form, numbers = self._random.choice(
            ((">H", _NUMBERS), (">I", _LONG_NUMBERS), ("B", _NUMBERS[:12]))
        )
        packed = struct.pack(form, self._random.choice(numbers))
        start = self._random.randrange(len(data) + 1)
        data[start : start + len(packed)] = packed

    def _splice(self, data: bytearray, pool: Sequence[bytes]) -> None:
        other = self._random.choice(pool)
        start = self._random.randrange(len(data) + 1)
        data[start:] = other[self._random.randrange(len(other) + 1) :]

    def _append(self, data: bytearray, pool: Sequence[bytes]) -> None:
        data += self._random.choice(pool)

    def _cut(self, data: bytearray, _pool: Sequence[bytes]) -> None:
        del data[self._random.randrange(len(data) + 1) :]
