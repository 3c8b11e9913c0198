"""TLS on a socket: who is let in, what is refused, and how it ends."""

import contextlib
import hashlib
import socket
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gateway.interfaces import IByteTransport, ICertified
from gateway.net.certificates import CertificateFiles
from gateway.net.keys import CertificateError
from gateway.net.sealed import RECORD_BYTES
from gateway.net.tls import (
    STEPS_SECONDS,
    ClientTLS,
    HandshakeQueue,
    ServerTLS,
    TLSTransport,
)
from gateway.policy import shares
from tests.certificates import Authority, rsa_key
from tests.contracts.network import HalfRecorder, Recorder, RecordingFactory
from tests.net.real import RealSocketsCase

ADDRESS = "127.0.0.1"
X400_NAME = bytes.fromhex("3004a3020500")  # of a kind that libraries pass over


class TLSCase(RealSocketsCase):
    """An authority, and a listener that presents itself by it."""

    def setUp(self):
        super().setUp()
        self.authority = Authority(self.mktemp())
        self.refused: list[Any] = []

    def server(self, *hosts, ca_file=None, limit=200, seconds=10.0, **issued):
        """Return a server's TLS whose certificate is for `hosts`."""
        if "alternative_names" not in issued:
            hosts = hosts or (ADDRESS,)
        cert, key = self.authority.issue("server", *hosts, **issued)
        return ServerTLS(
            CertificateFiles(cert_file=cert, key_file=key, ca_file=ca_file),
            limit=limit,
            seconds=seconds,
            refused=lambda host, why: self.refused.append((host, why)),
        )

    def client(self, name=ADDRESS, *, ca_file="", cert=(None, None), **options):
        """Return a client's TLS that wants to meet `name`."""
        files = CertificateFiles(
            cert_file=cert[0],
            key_file=cert[1],
            ca_file=self.authority.ca_file if ca_file == "" else ca_file,
        )
        return ClientTLS(files, name, **options)

    def listen(self, tls, build=Recorder):
        self.accepting = RecordingFactory(build)
        listening = self.network.listen(ADDRESS, 0, self.accepting, tls=tls)
        self.addCleanup(listening.stopListening)
        listening.startAccepting()
        self.port = listening.getHost().port
        return listening

    def connect(self, tls, build=Recorder):
        return self.network.connect(
            ADDRESS, self.port, RecordingFactory(build), 5.0, tls=tls
        )

    async def end(self, *protocols):
        for protocol in protocols:
            protocol.transport.abortConnection()
        await self.until(lambda: all(protocol.lost for protocol in protocols))

    async def assert_refused(self, server, client, *words):
        """Fail unless the client finds fault with the server, in these words."""
        self.listen(server)
        failure = None
        try:
            near = await self.connect(client)
        except OSError as fault:
            failure = str(fault)
        else:
            await self.end(near)
        for word in words:
            self.assertIn(word, str(failure))

    def plain(self, source=ADDRESS):
        peer = socket.create_connection((ADDRESS, self.port), 5, (source, 0))
        self.addCleanup(peer.close)
        return peer


