"""Who says that something is wrong: one function for each law.

Each takes the world and raises `BrokenLawError`; its own numbers come from the
simulated kernels and from visitors and targets, not from the code under test.
"""

from collections import Counter

from gateway.mux.ids import MAX_TOMBSTONES
from gateway.ops.refusals import RefusalLog
from gateway.policy.hops import MOST_DIALS
from gateway.server.link_counts import REMEMBERED_AGENTS
from gateway.wire.frames import HEADER_BYTES, MAX_CONTROL
from tests.sim.tables import table_sizes

LEGACY_SLACK = 1 << 20
PAUSED_SECONDS, WITHIN_SECONDS = 5.0, 30.0
# what an idle gateway or agent may hold more of than before: memories with a limit
MEMORIES = {
    "tombstones._closed": MAX_TOMBSTONES,
    "replaced": 16,
    "core.counts": 50,
    "core.counts.keys": 50,
    "_pauses._past": 100,
    "_asked": 1000,
    "_decoder._pending": MAX_CONTROL + HEADER_BYTES,  # a frame that is arriving
    "hops._dials": MOST_DIALS,
    # a silent agent may have been "default"
    "links.counts._tallies": REMEMBERED_AGENTS,
    "links.faults": 30,  # kinds of them
    "links.counts.faults": 30,
}

# tables of a fixed size in each entry of a memory that is counted itself
FIXED_PARTS = ("links.counts._tallies[].",)


class BrokenLawError(AssertionError):
    """A law does not hold.

    Attributes:
        law: name of the oracle.
    """

    def __init__(self, law, words):
        super().__init__(f"{law}: {words}")
        self.law = law


def check(law, holds, words):
    """Raise unless the law holds; `words` is text or makes it."""
    if not holds:
        raise BrokenLawError(law, words() if callable(words) else words)


# -- while it runs ---------------------------------------------------------------


def bytes_are_those_said(world):
    """What arrives is a prefix of what was said, in order."""
    for talker in world.crowd.talkers:
        check("bytes", not talker.faults, lambda one=talker: f"{one}: {one.faults}")


def credit_is_not_negative(world):
    """No end of a stream owes, and what is held fits the window with the credit."""
    for process, window in world.windows():
        for link in world.links_of(process):
            if not link.negotiated:
                continue
            for stream_id, stream in link.session.core.streams.items():
                receiving = stream.receiving
                held = stream.end.unsent
                check(
                    "credit",
                    stream.sending.left >= 0 and receiving.unspent >= 0,
                    f"stream {stream_id} at {process.name}: {stream.sending.left} "
                    f"to send, {receiving.unspent} to receive",
                )
                check(
                    "credit",
                    receiving.unspent + held <= receiving.window <= window,
                    f"stream {stream_id} at {process.name}: {held} held and "
                    f"{receiving.unspent} unspent of a window of {receiving.window}, "
                    f"{window} at most",
                )


def memory_is_counted(world):
    """What a process thinks it holds is what waits in it, and no more has grown."""
    for process, _ in world.windows():
        ends = [end for link in world.links_of(process) for end in link.stream_ends()]
        held = sum(one.unsent for one in process.poller.transports())
        held += sum(end.waiting for end in ends)
        for link in world.links_of(process):
            held += link.kept_bytes + link.session.core.outbox.control_bytes
        windows = [end.stream.receiving for end in ends]
        grown = sum(one.window - one.first for one in windows)
        memory = process.network.memory
        check(
            "memory",
            (memory.held, memory.grown) == (held, grown),
            f"{process.name} thinks of {memory.held} held and {memory.grown} grown, "
            f"and it is {held} and {grown}",
        )


def our_own_ends_keep_the_protocol(world):
    """Between two ends of ours no frame is wrong, or for an id never seen."""
    for process, _ in world.windows():
        for link in world.links_of(process):
            odd = {
                kind: count
                for kind, count in link.session.core.counts.items()
                if kind.startswith(("stray_", "fault_"))
            }
            check(
                "protocol",
                not odd or not link.negotiated,
                f"{process.name}, link of {link.address}: {odd}",
            )


