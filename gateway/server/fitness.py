"""What the health checks ask of the parts of a gateway."""

from __future__ import annotations

from typing import Final

from gateway.errors import GatewayError
from gateway.interfaces import IMappingStore
from gateway.ops.health import CheckResult, HealthStatus
from gateway.ops.slices import VIEW, Slices
from gateway.policy.budget import Budget
from gateway.server.links import Links
from gateway.server.mappings import UNREACHABLE, Mappings, MappingView

MOST_NAMED: Final = 10
_HEALTHY = CheckResult(HealthStatus.HEALTHY)


async def check_store(store: IMappingStore) -> CheckResult:
    """Does the store answer?"""
    try:
        await store.ping()
    except GatewayError as fault:
        return CheckResult(HealthStatus.UNHEALTHY, str(fault))
    return _HEALTHY


async def check_listeners(mappings: Mappings, slices: Slices) -> CheckResult:
    """Is every mapping served?"""
    broken: list[MappingView] = []
    async for piece in slices.pieces(mappings.each(), VIEW):
        broken += [one for one in piece if one.state == "error"]
    if not broken:
        return _HEALTHY
    ports = ", ".join(str(one.mapping.port) for one in broken[:10])
    said = f"{len(broken)} mappings not served: {ports}"
    return CheckResult(HealthStatus.DEGRADED, said)


async def check_mappings(mappings: Mappings, slices: Slices) -> CheckResult:
    """Return whether mappings that listen can serve.

    Those that cannot are named by their ports, because nobody needs a credential to
    read this; only one that is marked as expected makes the gateway degraded.
    """
    stuck: list[MappingView] = []
    count = expected = 0
    async for piece in slices.pieces(mappings.each(), VIEW):
        found = [one for one in piece if one.state == UNREACHABLE]
        count += len(found)
        expected += sum(one.mapping.expected for one in found)
        stuck = sorted([*stuck, *found], key=_unexpected)[:MOST_NAMED]
    if not count:
        return _HEALTHY
    named = ", ".join(f"{one.mapping.port} ({_words(one.cause)})" for one in stuck)
    more = f" and {count - len(stuck)} more" if count > len(stuck) else ""
    mark = f", {expected} of them expected to serve" if expected else ""
    said = f"{count} mappings unreachable{mark}: port {named}{more}"
    return CheckResult(
        HealthStatus.DEGRADED if expected else HealthStatus.HEALTHY, said
    )


def _words(cause: str | None) -> str:
    return (cause or "").replace("_", " ")


def _unexpected(view: MappingView) -> bool:
    return not view.mapping.expected


def check_links(links: Links, *, tunnel_enabled: bool) -> CheckResult:
    """Is an agent there?"""
    if tunnel_enabled and not links.connected:
        return CheckResult(HealthStatus.DEGRADED, "no agent is connected")
    return _HEALTHY


def check_memory(memory: Budget) -> CheckResult:
    """Is there room for what waits?"""
    if not memory.tight:
        return _HEALTHY
    said = f"{memory.used} of limits.memory ({memory.limit}) bytes are held"
    return CheckResult(HealthStatus.DEGRADED, said)
