"""The small web site of the demonstration."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Hello from behind the tunnel</title>
<link rel="stylesheet" href="style.css">
</head>
<body>
<img src="picture.svg" alt="Visitor, gateway, agent and web site in a row">
<h1>Hello from behind the tunnel</h1>
<p>The web server of this page listens where only the agent reaches it.  Your
browser asked the gateway's public port, and the bytes came through the link that
the agent opened from its side.</p>
</body>
</html>
"""
_STYLE: Final = """body {
  max-width: 40rem;
  margin: 3rem auto;
  padding: 0 1rem;
  font: 1.1rem/1.5 system-ui, sans-serif;
  color: #1c2733;
  background: #f5f7f9;
}
img { width: 100%; }
h1 { font-weight: 600; }
"""
_BOXES: Final = ("visitor", "gateway", "agent", "web site")


def _picture() -> str:
    """Draw the way of a request: four boxes and the lines between them."""
    shapes = []
    for place, word in enumerate(_BOXES):
        left = 10 + place * 150
        shapes.append(
            f'<rect x="{left}" y="20" width="110" height="60" rx="8" fill="#2f6f9f"/>'
            f'<text x="{left + 55}" y="56" text-anchor="middle" fill="#fff" '
            f'font-family="sans-serif" font-size="18">{word}</text>'
        )
        if place:
            shapes.append(
                f'<path d="M{left - 40} 50h40" stroke="#1c2733" stroke-width="3"/>'
            )
    drawing = "\n".join(shapes)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 580 100">\n'
        f"{drawing}\n</svg>\n"
    )


def site_files() -> dict[str, bytes]:
    """Return the content of every file of the site, by its name."""
    return {
        "index.html": _PAGE.encode(),
        "style.css": _STYLE.encode(),
        "picture.svg": _picture().encode(),
    }


def write_site(folder: Path) -> None:
    """Write the site's files into a new folder."""
    folder.mkdir()
    for name, content in site_files().items():
        (folder / name).write_bytes(content)
