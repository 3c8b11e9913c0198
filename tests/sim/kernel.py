"""Sockets made of memory, and the networks between them.

A socket here has the methods of a non-blocking `socket.socket` that the product
uses, bounded buffers, and the habits of Linux that matter: a close with unread
input is a reset, data for a closed socket is answered by a reset, a reset is sent
once and a FIN as often as it takes; what arrived before a reset can be read after it,
and the error is told once, by whichever call comes first.
"""

import errno
import math
import os
import socket
import struct
from collections import deque
from random import Random
from typing import Any, NamedTuple

READABLE, WRITABLE, ERROR, HANGUP = 0x001, 0x004, 0x008, 0x010
BACKLOG = 512
SYN_RETRY_SECONDS = 1.0
FIRST_EPHEMERAL = 32768
FOREVER = math.inf


class Manner(NamedTuple):
    """How the network between two hosts carries bytes.

    Attributes:
        latency: seconds from one end to the other.
        pace: seconds between two pieces that follow each other.
        buffer: bytes that a sending and a receiving socket hold, each.
        piece: bytes that travel together at most.
    """

    latency: float = 0.001
    pace: float = 0.0002
    buffer: int = 65536
    piece: int = 65536


class Lane:
    """One direction of a connection.

    Attributes:
        taken: bytes that the source's kernel has taken from its process.
        read: bytes that the sink's process has read.
        blocked_until: nothing moves before; infinity = never again.
    """

    def __init__(self, kernel, manner, chance):
        self.manner = manner
        self.taken = self.read = 0
        self.blocked_until = 0.0
        self.source: Any = None
        self.sink: Any = None
        self.queue = bytearray()
        self.fin = False
        self._fin_moved = False
        self._kernel = kernel
        self._clock = kernel.clock
        self._chance = chance
        self._idle = True
        self._call: Any = None

    @property
    def room(self):
        """Bytes that the source's kernel would take now."""
        return self.manner.buffer - len(self.queue)

    def put(self, data):
        """Take what there is room for."""
        size = min(len(data), self.manner.buffer - len(self.queue))
        self.queue += data if size == len(data) else memoryview(data)[:size]
        self.taken += size
        if self._call is None and size:
            self.kick()
        return size

    def finish(self):
        """End this direction behind what waits."""
        self.fin = True
        self.kick()

    def drop(self):
        """Forget what waits; nothing follows."""
        self.queue.clear()
        self.fin = False
        self._fin_moved = True
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def block(self, until):
        """Move nothing for a while, or for ever; 0 heals even the latter."""
        if self.blocked_until == FOREVER and until:
            return
        self.blocked_until = until
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self.kick()

    def kick(self):
        """Plan the next move if there is something to move."""
        if self._call is not None or self.blocked_until == FOREVER:
            return
        if self.queue:
            if not self.sink.closed and self.sink.room <= 0:
                self._idle = True
                return
        elif not self.fin or self._fin_moved:
            self._idle = True
            return
        delay = self.manner.latency if self._idle else self.manner.pace
        self._idle = False
        wait = self.blocked_until - self._clock.seconds()
        self._call = self._clock.callLater(max(delay, wait), self._move)

    def _move(self):
        self._call = None
        sink = self.sink
        if sink.closed:
            if self.queue:
                self.drop()
                sink.refuse_late_data()
                return
            self._fin_moved = True
        elif self.queue:
            size = self._cut(min(len(self.queue), sink.room, self.manner.piece))
            if size > 0:
                piece = bytes(self.queue[:size])
                del self.queue[:size]
                sink.receive(piece)
                self.source.changed()
        if self.fin and not self.queue and not self._fin_moved:
            self._fin_moved = True
            sink.receive_fin()
        self.kick()

    def _cut(self, size):
        """Return how much of `size` bytes travels now: often all, at least 1."""
        chance = self._chance.random()
        if chance < 0.7 or size < 2:
            return size
        return max(1, int(size * (chance - 0.7) / 0.3))

    def reset(self):
        """Carry a reset to the sink, once: a half-open network swallows it."""
        self.drop()
        self._clock.callLater(self.manner.latency, self._reset_arrives)

    def _reset_arrives(self):
        wait = self.blocked_until - self._clock.seconds()
        if wait <= 0:
            self.sink.receive_reset()
        elif wait < FOREVER:
            self._clock.callLater(wait, self._reset_arrives)