def held_bytes_are_bounded(world, sock):
    """Between two near kernels there is a window and a read at most.

    Called whenever a process has read from `sock`.
    """
    source = sock.into.source.talker
    sink = None if source is None else source.partner
    if sink is None or sink.socket is None:
        return
    held = source.socket.out.read - sink.socket.into.taken
    visitor = source if source.visitor else sink
    if visitor.way == "direct":
        bound = world.direct_bound
    elif visitor.way == "legacy":
        bound = world.legacy_bound + LEGACY_SLACK
    else:
        bound = world.window_towards(sink) + world.read_size
    if held > bound:  # told later: here the product would take it for its own bug
        world.excesses.append(
            f"{held} bytes between {source} and {sink}, {bound} at most"
        )


def bounds_were_kept(world):
    """See `held_bytes_are_bounded`."""
    check("bounds", not world.excesses, lambda: str(world.excesses[:5]))


def legacy_pauses_are_short(world):
    """A link without credit is paused 5 seconds in any 30 at most."""
    for link, marks in world.pauses.items():
        spans, began = [], None
        for when, paused in [*marks, (world.clock.seconds(), False)]:
            if paused and began is None:
                began = when
            elif not paused and began is not None:
                spans.append((began, when))
                began = None
        for _, end in spans:
            start = end - WITHIN_SECONDS
            total = sum(min(b, end) - max(a, start) for a, b in spans if b > start)
            check(
                "pauses",
                total <= PAUSED_SECONDS + 0.01,
                f"link of {link.address} paused {total:.3f} s before {end:.3f}",
            )


def nothing_was_logged_as_a_bug(world):
    """No traceback, nothing critical, and the gateway could start."""
    check("log", not world.errors, lambda: "\n".join(world.errors))
    check("log", not world.fatal, lambda: str(world.fatal))


# -- about conversations that are over --------------------------------------------


def a_clean_end_is_the_whole_answer(world):
    """Whoever sees a clean end has heard everything: truncation looks like a reset.

    A legacy link has no way to tell a reset from an end, and the visitors of a
    direct mapping that is taken away are closed in order.
    """
    for talker in world.crowd.talkers:
        partner = talker.partner
        if talker.orphaned or not talker.eof or partner is None:
            continue
        if world.is_legacy(talker) or world.was_withdrawn(talker):
            continue
        check(
            "truncation",
            partner.finished and talker.heard == partner.said,
            lambda one=talker, other=partner: (
                f"{one} saw a clean end after {one.heard} bytes; {other} said "
                f"{other.said}, finished: {other.finished}"
            ),
        )


def a_clean_end_follows_words(world):
    """A tunnel that could not be opened is reset, never closed in order."""
    for visitor in world.crowd.visitors:
        if visitor.eof and visitor.partner is None and visitor.way == "tunnel":
            served = visitor.target == "mute" or world.is_legacy(visitor)
            check(
                "truncation",
                served,
                f"{visitor} saw a clean end without having heard anybody",
            )


def undisturbed_conversations_succeed(world):
    """What no fault touched, and both ends bring to an end, is carried whole."""
    for visitor in world.crowd.visitors:
        if visitor.excused or not visitor.script.cooperative:
            continue
        if visitor.target not in world.obliging or world.is_legacy(visitor):
            continue
        partner = visitor.partner
        check(
            "success",
            partner is not None
            and visitor.ending == partner.ending == "clean"
            and visitor.heard == partner.said
            and partner.heard == visitor.said,
            lambda one=visitor, other=partner: (
                f"{one} to {one.target} at {one.born:.3f}: {one.ending}, said "
                f"{one.said} heard {one.heard}; {other}: "
                + (
                    f"{other.ending}, said {other.said} heard {other.heard}"
                    if other
                    else "nobody"
                )
            ),
        )


def conversations_end(world):
    """Nothing hangs once both near ends have ended or gone."""
    left = list(world.crowd.present)
    check("hang", not left, lambda: f"still there: {[repr(one) for one in left]}")


def streams_end_once(world):
    """Each stream is said closed exactly once at each end."""
    for (side, trace), count in world.closed.items():
        check("ends", count == 1, f"{trace} closed {count} times at the {side}")
    for (side, trace), count in world.opened.items():
        check("ends", count == 1, f"{trace} opened {count} times at the {side}")
        ended = world.closed[side, trace]
        check(
            "ends",
            ended == 1 or (side == "agent" and world.agent_died),
            f"{trace} opened and closed {ended} times at the {side}",
        )


