"""A gateway that gives services behind NAT a public address."""

from typing import Final

__version__: Final = "0.1.0"
SOFTWARE: Final = f"gotunnel {__version__}"
