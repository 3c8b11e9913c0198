"""How much every table below an object holds, found by walking the object graph.

No table is named here, so one that is added later is watched too.
"""

from collections import Counter, deque

from gateway.policy.budget import Budget
from gateway.policy.limits import Slots

_CONTAINERS = (dict, set, frozenset, list, deque, bytearray)
_NOT_ENTERED = (
    "gateway.config",
    "gateway.texts",
    "gateway.api",
    "gateway.net",
    "gateway.ops.events",  # rings of a fixed length, which are there to remember
)


def table_sizes(root):
    """Return path -> number of entries, for every container and every `Slots`.

    Objects of the same place in a container share a path.
    """
    sizes: Counter[str] = Counter()
    seen = set()
    waiting = deque([(type(root).__name__, root)])
    while waiting:
        path, one = waiting.popleft()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, _CONTAINERS):
            sizes[path] += _size(one)
            if not isinstance(one, bytearray):
                waiting.extend(_entries(path, one))
        elif isinstance(one, Slots):
            sizes[f"{path}.active"] += one.active
        elif isinstance(one, Budget):
            sizes[f"{path}.held"] += one.held
            sizes[f"{path}.grown"] += one.grown
        elif isinstance(one, tuple) or _is_ours(one):
            waiting.extend(_attributes(path, one))
    return sizes


def _size(container):
    """Return how much it holds; what bounds itself counts as full."""
    bound = getattr(container, "maxlen", None)
    return len(container) if bound is None else bound


def _entries(path, container):
    if isinstance(container, dict):
        for key, value in container.items():
            yield f"{path}.keys", key
            yield f"{path}[]", value
    else:
        for value in container:
            yield f"{path}[]", value


def _is_ours(one):
    module = type(one).__module__
    return module.startswith("gateway.") and not module.startswith(_NOT_ENTERED)


def _attributes(path, one):
    if isinstance(one, tuple):
        for value in one:
            yield f"{path}()", value
        return
    names = {name for kind in type(one).__mro__ for name in _slots(kind)}
    names |= set(getattr(one, "__dict__", ()))
    for name in sorted(names):
        if hasattr(one, name):
            yield f"{path}.{name}", getattr(one, name)


def _slots(kind):
    found = kind.__dict__.get("__slots__", ())
    return [found] if isinstance(found, str) else found