class ServerJudgedTests(TLSCase):
    """A client meets the server it means, or none."""

    async def test_by_address(self):
        self.listen(self.server())
        near = await self.connect(self.client())
        await self.until(lambda: self.accepting.built)
        far = self.accepting.built[0]
        verifyObject(ISSLTransport, near.transport)
        verifyObject(IByteTransport, near.transport)
        verifyObject(ICertified, near.transport)
        self.assertEqual(near.transport.peer_names, {"server"})
        self.assertEqual(far.transport.peer_names, frozenset())
        self.assertIsNone(far.transport.getPeerCertificate())
        await self.end(near, far)

    async def test_by_name(self):
        self.listen(self.server("gateway.test"))
        near = await self.connect(self.client("gateway.test"))
        self.assertEqual(near.transport.peer_names, {"gateway.test"})
        await self.end(near)

    async def test_another_name(self):
        await self.assert_refused(
            self.server("other.test"),
            self.client("gateway.test"),
            "is not for gateway.test (it is for other.test)",
        )

    async def test_another_address(self):
        await self.assert_refused(
            self.server("192.0.2.7"),
            self.client(),
            f"is not for {ADDRESS} (it is for 192.0.2.7)",
        )

    async def test_another_issuer(self):
        other = Authority(self.mktemp(), "other")
        await self.assert_refused(
            self.server(),
            self.client(ca_file=other.ca_file),
            "from an issuer that is not trusted",
        )
        await self.until(lambda: self.refused)
        self.assertIn("unknown ca", self.refused[0][1])

    async def test_no_issuer_of_this_system(self):
        await self.assert_refused(
            self.server(), self.client(ca_file=None), "not trusted"
        )

    async def test_expired(self):
        await self.assert_refused(
            self.server(starts=-20, ends=-10), self.client(), "has expired"
        )

    async def test_not_valid_yet(self):
        await self.assert_refused(
            self.server(starts=10, ends=20), self.client(), "not valid yet"
        )

    async def test_self_signed(self):
        await self.assert_refused(
            self.server(self_signed=True), self.client(), "self-signed"
        )

    async def test_with_names_that_cannot_be_read(self):
        await self.assert_refused(
            self.server(alternative_names=X400_NAME),
            self.client(),
            "is not for 127.0.0.1",
            "nobody by name",
        )

    async def test_a_bug_while_it_is_judged_fails_the_connection(self):
        tls = self.client()
        self.patch(tls, "objection", lambda secure: 1 / 0)
        self.listen(self.server())
        with self.assertRaises(ZeroDivisionError):
            await self.connect(tls)

    async def test_a_fingerprint_stands_in_for_name_and_issuer(self):
        server = self.server("other.test", self_signed=True)
        self.listen(server)
        digest = _fingerprint(self.authority.folder / "server.crt")
        near = await self.connect(self.client(ca_file=None, fingerprint=digest))
        await self.end(near)

    async def test_another_fingerprint(self):
        await self.assert_refused(
            self.server(),
            self.client(ca_file=None, fingerprint="00" * 32),
            "another fingerprint, SHA-256",
        )

    async def test_a_fingerprint_beside_an_issuer_needs_both(self):
        server = self.server(self_signed=True)
        digest = _fingerprint(self.authority.folder / "server.crt")
        await self.assert_refused(
            server, self.client(fingerprint=digest), "self-signed"
        )

    async def test_a_server_that_speaks_no_tls(self):
        self.listen(None)
        self.accepting.build = Talker
        with self.assertRaisesRegex(OSError, "TLS handshake: .*wrong version"):
            await self.connect(self.client())
        await self.end(*self.accepting.built)

    async def test_a_server_that_says_nothing(self):
        self.listen(None)
        with self.assertRaisesRegex(OSError, "no TLS handshake within 0.05 seconds"):
            await self.connect(self.client(seconds=0.05))
        await self.end(*self.accepting.built)

    async def test_files_that_cannot_be_read_fail_the_connection(self):
        self.listen(self.server())
        with self.assertRaisesRegex(OSError, "gone.crt: No such file"):
            await self.connect(self.client(ca_file="gone.crt"))
        with self.assertRaises(CertificateError):
            self.client(ca_file="gone.crt").check()

    async def test_a_connection_made_in_a_turn_shakes_hands_once(self):
        self.listen(self.server())
        near = await self.connect(self.client())
        await self.until(lambda: self.accepting.built)
        made: list[Any] = []
        near.on_data = lambda data: self.connect(self.client()).addBoth(made.append)
        self.accepting.built[0].transport.write(b"connect now")
        await self.until(lambda: made)
        self.assertIsInstance(made[0], Recorder)
        await self.end(near, made[0])

    async def test_giving_up_during_the_handshake_leaves_nothing(self):
        before = await self.open_descriptors()
        self.listen(None)
        connecting = self.connect(self.client())
        await self.until(lambda: self.accepting.built)
        connecting.addErrback(lambda failure: None)
        connecting.cancel()
        await self.until(lambda: self.accepting.built[0].lost)
        self.assertEqual(await self.open_descriptors(), before + 2)  # the listener


class Talker(Recorder):
    """Speaks first."""

    def connectionMade(self):
        super().connectionMade()
        self.transport.write(b"220 this is a mail server\r\n")


