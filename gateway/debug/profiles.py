"""Samples as files that other programs read: pstats, collapsed stacks, a drawing."""

from __future__ import annotations

import marshal
from collections import defaultdict
from html import escape
from itertools import pairwise
from pathlib import PurePath
from typing import Final
from zlib import crc32

from gateway.debug.sampling import Place, Samples

_WIDTH: Final = 1200
_ROW: Final = 17
_NARROWEST: Final = 0.4  # pixels; what is narrower is left out
_LETTER: Final = 6.6


def pstats_of(samples: Samples) -> bytes:
    """Return a file for `python -m pstats`; calls are looks, times are seconds."""
    own: dict[Place, float] = defaultdict(float)
    whole: dict[Place, float] = defaultdict(float)
    looks: dict[Place, int] = defaultdict(int)
    callers: dict[Place, dict[tuple[str, int, str], tuple[int, int, float, float]]] = (
        defaultdict(dict)
    )
    for stack, (count, seconds) in samples.stacks.items():
        own[stack[-1]] += seconds
        for place in set(stack):
            whole[place] += seconds
            looks[place] += count
        for caller, callee in set(pairwise(stack)):
            mine = seconds if callee == stack[-1] else 0.0
            key = (caller.file, caller.line, caller.name)  # marshal takes no other
            n, _, tt, ct = callers[callee].get(key, (0, 0, 0.0, 0.0))
            n += count
            callers[callee][key] = n, n, tt + mine, ct + seconds
    return marshal.dumps(
        {
            tuple(place): (
                looks[place],
                looks[place],
                own[place],
                whole[place],
                dict(callers[place]),
            )
            for place in whole
        }
    )


def label(place: Place) -> str:
    """Return a short name of a function."""
    parts = PurePath(place.file).with_suffix("").parts
    return f"{'.'.join(parts[-2:])}.{place.name}".replace(";", ",").replace(" ", "_")


def collapsed(samples: Samples) -> str:
    """Return a line for each stack, with milliseconds, as flamegraph.pl takes them."""
    return "".join(
        f"{';'.join(map(label, stack))} {round(seconds * 1000)}\n"
        for stack, (_, seconds) in sorted(samples.stacks.items())
        if round(seconds * 1000)
    )


def table(samples: Samples, most: int = 60) -> str:
    """Return the functions that used most, for people."""
    own: dict[Place, float] = defaultdict(float)
    whole: dict[Place, float] = defaultdict(float)
    for stack, (_, seconds) in samples.stacks.items():
        own[stack[-1]] += seconds
        for place in set(stack):
            whole[place] += seconds
    kind = "processor" if samples.exact else "wall"
    lines = [
        f"{samples.seconds:.3f} s of {kind} time in {samples.looks} looks",
        "",
        "  own s   all s  function",
    ]
    busiest = sorted(whole, key=lambda place: (-own[place], -whole[place]))[:most]
    lines += [f"{own[one]:7.3f} {whole[one]:7.3f}  {label(one)}" for one in busiest]
    return "\n".join(lines) + "\n"


class _Node:
    """A function below those that called it."""

    __slots__ = ("below", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.below: dict[str, _Node] = {}

    def depth(self) -> int:
        return 1 + max((node.depth() for node in self.below.values()), default=0)


def flame(samples: Samples) -> str:
    """Return a drawing, SVG: each function as wide as its time, below its caller."""
    root = _Node()
    for stack, (_, seconds) in samples.stacks.items():
        root.seconds += seconds
        node = root
        for place in stack:
            node = node.below.setdefault(label(place), _Node())
            node.seconds += seconds
    height = root.depth() * _ROW + 8
    boxes = _boxes(root, "all", 0.0, 0, _WIDTH / root.seconds if root.seconds else 0.0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'font-family="monospace" font-size="11">\n{"".join(boxes)}</svg>\n'
    )


def _boxes(node: _Node, name: str, x: float, row: int, scale: float) -> list[str]:
    width = node.seconds * scale
    if width < _NARROWEST and row:
        return []
    hue = crc32(name.encode("utf-8", "replace")) % 55
    text = escape(name)
    fitting = int((width - 4) / _LETTER)
    short = escape(name[-fitting:]) if fitting > 2 else ""
    y = row * _ROW
    boxes = [
        f"<g><title>{text}: {node.seconds:.3f} s</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{max(width, 1):.1f}" height="{_ROW - 1}" '
        f'fill="hsl({hue},80%,65%)"/>'
        f'<text x="{x + 2:.1f}" y="{y + 12}">{short}</text></g>\n'
    ]
    for below, child in sorted(node.below.items()):
        boxes += _boxes(child, below, x, row + 1, scale)
        x += child.seconds * scale
    return boxes
