"""`INetwork` on the simulated kernel, made of the product's own transports."""

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from gateway.errors import UnresolvableError
from gateway.interfaces import INetwork
from gateway.net.addresses import family_of
from gateway.net.connect import Connecting
from gateway.net.ports import TCPListening

LOOK_UP_SECONDS = 0.002


@implementer(INetwork)
class SimNetwork:
    """The sockets of one simulated process.

    Transports, listeners and connection attempts are those of `gateway.net`; only
    what is below them is simulated.
    """

    def __init__(self, process):
        self._process = process
        self._listening: list[TCPListening] = []
        self._sockets: dict[int, Any] = {}
        self.read_size = 32768

    def listen(self, address, port, factory, *, gathered=False):
        """Bind and listen without accepting yet."""
        process = self._process
        sock = self._own(process.kernel.listen(process.host, address, port))
        found = TCPListening(
            process.poller,
            process.reactor,
            _Accepting(sock, self._own),
            factory,
            gathered=gathered,
            read_size=self.read_size,
        )
        self._listening.append(found)
        return found

    def connect(self, address, port, factory, timeout_seconds, *, gathered=False):
        """Connect to a literal address."""
        process = self._process
        try:
            sock = process.kernel.connect(process.host, address, port)
        except OSError as fault:
            return fail(fault)
        return Connecting(
            process.poller,
            process.reactor,
            self._own(sock),
            factory,
            timeout_seconds,
            gathered=gathered,
            read_size=self.read_size,
        ).outcome

    def resolve(self, name):
        """Look a host name up."""
        if family_of(name) is not None:
            return succeed([name])
        found: Deferred[list[str]] = Deferred()
        if self._process.kernel.names.fault != "silent":
            self._process.reactor.callLater(LOOK_UP_SECONDS, self._look_up, name, found)
        return found

    def _look_up(self, name, found):
        if found.called:
            return
        addresses = self._process.kernel.names.known.get(name, [])
        if addresses and self._process.kernel.names.fault is None:
            found.callback(list(addresses))
        else:
            found.errback(UnresolvableError(f"{name!r} has no address"))

    def _own(self, sock):
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
        """Release what the listeners hold outside the simulation."""
        listening, self._listening = self._listening, []
        for one in listening:
            one.stopListening()


class _Accepting:
    """A listening socket that notes whose the accepted ones are."""

    def __init__(self, sock, own):
        self._own = own
        self._sock = sock
        self.fileno, self.getsockname = sock.fileno, sock.getsockname
        self.close = sock.close

    def accept(self):
        sock, name = self._sock.accept()
        return self._own(sock), name