class ClientJudgedTests(TLSCase):
    """A server that asks for certificates takes those of its issuer."""

    async def attempt(self, client):
        """Return the client's protocol; the server may refuse it later."""
        self.listen(self.server(ca_file=self.authority.ca_file))
        return await self.connect(client)

    async def assert_turned_away(self, client, said, heard):
        near = await self.attempt(client)
        await self.until(lambda: near.lost)
        self.assertIn(said, self.refused[0][1])
        self.assertIn(heard, near.reasons[0].getErrorMessage())
        self.assertEqual(self.accepting.built, [])

    async def test_ours(self):
        cert = self.authority.issue("agent-7")
        near = await self.attempt(self.client(cert=cert))
        await self.until(lambda: self.accepting.built)
        far = self.accepting.built[0]
        self.assertEqual(far.transport.peer_names, {"agent-7"})
        await self.end(near, far)

    async def test_names_beside_the_common_name_stand_above_it(self):
        cert = self.authority.issue("agent-7", "a.test", "b.test")
        near = await self.attempt(self.client(cert=cert))
        await self.until(lambda: self.accepting.built)
        far = self.accepting.built[0]
        self.assertEqual(far.transport.peer_names, {"a.test", "b.test"})
        await self.end(near, far)

    async def test_none(self):
        await self.assert_turned_away(
            self.client(), "peer did not return a certificate", "certificate required"
        )

    async def test_of_another_issuer(self):
        other = Authority(self.mktemp(), "other")
        await self.assert_turned_away(
            self.client(cert=other.issue("agent-7")),
            "from an issuer that is not trusted (agent-7)",
            "unknown ca",
        )

    async def test_expired(self):
        cert = self.authority.issue("late", starts=-20, ends=-10)
        await self.assert_turned_away(
            self.client(cert=cert), "has expired (late)", "expired"
        )

    async def test_whose_names_cannot_be_read_it_has_none(self):
        cert = self.authority.issue("odd", alternative_names=X400_NAME)
        near = await self.attempt(self.client(cert=cert))
        await self.until(lambda: self.accepting.built)
        far = self.accepting.built[0]
        self.assertEqual(far.transport.peer_names, set())
        await self.end(near, far)

    async def test_of_another_issuer_with_names_that_cannot_be_read(self):
        other = Authority(self.mktemp(), "other")
        cert = other.issue("odd", alternative_names=X400_NAME)
        await self.assert_turned_away(
            self.client(cert=cert), "not trusted (one without a name)", "unknown ca"
        )

    async def test_a_stranger_fills_no_log_by_a_long_name(self):
        other = Authority(self.mktemp(), "other")
        cert = other.issue("long", *(f"{n}.{'x' * 60}.test" for n in range(100)))
        await self.assert_turned_away(
            self.client(cert=cert), "is not trusted", "unknown ca"
        )
        self.assertLess(len(self.refused[0][1]), 300)


class ResumptionTests(TLSCase):
    """No session is resumed, because that would skip the check of a certificate."""

    def setUp(self):
        super().setUp()
        self.cert = self.authority.issue("office", ends=10)
        self.tls = self.server(ca_file=self.authority.ca_file)
        self.listen(self.tls, Greeter)

    def saving_client(self, version):
        """Return a context of one version; its sessions can be saved."""
        context = ssl.create_default_context(cafile=self.authority.ca_file)
        context.load_cert_chain(*self.cert)
        context.minimum_version = context.maximum_version = version
        return context

    async def talk(self, context, session=None):
        """Shake hands; return whether that resumed, and the session to resume."""
        return await deferToThread(_save_session, self.plain(), context, session)

    async def assert_not_resumed(self, version):
        context = self.saving_client(version)
        _, session = await self.talk(context)
        resumed, _ = await self.talk(context, session)
        self.assertFalse(resumed)

    async def test_of_tls_1_2(self):
        await self.assert_not_resumed(ssl.TLSVersion.TLSv1_2)

    async def test_of_tls_1_3(self):
        await self.assert_not_resumed(ssl.TLSVersion.TLSv1_3)

    async def assert_expired_is_refused(self, version):
        context = self.saving_client(version)
        _, session = await self.talk(context)
        later = datetime.now(UTC) + timedelta(days=20)
        self.tls._context.get_cert_store().set_time(later)
        with self.assertRaises((ConnectionError, ssl.SSLError)):
            await self.talk(context, session)
        await self.until(lambda: self.refused)
        self.assertIn("the certificate has expired (office)", self.refused[0][1])

    async def test_by_an_expired_certificate_over_tls_1_2(self):
        await self.assert_expired_is_refused(ssl.TLSVersion.TLSv1_2)

    async def test_by_an_expired_certificate_over_tls_1_3(self):
        await self.assert_expired_is_refused(ssl.TLSVersion.TLSv1_3)


