"""A simulated process: its timers, its event loop, and how it dies."""

from typing import Any
from weakref import WeakSet

from twisted.internet.interfaces import IReactorTime
from twisted.internet.tcp import Port
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.link.protocol import LinkProtocol
from gateway.net.poller import READS
from gateway.net.transports import TCPTransport
from tests.sim.kernel import ERROR, HANGUP
from tests.sim.network import SimNetwork

_END_ROUNDS = 8
_SPOILT = b"\xdd" * 65536


class SimPoller:
    """What `gateway.net` needs of a poller, on simulated sockets.

    Reports are level-triggered and made in batches, so that one may be stale when
    its turn comes, as with epoll.
    """

    log = Logger()

    def __init__(self, kernel):
        self._kernel = kernel
        self._find = kernel.find
        self._watched: dict[int, Any] = {}
        self._masks: dict[int, int] = {}
        self._active: dict[int, None] = {}
        self._calls: list[Any] = []
        self.turning = False
        self.scratch = memoryview(bytearray(_SPOILT))
        self.reads = READS
        self._planned: Any = None
        self.dead = False
        self.on_watch: Any = None
        self._links: WeakSet[LinkProtocol] = WeakSet()

    def watch(self, descriptor, mask):
        """Report what `mask` says, and errors always."""
        fd = descriptor.fd
        self._watched[fd] = descriptor
        self._masks[fd] = mask | ERROR | HANGUP
        if self.on_watch is not None:
            self.on_watch(descriptor, mask)
        protocol = getattr(descriptor, "protocol", None)
        if isinstance(protocol, LinkProtocol):
            self._links.add(protocol)
        self._find(fd).poller = self
        self.touch(fd)

    def watched(self):
        """Return what is watched, in the order of its birth."""
        return list(self._watched.values())

    def _watches(self, fd, descriptor):
        return self._watched.get(fd) is descriptor

    def hand_over(self, old, new):
        """Let `new` take the place of `old`, which has the same descriptor."""
        if self._watched.get(new.fd) is old:
            self._watched[new.fd] = new

    def forget(self, descriptor):
        """Report nothing more; no error if it is not watched."""
        fd = descriptor.fd
        if self._watched.get(fd) is descriptor:
            del self._watched[fd], self._masks[fd]
            self._active.pop(fd, None)

    drop = forget

    def transports(self):
        """Return the transports that are watched."""
        return [one for one in self._watched.values() if isinstance(one, TCPTransport)]

    def links(self):
        """Return the links that are watched, and those with bytes to look at."""
        watched = [
            one.protocol
            for one in self.transports()
            if isinstance(one.protocol, LinkProtocol)
        ]
        gone = [one for one in self._links if one.kept_bytes and one not in watched]
        return watched + gone

    def at_turn_end(self, call):
        """Make `call` once after this batch, or soon if there is none."""
        self._calls.append(call)
        if not self.turning:
            self._plan()

    def touch(self, fd):
        """Look at a descriptor in the next batch."""
        mask = self._masks.get(fd)
        if mask is not None and self._find(fd).ready() & mask:
            self._active[fd] = None
            self._plan()

    def _plan(self):
        if self._planned is None and not self.dead:
            self._planned = self._kernel.clock.callLater(0, self._turn)

    def _ready(self):
        found: list[tuple[int, int, Any]] = []
        for fd in list(self._active):
            events = self._find(fd).ready() & self._masks[fd]
            if events:
                found.append((fd, events, self._watched[fd]))
            else:
                del self._active[fd]
        return found

    def _turn(self):
        self._planned = None
        if self.dead:
            return
        batch = self._ready()
        self.turning = True
        self.reads = READS // max(1, len(batch)) or 1
        for fd, events, found in batch:
            if not self._watches(fd, found):
                continue
            try:
                found.handle(events)
            except BaseException:  # noqa: BLE001 - as the real poller does
                self.log.failure("{descriptor} failed", descriptor=found)
                found.fail(Failure())
            self.scratch[:] = _SPOILT  # nobody may keep a view of it
        self._end_turn()
        self.turning = False
        if self._calls or self._ready():
            self._plan()

    def _end_turn(self):
        for _ in range(_END_ROUNDS):
            if not self._calls:
                return
            calls, self._calls = self._calls, []
            for call in calls:
                call()


@implementer(IReactorTime)
class SimReactor:
    """The shared clock as one process sees it: only its own timers."""

    def __init__(self, clock):
        self._clock = clock
        self._own: list[Any] = []
        self._prune_at = 64
        self.seconds = clock.seconds

    def callLater(self, delay, callable, *args, **kw):
        call = self._clock.callLater(delay, callable, *args, **kw)
        self._own.append(call)
        if len(self._own) > self._prune_at:
            self._own = [one for one in self._own if one.active()]
            self._prune_at = 64 + 2 * len(self._own)
        return call

    def getDelayedCalls(self):
        self._own = [one for one in self._own if one.active()]
        return list(self._own)

    def listenTCP(self, port, factory, backlog=50, interface=""):
        """Return a port that never opens: the API is called directly."""
        return Port(port, factory, backlog, interface, self)

    def addReader(self, reader):
        """Nothing is ever read there."""

    def removeReader(self, reader):
        """Nothing is ever read there."""

    def cancel_all(self):
        for call in self.getDelayedCalls():
            call.cancel()


class Process:
    """One process on one host.

    Attributes:
        reactor: its timers; what `build_gateway` and `build_agent` take.
        network: its sockets.
    """

    def __init__(self, kernel, host, name):
        self.name = name
        self.host = host
        self.kernel = kernel
        self.reactor: Any = SimReactor(kernel.clock)
        self.poller = SimPoller(kernel)
        self.network = SimNetwork(self)
        self.dead = False

    def kill(self, *, power=False):
        """End it without a word of its own.

        Args:
            power: True = the host is gone too, so that its kernel says nothing;
                False = its kernel closes every socket.
        """
        self.dead = self.poller.dead = True
        self.reactor.cancel_all()
        for sock in self.network.sockets():
            if power:
                sock.vanish()
            sock.close()
        self.network.close()
