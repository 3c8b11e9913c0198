"""What goes wrong in a world: each fault is a function of the world.

Some cost nothing (a short stall, a slow look-up); the others excuse the
conversations that they may break.
"""

from typing import Any, NamedTuple

from gateway.link.protocol import LAST_WORDS_SECONDS
from gateway.mux.liveness import LEGACY_DEAD_SECONDS
from tests.sim.kernel import FOREVER
from tests.sim.world import quietly

SLACK_SECONDS = 1.0  # what was on its way when the link fell silent
SHORT_STALL, LONG_STALL = (0.05, 1.5), (3.0, 25.0)


class Silence(NamedTuple):
    """A link that fell silent for ever.

    Attributes:
        connection: of the link.
        since: when.
        deaf: "gateway", "agent" or "both": who hears nothing any more.
        deadline: when that end must have let go.
    """

    connection: Any
    since: float
    deaf: str
    deadline: float


def _pick_agent(world):
    living = [one for one in world.agents if not one.stopped]
    return world.chance.choice(living) if living else None


def _pick_link(world):
    """Return an agent and one of its live link connections, or None twice."""
    agent = _pick_agent(world)
    found = world.link_connections(agent) if agent else []
    return (agent, world.chance.choice(found)) if found else (None, None)


def short_stall(world):
    """A link stands still for a moment: nothing may break."""
    agent, connection = _pick_link(world)
    if connection is None:
        return
    seconds = world.chance.uniform(*SHORT_STALL)
    if connection.client.out.blocked_until or connection.client.into.blocked_until:
        return
    world.note(f"FAULT the link of {agent.name} stalls for {seconds:.3f} s")
    connection.block(world.clock.seconds() + seconds)


def long_stall(world):
    """A link stands still for so long that somebody may give up."""
    agent, connection = _pick_link(world)
    if connection is None:
        return
    seconds = world.chance.uniform(*LONG_STALL)
    world.note(f"FAULT the link of {agent.name} stalls for {seconds:.3f} s")
    world.harm(agent.name, "its link stalled")
    connection.block(world.clock.seconds() + seconds)


def half_open(world):
    """One or both directions of a link vanish for ever, without a word."""
    agent, connection = _pick_link(world)
    if connection is None:
        return
    deaf = world.chance.choice(("gateway", "agent", "both"))
    world.note(f"FAULT the link of {agent.name} is half open: {deaf} deaf")
    world.harm(agent.name, "its link was half open")
    connection.block(
        FOREVER, towards_server=deaf != "agent", towards_client=deaf != "gateway"
    )
    now = world.clock.seconds()
    # one that has not greeted yet may be a legacy agent's
    silence = 3 * world.heartbeat if agent.connected else LEGACY_DEAD_SECONDS
    world.silences.append(
        Silence(
            connection,
            now,
            deaf,
            now + silence + SLACK_SECONDS + LAST_WORDS_SECONDS,
        )
    )


def drop(world):
    """A middlebox resets a link."""
    agent, connection = _pick_link(world)
    if connection is not None:
        world.note(f"FAULT the link of {agent.name} is reset")
        world.harm(agent.name, "its link was reset")
        connection.drop()


def kill_agent(world):
    """The process of an agent dies, with or without its host; a new one starts."""
    agent = _pick_agent(world)
    if agent is None:
        return
    power = world.chance.random() < 0.5
    world.note(f"FAULT {agent.process.name} dies")
    world.harm(agent.name, "its process died")
    world.orphan(agent.process, power=power)
    agent.kill(power=power)
    world.later(world.chance.uniform(0.1, 6.0), world.another, agent)


def restart_agent(world):
    """An agent stops politely and a new one starts."""
    agent = _pick_agent(world)
    if agent is not None:
        world.note(f"FAULT {agent.process.name} is restarted")
        world.harm(agent.name, "its process stopped")
        agent.stop()
        world.later(world.chance.uniform(0.1, 6.0), world.another, agent)


def impostor(world):
    """Another process takes an agent's name for a while."""
    agent = _pick_agent(world)
    if agent is None:
        return
    world.note(f"FAULT another process calls itself {agent.name}")
    world.harm(agent.name, "its name was taken")
    other = world.another(agent)
    world.later(world.chance.uniform(2.0, 8.0), _impostor_leaves, world, other)


def _impostor_leaves(world, other):
    if not other.stopped:
        world.harm(other.name, "the impostor left")
        other.stop()


def lost_name(world):
    """The gateway's name is not found for a while, and a link is reset."""
    world.kernel.names.fault = world.chance.choice(("missing", "silent"))
    world.note(f"FAULT names: {world.kernel.names.fault}")
    world.later(world.chance.uniform(0.5, 6.0), _names_work, world)
    drop(world)


def _names_work(world):
    world.note("names work again")
    world.kernel.names.fault = None


def partition(world):
    """An agent's host is cut off for a while, attempts to connect included."""
    agent = _pick_agent(world)
    if agent is None:
        return
    seconds = world.chance.uniform(*LONG_STALL)
    world.note(f"FAULT {agent.process.host} is cut off for {seconds:.3f} s")
    for one in world.agents:
        if one.process.host == agent.process.host:
            world.harm(one.name, "its host was cut off")
    world.partition(agent.process.host, world.clock.seconds() + seconds)


def near_reset(world):
    """A visitor's or a target's connection is reset by the network."""
    talker = _pick_talker(world)
    if talker is not None:
        world.note(f"FAULT the connection of {talker} is reset")
        for connection in list(world.kernel.connections.values()):
            if talker.socket in connection:
                connection.drop()


def near_stall(world):
    """A visitor's or a target's connection stands still for a moment."""
    talker = _pick_talker(world)
    if talker is not None:
        seconds = world.chance.uniform(*SHORT_STALL)
        world.note(f"FAULT the connection of {talker} stalls for {seconds:.3f} s")
        until = world.clock.seconds() + seconds
        talker.socket.out.block(until)
        talker.socket.into.block(until)


def _pick_talker(world):
    present = [one for one in world.crowd.present if one.socket.serial]
    if not present:
        return None
    talker = world.chance.choice(present)
    for one in [talker, talker.partner, *world.crowd.present]:
        # nobody knows yet to whom a silent one belongs
        if one is not None and (
            one in (talker, talker.partner) or one.partner in (talker, None)
        ):
            one.excused = "a near connection was disturbed"
    return talker


def remove_mapping(world):
    """A mapping is removed, with or without patience, and made again later."""
    port = world.chance.choice(sorted(world.ports))
    drain = world.chance.choice((0.0, 0.0, 1.0, 10.0))
    world.note(f"FAULT mapping {port} is removed, drain {drain:g}")
    for visitor in world.crowd.present:
        if visitor.visitor and visitor.port == port:
            visitor.excused = "its mapping was removed"
    mappings = world.gateway.parts.mappings
    quietly(world.now, mappings.remove(port, "tcp", drain))
    world.later(world.chance.uniform(0.0, 3.0), world.map_again, port)


FAULTS = (
    short_stall,
    short_stall,
    long_stall,
    half_open,
    half_open,
    drop,
    kill_agent,
    restart_agent,
    impostor,
    lost_name,
    partition,
    near_reset,
    near_stall,
    remove_mapping,
)
