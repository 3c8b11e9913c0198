"""A look into the running process, for whoever is on the same machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.application.service import Service

from gateway.config.common import DebugConfig
from gateway.interfaces import NamedLink
from gateway.link.ledger import as_text, ledger_of


def debugged(
    config: DebugConfig,
    reactor: object,
    inner: Service,
    links: Callable[[], list[NamedLink]],
) -> Service:
    """Return a service with its debug site, or as it is if that is off.

    Args:
        config: whether, and where.
        reactor: the process's.
        inner: the service.
        links: those that are there.
    """
    if not config.enabled:
        return inner
    # the site and its profilers are loaded only where they are wanted
    from gateway.debug.pages import Pages
    from gateway.debug.service import DebuggedService, IDebugReactor
    from gateway.debug.site import DebugSite

    seen = cast(IDebugReactor, reactor)
    pages = Pages(seen, lambda: [*map(ledger_of, links())], as_text)
    return DebuggedService(inner, DebugSite(pages, seen), seen, config)
