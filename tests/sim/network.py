"""`INetwork` on the simulated kernel, with the product's own transports."""

import errno
import os
import socket
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.errors import UnresolvableError
from gateway.interfaces import IListening, INetwork
from gateway.net.addresses import family_of
from gateway.net.transports import TCPTransport
from tests.relay.fakes import by_deferred
from tests.sim.kernel import READABLE, WRITABLE

LOOK_UP_SECONDS = 0.002
READ_SIZE = 32768


def _address(name):
    return IPv4Address("TCP", *name)


def _reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"")
    sock.close()


@implementer(IListening)
class SimListening:
    """One listening socket."""

    log = Logger()

    def __init__(self, network, sock, factory, *, gathered):
        self.fd = sock.fileno()
        self._network = network
        self._socket = sock
        self._factory = factory
        self._gathered = gathered
        self._accepting = self._stopped = False

    def getHost(self):
        """Return the address that is listened on."""
        return _address(self._socket.getsockname())

    def startAccepting(self):
        """Hand connections to the factory from now on."""
        if not self._accepting and not self._stopped:
            self._accepting = True
            self._factory.doStart()
            self._network.poller.watch(self, READABLE)

    def stopListening(self):
        """Release the port at once; established connections live on."""
        if self._stopped:
            return
        self._stopped = True
        self._network.poller.forget(self)
        self._socket.close()
        if self._accepting:
            self._accepting = False
            self._factory.doStop()

    def handle(self, events):
        """Accept whoever waits."""
        while self._accepting and self._socket.waiting:
            sock, name = self._socket.accept()
            try:
                protocol = self._factory.buildProtocol(_address(name))
            except Exception:  # noqa: BLE001 - a bug costs this connection only
                self.log.failure("no protocol for {peer}", peer=name)
                protocol = None
            self._network.adopt(sock)
            if protocol is None:
                _reset(sock)
            else:
                self._network.transport(sock, name, self._gathered).start(protocol)

    def fail(self, reason):
        """Stop; a bug of one connection never comes here."""
        self.stopListening()


class SimConnecting:
    """One attempt to connect, until it has succeeded, failed or been given up."""

    def __init__(self, network, sock, factory, timeout_seconds, *, gathered):
        self.fd = sock.fileno()
        self._network = network
        self._socket = sock
        self._factory = factory
        self._gathered = gathered
        self.outcome: Deferred[Any] = Deferred(lambda _outcome: self._give_up())
        self._timeout = network.clock.callLater(timeout_seconds, self._timed_out)
        network.poller.watch(self, WRITABLE)

    def handle(self, events):
        """Learn how the attempt ended."""
        fault = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if fault:
            self._fail(fault)
            return
        name = self._socket.getpeername()
        try:
            protocol = self._factory.buildProtocol(_address(name))
        except Exception:  # noqa: BLE001 - goes to the caller
            self._give_up()
            self.outcome.errback(Failure())
            return
        if protocol is None:
            self._fail(errno.ECONNABORTED)
            return
        self._timeout.cancel()
        transport = self._network.transport(self._socket, name, self._gathered)
        self._network.poller.hand_over(self, transport)
        transport.start(protocol, WRITABLE)
        self.outcome.callback(protocol)

    def fail(self, reason):
        """Give up."""
        if not self.outcome.called:
            self._fail(errno.ECONNABORTED)

    def _timed_out(self):
        self._fail(errno.ETIMEDOUT)

    def _fail(self, code):
        self._give_up()
        self.outcome.errback(OSError(code, os.strerror(code)))

    def _give_up(self):
        if self._timeout.active():
            self._timeout.cancel()
        self._network.poller.forget(self)
        _reset(self._socket)


@implementer(INetwork)
class SimNetwork:
    """The sockets of one simulated process.

    Transports are those of `gateway.net`; what is below them is simulated.
    """

    def __init__(self, process):
        self.poller = process.poller
        self.clock = process.reactor
        self.read_size = READ_SIZE
        self.memory: Any = None
        self._process = process
        self._listening: list[SimListening] = []
        self._sockets: dict[int, Any] = {}

    def count_by(self, memory):
        """Count what waits in the transports that are made from now on."""
        self.memory = memory

    def listen(self, address, port, factory, *, gathered=False, tls=None, memory=None):
        """Bind and listen without accepting yet."""
        process = self._process
        sock = self.adopt(process.kernel.listen(process.host, address, port))
        found = SimListening(self, sock, factory, gathered=gathered)
        self._listening.append(found)
        return found

    def connect(
        self,
        address,
        port,
        factory,
        timeout_seconds,
        *,
        gathered=False,
        tls=None,
        dialled=None,
    ):
        """Connect to a literal address."""
        process = self._process
        try:
            sock = self.adopt(process.kernel.connect(process.host, address, port))
        except OSError as fault:
            return fail(fault)
        if dialled is not None:
            dialled(*sock.getsockname(), address, -1)
        return SimConnecting(
            self, sock, factory, timeout_seconds, gathered=gathered
        ).outcome

    def attempt(self, address, port, factory, seconds, failed, dialled=None):
        """Connect on behalf of one visitor."""
        return by_deferred(
            self.connect, address, port, factory, seconds, failed, dialled
        )

    def resolve(self, name, *, reserved=False):
        """Look a host name up."""
        if family_of(name) is not None:
            return succeed([name])
        found: Deferred[list[str]] = Deferred()
        if self._process.kernel.names.fault != "silent":
            self.clock.callLater(LOOK_UP_SECONDS, self._look_up, name, found)
        return found

    def _look_up(self, name, found):
        if found.called:
            return
        names = self._process.kernel.names
        addresses = names.known.get(name, [])
        if addresses and names.fault is None:
            found.callback(list(addresses))
        else:
            found.errback(UnresolvableError(f"{name!r} has no address"))

    def transport(self, sock, name, gathered):
        """Return a transport for a connection."""
        return TCPTransport(
            self.poller,
            sock,
            _address(name),
            gathered=gathered,
            read_size=self.read_size,
            memory=self.memory,
        )

    def adopt(self, sock):
        """Note that a socket is this process's."""
        sock.process = self._process
        self._sockets[sock.fd] = sock
        return sock

    def sockets(self):
        """Return the sockets that this process has not closed, oldest first."""
        self._sockets = {
            fd: sock for fd, sock in self._sockets.items() if not sock.closed
        }
        return list(self._sockets.values())

    def close(self):
        """Stop listening everywhere."""
        listening, self._listening = self._listening, []
        for one in listening:
            one.stopListening()