class Socket:
    """One end of a connection, from `connect` or `accept` to `close`.

    Attributes:
        out: the lane to the peer, None until there is one.
        into: the lane from the peer.
        closed: the process is done with it.
        process: whose it is.
        talker: who uses it, if it is a visitor or a target.
        broken: a reset arrived or was sent.
    """

    out: Lane
    into: Lane

    def __init__(self, kernel, name, peer_name):
        self.fd = kernel.next_fd(self)
        self.connected = self.closed = self.broken = False
        self.serial = 0
        self.process: Any = None
        self.talker: Any = None
        self.poller: Any = None
        self._kernel = kernel
        self._name = name
        self._peer_name = peer_name
        self._inbox = bytearray()
        self._eof = self._shut = self._abortive = False
        self._fault = 0

    # what the kernel does

    @property
    def room(self):
        """Bytes that fit into the receive buffer."""
        return self.into.manner.buffer - len(self._inbox)

    @property
    def unread(self):
        """Bytes in the receive buffer."""
        return len(self._inbox)

    def changed(self):
        """Tell whoever watches that there may be something to do."""
        if self.poller is not None:
            self.poller.touch(self.fd)

    def ready(self):
        """Return what epoll would report."""
        if not self.connected:
            return ERROR | HANGUP | WRITABLE if self._fault else 0
        events = READABLE if self._inbox or self._eof or self.broken else 0
        if self.broken:
            return events | WRITABLE | HANGUP | (ERROR if self._fault else 0)
        if self._eof and self._shut:
            events |= HANGUP
        # like Linux: writable once a third is free
        if self._shut or self.out.room * 3 >= self.out.manner.buffer:
            events |= WRITABLE
        return events

    def establish(self, into, out):
        """The handshake is over."""
        self.into, self.out = into, out
        self.connected = True

    def receive(self, data):
        self._inbox += data
        self.changed()

    def receive_fin(self):
        self._eof = True
        self.changed()

    def receive_reset(self):
        if self.closed or self.broken:
            self.broken = True
            self.out.drop()
            return
        self.fail(errno.ECONNRESET)
        self.out.drop()

    def fail(self, code):
        """Break with an error of the system."""
        self.broken = self.connected
        self._fault = code
        self.changed()

    def refuse_late_data(self):
        """Data came for a closed socket: Linux resets the connection."""
        self.out.reset()
        self.broken = True

    def vanish(self):
        """The host lost its power: nothing more is said, and all is forgotten."""
        self.closed = self.broken = True
        self._inbox.clear()
        if self.connected:
            self.out.drop()

    # what a process calls

    def fileno(self):
        return self.fd

    def setblocking(self, blocking):
        assert not blocking

    def send(self, data):
        self._check_fault()
        if self._shut or self.broken:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        size = self.out.put(data)
        if not size and len(data):
            raise BlockingIOError(errno.EAGAIN, "full")
        return size

    def sendmsg(self, pieces):
        return self.send(b"".join(pieces))

    def recv(self, size):
        inbox = self._inbox
        if inbox:
            data = bytes(inbox[:size])
            del inbox[:size]
            self.into.read += len(data)
            self.into.kick()
            self._kernel.data_read(self)
            return data
        self._check_fault()
        if self._eof or self.broken:
            return b""
        raise BlockingIOError(errno.EAGAIN, "empty")

    def recv_into(self, buffer, size):
        data = self.recv(min(size, len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def _check_fault(self):
        if self._fault:
            code, self._fault = self._fault, 0
            raise OSError(code, os.strerror(code))

    def shutdown(self, how):
        assert how == socket.SHUT_WR
        if self.broken or not self.connected:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        self._shut = True
        self.out.finish()

    def close(self):
        """Close in order, or by a reset where Linux does so."""
        if self.closed:
            return
        self.closed = True
        self.poller = None
        if self.connected and not self.broken:
            if self._abortive or self._inbox:
                self.broken = True
                self.out.reset()
            else:
                self._shut = True
                self.out.finish()
        self._inbox.clear()
        if self.connected:
            self.into.kick()
        self._kernel.socket_closed(self)

    def setsockopt(self, level, option, value):
        if option == socket.SO_LINGER:
            self._abortive = True
        self._options()[level, option] = value

    def getsockopt(self, level, option, size=0):
        if (level, size) == (socket.SOL_SOCKET, 36):  # SO_MEMINFO
            return struct.pack("=I16xI12x", self.unread, len(self.out.queue))
        if (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO):
            return struct.pack("=120xQ", self.out.taken - len(self.out.queue))
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            code, self._fault = self._fault, 0
            return code
        return self._options().get((level, option), 1)

    def _options(self):
        return self.__dict__.setdefault("_chosen", {})

    def getsockname(self):
        return self._name

    def getpeername(self):
        if not self.connected or self.broken:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return self._peer_name


class ListeningSocket:
    """A port and the connections that wait on it."""

    def __init__(self, kernel, host, address, port):
        self.fd = kernel.next_fd(self)
        self.closed = False
        self.process: Any = None
        self.poller: Any = None
        self.waiting: deque[Socket] = deque()
        self._kernel = kernel
        self._host = host
        self._name = (address or "0.0.0.0", port)

    def ready(self):
        return READABLE if self.waiting else 0

    def changed(self):
        if self.poller is not None:
            self.poller.touch(self.fd)

    def accept(self):
        if not self.waiting:
            raise BlockingIOError(errno.EAGAIN, "nobody")
        found = self.waiting.popleft()
        return found, found._peer_name

    def fileno(self):
        return self.fd

    def getsockname(self):
        return self._name

    def close(self):
        if self.closed:
            return
        self.closed = True
        self.poller = None
        self._kernel.release(self._host, self._name[1])
        for one in self.waiting:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"")
            one.close()

    vanish = close


class Connection(NamedTuple):
    """Both ends of an established connection.

    Attributes:
        client: the end that connected.
        server: the end that was accepted.
    """

    client: Socket
    server: Socket

    @property
    def alive(self):
        """Whether a process still holds either end."""
        return not (self.client.closed and self.server.closed)

    def lanes(self):
        """Return the lane from the client and the one to it."""
        return self.client.out, self.client.into

    def block(self, until, *, towards_server=True, towards_client=True):
        """Stall one or both directions."""
        there, back = self.lanes()
        if towards_server:
            there.block(until)
        if towards_client:
            back.block(until)

    def drop(self):
        """Reset it at both ends, as a middlebox does."""
        for end in (self.client, self.server):
            end.receive_reset()


class Names:
    """The name server of the world.

    Attributes:
        known: name -> addresses.
        fault: None = it works, "missing" = it knows nothing, "silent" = it never
            answers.
    """

    def __init__(self):
        self.known: dict[str, list[str]] = {}
        self.fault: str | None = None


class Kernel:
    """All hosts, ports and connections.

    Attributes:
        addresses: literal address -> host.
        manner: how new connections between two hosts behave.
        connections: those that somebody still holds, in the order of their birth.
        names: the name server.
        silent: (host, port) that swallow every attempt to connect.
        on_read: called with each socket that was read from.
    """

    def __init__(self, clock, seed, manner=None):
        self.clock = clock
        self.addresses: dict[str, str] = {}
        self.manner = manner or (lambda source, target: Manner())
        self.connections: dict[int, Connection] = {}
        self.names = Names()
        self.silent: set[tuple[str, int]] = set()
        self.on_read: Any = None
        self._seed = seed
        self._listening: dict[tuple[str, int], ListeningSocket] = {}
        self._sockets: dict[int, Any] = {}
        self._paths: dict[tuple[str, str], float] = {}
        self._last_fd = 0
        self._serial = 0
        self._ephemeral = FIRST_EPHEMERAL

    def next_fd(self, sock):
        self._last_fd += 1
        self._sockets[self._last_fd] = sock
        return self._last_fd

    def find(self, fd):
        """Return the socket of a descriptor."""
        return self._sockets[fd]

    def data_read(self, sock):
        if self.on_read is not None:
            self.on_read(sock)

    def socket_closed(self, sock):
        """Forget the connection once nobody holds it."""
        connection = self.connections.get(sock.serial)
        if connection is not None and not connection.alive:
            del self.connections[sock.serial]
            for end in connection:
                self._sockets.pop(end.fd, None)

    # ports

    def listen(self, host, address, port):
        """Open a port.

        Raises:
            OSError: it is taken.
        """
        if not port:
            port = self._free_port(host)
        if (host, port) in self._listening:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        found = ListeningSocket(self, host, address, port)
        self._listening[host, port] = found
        return found

    def _free_port(self, host):
        while (host, self._ephemeral) in self._listening:
            self._ephemeral += 1
        self._ephemeral += 1
        return self._ephemeral - 1

    def release(self, host, port):
        self._listening.pop((host, port), None)

    def listens(self, host, port):
        """Tell whether somebody listens there."""
        return (host, port) in self._listening

    # connecting

    def connect(self, host, address, port):
        """Return a socket that is being connected.

        Raises:
            OSError: no way leads there.
        """
        local = address.startswith("127.") or address == "::1"
        target = host if local else self.addresses.get(address)
        if target is None:
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        self._ephemeral += 1
        own = address if local else self._address_of(host)
        sock = Socket(self, (own, self._ephemeral), (address, port))
        manner = self.manner(host, target)
        self.clock.callLater(manner.latency, self._syn, sock, host, target, port)
        return sock

    def _address_of(self, host):
        return next(one for one, name in self.addresses.items() if name == host)

    def block_path(self, one, other, until):
        """Let nothing through between two hosts, connections and attempts alike."""
        for pair in ((one, other), (other, one)):
            self._paths[pair] = until

    def _syn(self, sock, host, target, port):
        if sock.closed or (target, port) in self.silent:
            return
        if self.clock.seconds() < self._paths.get((host, target), 0.0):
            self.clock.callLater(SYN_RETRY_SECONDS, self._syn, sock, host, target, port)
            return
        manner = self.manner(host, target)
        listening = self._listening.get((target, port))
        if listening is None or len(listening.waiting) >= BACKLOG:
            self.clock.callLater(manner.latency, sock.fail, errno.ECONNREFUSED)
            return
        self._serial += 1
        chance = Random(self._seed * 1_000_003 + self._serial)
        there, back = Lane(self, manner, chance), Lane(self, manner, chance)
        server = Socket(self, sock._peer_name, sock._name)
        there.source, there.sink = sock, server
        back.source, back.sink = server, sock
        sock.into, sock.out = back, there
        server.establish(there, back)
        sock.serial = server.serial = self._serial
        self.connections[self._serial] = Connection(sock, server)
        listening.waiting.append(server)
        listening.changed()
        self.clock.callLater(manner.latency, self._syn_ack, sock)

    def _syn_ack(self, sock):
        if sock.broken:
            sock.broken = False
            sock.connected = True
            sock.fail(errno.ECONNRESET)
        elif sock.closed:
            sock.out.reset()
        else:
            sock.connected = True
            sock.changed()
