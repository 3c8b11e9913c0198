"""Targets of mappings for tests."""

from typing import Any

from gateway.policy.mapping import Target


def a_target(fields: dict[str, Any], *, port: int = 80) -> Target:
    """Take the fields of one target out of `fields`; return it.

    Args:
        fields: may have `target_host`, `target_port`, `use_tunnel` and `agent`.
        port: of the target, if `fields` has none.
    """
    return Target(
        host=fields.pop("target_host", ""),
        port=fields.pop("target_port", port),
        use_tunnel=fields.pop("use_tunnel", True),
        agent=fields.pop("agent", None),
    )