class ListenerTests(TLSCase):
    """Handshakes cost nobody else anything."""

    async def test_only_new_versions_and_good_suites(self):
        self.listen(self.server(key=rsa_key()))
        await self.assert_cannot("unsupported protocol", "TLSv1.1", "ALL:@SECLEVEL=0")
        await self.assert_cannot("no shared cipher", "TLSv1.2", "AES128-GCM-SHA256")
        await self.assert_cannot(
            "no shared cipher", "TLSv1.2", "ECDHE-RSA-AES128-SHA256"
        )

    async def assert_cannot(self, words, version, ciphers):
        self.refused.clear()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers(ciphers)
        number = getattr(ssl.TLSVersion, version.replace(".", "_"))
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = number
        peer = self.plain()
        peer.setblocking(False)
        wrapped = context.wrap_socket(peer, do_handshake_on_connect=False)
        self.addCleanup(wrapped.close)
        for _ in range(5):
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                await self.settle()
            except OSError:
                break
        await self.until(lambda: self.refused)
        self.assertIn(words, self.refused[0][1])

    async def test_garbage_is_refused_with_a_word(self):
        self.listen(self.server())
        for sent, words in (
            (b"GET / HTTP/1.1\r\n\r\n", "http request"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "wrong version"),
            (b"\x01\x01\x10" + bytes(20), "TLS handshake"),
        ):
            self.refused.clear()
            peer = self.plain()
            peer.sendall(sent)
            await self.until(lambda: self.refused)
            self.assertEqual(self.refused[0][0], ADDRESS)
            self.assertIn(words, self.refused[0][1])
        self.assertEqual(self.accepting.built, [])

    async def test_silence_ends(self):
        self.listen(self.server(seconds=0.05))
        peer = self.plain()
        await self.until(lambda: self.refused)
        self.assertIn("no TLS handshake within 0.05 seconds", self.refused[0][1])
        with self.assertRaises(ConnectionResetError):
            peer.recv(1)

    async def stall(self, build=Recorder):
        """Fill the places of handshakes from one address."""
        self.tls = self.server(limit=3)
        self.listen(self.tls, build)
        stalling = [self.plain() for _ in range(3)]
        await self.until(lambda: self.tls.active == 3)
        self.assertEqual(self.refused, [])
        return stalling

    def assert_gave_way(self, peer):
        self.assertEqual(
            self.refused, [(ADDRESS, "TLS handshake: too many were under way")]
        )
        self.assertEqual((self.tls.total, self.tls.rejected), (4, 1))
        with self.assertRaises(ConnectionResetError):
            peer.recv(1)

    async def test_those_of_one_address_make_room_for_another_at_once(self):
        stalling = await self.stall(Greeter)
        context = ssl.create_default_context(cafile=self.authority.ca_file)
        honest = self.plain("127.0.0.2")
        await deferToThread(_save_session, honest, context, None)
        self.assert_gave_way(stalling[0])

    async def test_the_oldest_makes_room_for_its_own_address_after_a_while(self):
        stalling = await self.stall()
        self.patch(shares, "HOLD_SECONDS", 0.0)
        near = await self.connect(self.client())
        self.assert_gave_way(stalling[0])
        await self.end(near)

    async def test_those_that_have_just_begun_make_no_room_for_their_own_address(self):
        self.patch(shares, "HOLD_SECONDS", 60.0)
        await self.stall()
        with self.assertRaises(OSError):
            await self.connect(self.client())
        self.assertIn("too many were under way", self.refused[0][1])
        counts = (self.tls.active, self.tls.total, self.tls.rejected)
        self.assertEqual(counts, (3, 3, 1))

    async def test_a_banned_address_does_not_even_begin(self):
        tls = self.server()
        tls.admits = lambda address: address != ADDRESS
        self.listen(tls)
        with self.assertRaises(OSError):
            await self.connect(self.client())
        self.assertEqual(self.refused[0], (ADDRESS, "it is banned"))
        self.assertEqual((tls.active, tls.total, tls.rejected), (0, 0, 1))

    async def test_closing_the_port_ends_handshakes_and_spares_connections(self):
        listening = self.listen(self.server())
        near = await self.connect(self.client())
        await self.until(lambda: self.accepting.built)
        peer = self.plain()
        await self.settle()
        listening.stopListening()
        with self.assertRaises(ConnectionResetError):
            peer.recv(1)
        far = self.accepting.built[0]
        near.transport.write(b"still here")
        await self.until(lambda: far.received == b"still here")
        await self.end(near, far)

    async def test_nobody_is_told_of_a_connection_that_no_protocol_wants(self):
        self.listen(self.server(), lambda: None)
        near = await self.connect(self.client())
        await self.until(lambda: near.lost)

    async def test_a_bug_behind_a_handshake_costs_that_connection_alone(self):
        tls = self.server()
        self.listen(tls)
        made = TLSTransport.__init__
        self.patch(TLSTransport, "__init__", lambda *args, **kwargs: 1 / 0)
        await deferToThread(_shake, self.plain(), self.authority.ca_file)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.patch(TLSTransport, "__init__", made)
        await self.end(await self.connect(self.client()))

    async def test_an_end_without_goodbye_is_no_end_in_order(self):
        self.listen(self.server(), HalfRecorder)
        near = await self.connect(self.client())
        await self.until(lambda: self.accepting.built)
        far = self.accepting.built[0]
        near.transport.getHandle().shutdown(socket.SHUT_WR)  # as an attacker can
        await self.until(lambda: far.lost)
        self.assertIsNotNone(far.reasons[0].check(ConnectionLost))
        self.assertIn("without a goodbye", far.reasons[0].getErrorMessage())
        self.assertNotIn("read lost", far.calls)
        await self.end(near)

    async def test_a_broken_record_ends_the_connection_behind_what_came_before(self):
        self.listen(self.server(), HalfRecorder)
        near = await self.connect(self.client())
        await self.until(lambda: self.accepting.built)
        far = self.accepting.built[0]
        near.transport.write(b"good")
        near.transport.getHandle()._socket.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        await self.until(lambda: far.lost)
        self.assertEqual(far.received, b"good")
        self.assertIsNotNone(far.reasons[0].check(ConnectionLost))
        await self.end(near)

    async def test_a_goodbye_behind_bytes_is_an_end_in_order(self):
        self.listen(self.server())
        near = await self.connect(self.client())
        await self.until(lambda: self.accepting.built)
        far = self.accepting.built[0]
        near.transport.write(bytes(RECORD_BYTES) + b"rest")
        near.transport.loseConnection()
        await self.until(lambda: far.lost and near.lost)
        self.assertEqual(len(far.received), RECORD_BYTES + 4)
        self.assertIsNotNone(far.reasons[0].check(ConnectionDone))


