"""What each end of a link does: who speaks first, who opens streams, who dials."""

from __future__ import annotations

from typing import Final, NamedTuple


class Roles(NamedTuple):
    """The part that one end of a link plays; the far end has the other part.

    Attributes:
        greets: connects, says HELLO first and sends keep-alives; the other end
            answers both.
        opens: opens streams, and is asked for public ports.
        dials: reaches the target of each stream that the far end opens.
    """

    greets: bool
    opens: bool
    dials: bool

    @property
    def first_id(self) -> int:
        """The first id that this end gives to a stream."""
        return 2 if self.id_step == 2 and not self.greets else 1

    @property
    def id_step(self) -> int:
        """From one id to the next: 2 where the far end may open streams, too."""
        return 2 if self.opens and self.dials else 1


GATEWAY: Final = Roles(greets=False, opens=True, dials=False)
AGENT: Final = Roles(greets=True, opens=False, dials=True)
