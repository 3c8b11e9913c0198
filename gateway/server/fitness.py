"""What the health checks ask of the parts of a gateway."""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.interfaces import IMappingStore
from gateway.ops.health import CheckResult, HealthStatus
from gateway.ops.slices import VIEW, Slices
from gateway.policy.budget import Budget
from gateway.server.links import Links
from gateway.server.mappings import Mappings, MappingView

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