class Stepper:
    """Stands for a handshake; each step takes time.

    Attributes:
        steps: who took one, in order; all of one test share it.
    """

    def __init__(self, name, clock, steps, seconds=STEPS_SECONDS / 2, fault=None):
        self.name = name
        self.clock = clock
        self.steps = steps
        self.seconds = seconds
        self.fault = fault

    def step(self):
        self.steps.append(self.name)
        self.clock.advance(self.seconds)
        if self.fault is not None:
            raise self.fault

    def fail(self, reason):
        self.steps.append(f"{self.name} failed")


class QueueTests(SynchronousTestCase):
    """Steps of handshakes, a few per turn of the loop."""

    def setUp(self):
        self.clock = Clock()
        self.queue: Any = HandshakeQueue(self.clock)
        self.steps: list[str] = []

    def add(self, *names, **options):
        found = [Stepper(name, self.clock, self.steps, **options) for name in names]
        for one in found:
            self.queue.add(one)
        return found

    def turn(self):
        """Let the loop turn once; return who took a step."""
        self.steps.clear()
        calls: Any = self.clock.getDelayedCalls()
        self.clock.calls = []  # what a step takes must not run the next turn
        for call in calls:
            call.func()
        return list(self.steps)

    def test_a_turn_is_short_and_the_oldest_come_first(self):
        self.add(*"abcde")
        turns = [self.turn() for _ in range(4)]
        self.assertEqual(turns, [["a", "b"], ["c", "d"], ["e"], []])

    def test_each_turn_has_a_step_however_long_it_takes(self):
        self.add(*"ab", seconds=1.0)
        self.assertEqual([self.turn(), self.turn()], [["a"], ["b"]])

    def test_one_that_waits_already_keeps_its_place(self):
        first, _ = self.add(*"ab")
        self.queue.add(first)
        self.assertEqual([self.turn(), self.turn()], [["a", "b"], []])

    def test_one_that_ends_takes_no_step(self):
        first, second = self.add(*"ab")
        self.queue.discard(first)
        self.assertEqual(self.turn(), ["b"])
        self.queue.discard(second)
        self.add("c")
        self.queue.discard(next(iter(self.queue._waiting)))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_bug_costs_one_handshake_only(self):
        self.add("a", fault=ZeroDivisionError())
        self.add("b")
        self.assertEqual(self.turn(), ["a", "a failed", "b"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class ReadAgainTests(TLSCase):
    """Files that change are read again; connections go on."""

    async def test_new_handshakes_get_the_new_certificate(self):
        tls = self.server("old.test")
        self.listen(tls)
        near = await self.connect(self.client("old.test"))
        await self.until(lambda: self.accepting.built)
        self.assertFalse(tls.read_again())
        self.authority.issue("server", "new.test")
        self.assertTrue(tls.read_again())
        other = await self.connect(self.client("new.test"))
        with self.assertRaisesRegex(OSError, "is not for old.test"):
            await self.connect(self.client("old.test"))
        near.transport.write(b"go on")
        await self.until(lambda: self.accepting.built[0].received == b"go on")
        await self.end(near, other)

    async def test_a_mode_put_right_is_seen(self):
        tls = self.server()
        key_file = self.authority.folder / "server.key"
        key_file.chmod(0o644)
        fault = self.assertRaises(CertificateError, tls.read_again)
        self.assertIn("chmod 0600", str(fault))
        key_file.chmod(0o600)
        self.assertTrue(tls.read_again())

    async def test_a_bad_file_is_told_once_and_the_old_certificate_stays(self):
        tls = self.server()
        self.listen(tls)
        self.authority.issue("other", ADDRESS)
        (self.authority.folder / "server.key").write_bytes(
            (self.authority.folder / "other.key").read_bytes()
        )
        fault = self.assertRaises(CertificateError, tls.read_again)
        self.assertIn("no private key for", str(fault))
        self.assertFalse(tls.read_again())
        await self.end(await self.connect(self.client()))

    async def test_an_encrypted_key_stops_nothing_and_the_old_certificate_stays(self):
        tls = self.server()
        self.listen(tls)
        _, key_file = self.authority.issue("server", ADDRESS, password=b"a password")
        fault = self.assertRaises(CertificateError, tls.read_again)
        self.assertEqual(
            str(fault),
            f"{key_file} is encrypted: decrypt it, or set key_password_file",
        )
        await self.end(await self.connect(self.client()))

    async def test_a_password_file_put_right_is_seen(self):
        password_file = self.authority.folder / "password"
        password_file.write_bytes(b"a password\n")
        password_file.chmod(0o600)
        cert, key = self.authority.issue("server", ADDRESS, password=b"a password")
        tls = ServerTLS(
            CertificateFiles(
                cert_file=cert, key_file=key, key_password_file=str(password_file)
            ),
            limit=200,
            seconds=10.0,
            refused=lambda host, why: None,
        )
        self.listen(tls)
        await self.end(await self.connect(self.client()))
        password_file.write_bytes(b"another one\n")
        fault = self.assertRaises(CertificateError, tls.read_again)
        self.assertIn(f"with the password in {password_file}", str(fault))
        password_file.write_bytes(b"a password")
        self.assertTrue(tls.read_again())


class Greeter(Recorder):
    """Says a word and goes: tickets of TLS 1.3 come before what is said."""

    def connectionMade(self):
        super().connectionMade()
        self.transport.write(b"!")
        self.transport.loseConnection()


def _save_session(peer, context, session):
    with context.wrap_socket(peer, server_hostname=ADDRESS, session=session) as secure:
        if secure.recv(1) != b"!":
            raise ConnectionError("closed without a word")
        return secure.session_reused, secure.session


def _shake(peer, ca_file):
    """Shake hands as a client, and wait for the end."""
    context = ssl.create_default_context(cafile=ca_file)
    with (
        contextlib.suppress(ConnectionResetError),
        context.wrap_socket(peer, server_hostname=ADDRESS) as secure,
    ):
        secure.recv(1)


def _fingerprint(path):
    certificate = ssl.PEM_cert_to_DER_cert(path.read_text())
    return hashlib.sha256(certificate).hexdigest()
