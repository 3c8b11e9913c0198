"""Who may connect as an agent, and by which settings."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.mux.core import SessionSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionSettings:
    """Who may connect, and what they are told.

    Attributes:
        token: shared secret of the agents; None admits anybody.
        max_links: links of all agents together; 0 = unlimited.
        streams_per_link: 0 = unlimited.
        open_timeout: seconds, told to agents.
        by_certificate: every link comes with a certificate that we trust, and an
            agent may only have a name that stands there.
        session: settings of each session.
    """

    token: str | None
    max_links: int
    streams_per_link: int
    open_timeout: float
    session: SessionSettings
    by_certificate: bool = False
