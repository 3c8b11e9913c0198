"""The life of a stream as a Mermaid diagram, made from its table."""

from gateway.mux.stream import NEXT, State

BEGINNINGS = {State.OPENING: "OPEN sent", State.DIALING: "OPEN received"}


def state_diagram():
    """Return the diagram's text, without the fence."""
    lines = ["stateDiagram-v2"]
    lines += [f'    state "{state.value}" as {state.name}' for state in State]
    lines += [f"    [*] --> {state.name}: {why}" for state, why in BEGINNINGS.items()]
    lines += [
        f"    {state.name} --> {following.name}: {event.value}"
        for (state, event), following in NEXT.items()
    ]
    lines.append(f"    {State.ENDED.name} --> [*]")
    return "\n".join(lines) + "\n"