# -- about links --------------------------------------------------------------------


def dead_links_are_noticed(world):
    """Three intervals after a link fell silent neither end holds it any more."""
    now = world.clock.seconds()
    for fault in world.silences:
        if now < fault.deadline:
            continue
        for end, name in (
            (fault.connection.client, "agent"),
            (fault.connection.server, "gateway"),
        ):
            if fault.deaf in (name, "both"):
                check(
                    "dead link",
                    end.closed,
                    f"the {name} still holds a link, silent since {fault.since:.3f}",
                )
    world.silences = [fault for fault in world.silences if now < fault.deadline]


def agents_are_back(world):
    """Every agent that lives, or another of its name, has usable links."""
    for agent in world.agents:
        if not agent.stopped:
            check(
                "reconnect",
                world.links.has(agent.name),
                f"agent {agent.name} has no link at {world.clock.seconds():.3f}",
            )


# -- at rest -------------------------------------------------------------------------


def snapshot(world):
    """Return table sizes and timers of the gateway and every agent with links."""
    found = {"gateway": (table_sizes(world.gateway), _timers(world.gate))}
    for agent in world.agents:
        if not agent.stopped and agent.connected:
            found[agent.process.name] = (
                table_sizes(agent.service),
                _timers(agent.process),
            )
    return found


def _timers(process):
    return Counter(
        getattr(call.func, "__qualname__", repr(call.func))
        for call in process.reactor.getDelayedCalls()
    )


def refusals_are_remembered(world):
    """Return whether the gateway still waits to sum up refusals."""
    return RefusalLog._summarise.__qualname__ in _timers(world.gate)


def tables_are_as_before(world, before):
    """At rest every table and the set of timers is what it was at the start."""
    for name, (sizes, timers) in snapshot(world).items():
        old_sizes, old_timers = before.get(name, (None, None))
        if old_sizes is None or old_timers is None:
            continue
        for path in sorted(sizes.keys() | old_sizes.keys()):
            limit = next(
                (top for end, top in MEMORIES.items() if path.endswith(end)), None
            )
            size = sizes[path]
            if limit is not None:
                check("tables", size <= limit * 20, f"{name}: {path} holds {size}")
            elif not path.endswith((".keys", "keys[]", "_parts[]")) and not any(
                part in path for part in FIXED_PARTS
            ):
                check(
                    "tables",
                    size == old_sizes[path],
                    f"{name}: {path} holds {size}, {old_sizes[path]} at the start",
                )
        check(
            "timers",
            timers == old_timers,
            f"{name}: {dict(timers - old_timers)} more, {dict(old_timers - timers)} "
            "less than at the start",
        )


def nothing_is_left(world):
    """After the stop there is no visit, link, place, timer or socket."""
    processes = [world.gate] + [one.process for one in world.agents]
    for process in processes:
        timers = _timers(process)
        check("timers", not timers, f"{process.name} is stopped and has {dict(timers)}")
        sockets = process.network.sockets()
        check(
            "sockets", not sockets, f"{process.name} is stopped and has {len(sockets)}"
        )
    sizes = table_sizes(world.gateway)
    for path in LEFT_EMPTY:
        found = sum(size for one, size in sizes.items() if one.endswith(path))
        check("tables", found == 0, f"{path} holds {found} after the stop")


LEFT_EMPTY = (
    "registry._agents",
    "connections.live",
    "registry._places",
    "_candidates",
    "linger._calls",
    "slots.active",  # of links, and of connections
    "edge.visits",
    "_reconciler._draining",
    "core.streams",
)

ALWAYS = (
    our_own_ends_keep_the_protocol,
    bounds_were_kept,
    bytes_are_those_said,
    credit_is_not_negative,
    memory_is_counted,
    nothing_was_logged_as_a_bug,
)
AT_THE_END = (
    bytes_are_those_said,
    nothing_was_logged_as_a_bug,
    conversations_end,
    a_clean_end_is_the_whole_answer,
    a_clean_end_follows_words,
    undisturbed_conversations_succeed,
    streams_end_once,
    legacy_pauses_are_short,
)
