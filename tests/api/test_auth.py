"""Who gets through the gate, and what the log says of the others."""

import re
from ipaddress import ip_network
from typing import Any

from pydantic import SecretStr
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest
from zope.interface import implementer

from gateway.api.auth import Gate
from gateway.api.settings import ApiSettings
from gateway.api.tokens import TokenJudge, issue
from gateway.errors import (
    AccessDeniedError,
    BadApiKeyError,
    BadRequestError,
    CallerError,
    InvalidTokenError,
    RoleDeniedError,
    TooManyRequestsError,
    UnauthorizedError,
)
from gateway.interfaces import ICertified
from gateway.ops.events import Events
from gateway.ops.refusals import RefusalLog
from gateway.ops.repeats import Repeats
from gateway.policy.bans import BanSettings
from gateway.server.bans import BanTable
from gateway.store.memory import MemoryMappingStore
from tests.api.calls import ApiTestCase

NOW = 1_800_000_000.0
LONG_SECRET = "a-secret-of-at-least-thirty-two-letters"
KEY = "correct-horse-battery-ключ"
HERE = IPv4Address("TCP", "192.0.2.1", 8080)


class GateTestCase(SynchronousTestCase):
    """A gate, and what it logs."""

    def setUp(self):
        self.clock = Clock()
        self.events: list[Any] = []
        note: Any = self.events.append
        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)

    def gate(self, **settings):
        refusals = RefusalLog(self.clock)
        self.addCleanup(refusals.close)
        return Gate(ApiSettings(**settings), refusals, self.clock)

    def request(self, path=b"/api/agents", peer="127.0.0.1", host=b"localhost", **more):
        request: Any = DummyRequest([])
        request.path = path
        kind = IPv6Address if ":" in peer else IPv4Address
        request.client = kind("TCP", peer, 4000)
        request.getClientAddress = lambda: request.client
        request.getHost = lambda: HERE
        if host is not None:
            request.requestHeaders.setRawHeaders(b"host", [host])
        for name, value in more.items():
            request.requestHeaders.setRawHeaders(name.replace("_", "-"), [value])
        return request

    def refused(self, fault, gate, request):
        return self.assertRaises(fault, gate.admit, request)


class KeyTests(GateTestCase):
    """An API key is configured."""

    def setUp(self):
        super().setUp()
        self.keyed = self.gate(api_key=SecretStr(KEY))

    def test_both_headers_carry_the_key(self):
        self.keyed.admit(self.request(x_api_key=KEY))
        self.keyed.admit(self.request(secret=KEY))

    def test_without_a_key(self):
        fault = self.refused(UnauthorizedError, self.keyed, self.request())
        self.assertEqual((str(fault), fault.http_code), ("Unauthorized", 401))

    def test_with_a_wrong_key(self):
        for wrong in ("", KEY[:-1], KEY + "x", KEY.upper(), "\xff"):
            request = self.request(x_api_key=wrong)
            fault = self.refused(BadApiKeyError, self.keyed, request)
            self.assertEqual(fault.text("zh"), "无效的 API 密钥")

    def test_the_query_needs_the_option(self):
        request = self.request()
        request.args = {b"api_key": [KEY.encode()]}
        self.refused(UnauthorizedError, self.keyed, request)
        self.gate(api_key=SecretStr(KEY), api_key_in_query=True).admit(request)
        request.args = {b"api_key": [b"x"]}
        gate = self.gate(api_key=SecretStr(KEY), api_key_in_query=True)
        self.refused(BadApiKeyError, gate, request)

    def test_health_is_open(self):
        for path in (b"/health", b"/livez", b"/readyz"):
            self.keyed.admit(self.request(path))
        for path in (b"/health/", b"//health", b"/", b"/api/openapi.json", b"/nope"):
            self.refused(UnauthorizedError, self.keyed, self.request(path))

    def test_with_a_key_any_host_name_will_do(self):
        self.keyed.admit(self.request(host=b"gw.example.com", x_api_key=KEY))
        self.keyed.admit(self.request(host=None, x_api_key=KEY))

    def test_refusals_are_logged_without_the_key(self):
        self.refused(BadApiKeyError, self.keyed, self.request(x_api_key="guess-one"))
        (event,) = self.events
        self.assertIs(event["log_level"], LogLevel.warn)
        line = event["log_format"].format(**event)
        self.assertIn("Unauthorized", line)
        self.assertIn("127.0.0.1", line)
        self.assertNotIn("guess-one", repr(event))
        self.assertNotIn(KEY, repr(event))


class TokenTests(GateTestCase):
    """Tokens are taken, and perhaps a key as well."""

    def setUp(self):
        super().setUp()
        judge = TokenJudge(LONG_SECRET, None, None, lambda: NOW)
        self.both = self.gate(api_key=SecretStr(KEY), tokens=judge)
        self.tokens_only = self.gate(tokens=judge)

    def token(self, role="admin"):
        return issue(
            LONG_SECRET,
            "HS256",
            subject="alice",
            role=role,
            now=NOW,
            seconds=60,
            audience=None,
        )

    def test_raw_or_as_bearer(self):
        token = self.token()
        for text in (token, f"Bearer {token}", f"bearer  {token}"):
            for gate in (self.both, self.tokens_only):
                caller = gate.admit(self.request(authorization=text))
                self.assertEqual(caller, ("token alice", "admin", "127.0.0.1"))

    def test_none_or_an_empty_one_is_unauthorized(self):
        for more in ({}, {"authorization": ""}, {"authorization": "Bearer "}):
            request = self.request(**more)
            self.refused(UnauthorizedError, self.tokens_only, request)
            self.refused(UnauthorizedError, self.both, request)

    def test_a_bad_one_is_an_invalid_token(self):
        for text in ("x", f"Bearer {self.token()}x", f"Basic {self.token()}"):
            request = self.request(authorization=text)
            self.refused(InvalidTokenError, self.tokens_only, request)

    def test_the_key_stands_beside_it(self):
        self.both.admit(self.request(x_api_key=KEY))
        self.refused(BadApiKeyError, self.both, self.request(x_api_key="x"))
        # without a key configured its header is nobody's
        request = self.request(x_api_key=KEY)
        self.refused(UnauthorizedError, self.tokens_only, request)

    def test_a_reader_may_look_and_not_change(self):
        request = self.request(authorization=self.token("reader"))
        for method in (b"GET", b"HEAD"):
            request.method = method
            self.assertEqual(self.both.admit(request).role, "reader")
        for method in (b"POST", b"DELETE", b"PUT", b"X"):
            request.method = method
            fault = self.assertRaises(RoleDeniedError, self.both.admit, request)
            self.assertEqual(403, fault.http_code)
            self.assertIn("the role reader may only look", str(fault))

    def test_tokens_are_not_logged(self):
        text = f"{self.token()}x"
        self.refused(InvalidTokenError, self.both, self.request(authorization=text))
        (event,) = self.events
        line = event["log_format"].format(**event)
        self.assertIn("Unauthorized: request from 127.0.0.1 refused", line)
        self.assertNotIn(text, repr(event))


class CertificateTests(GateTestCase):
    """TLS has asked the caller for a certificate."""

    def test_the_certificate_admits_under_any_host_name(self):
        request = self.request(host=b"gw.example.com")
        request.channel = Channel(frozenset({"ops"}))
        caller = self.gate().admit(request)
        self.assertEqual(caller.name, "certificate ops")

    def test_a_key_is_asked_for_all_the_same(self):
        request = self.request()
        request.channel = Channel(frozenset({"ops"}))
        self.refused(UnauthorizedError, self.gate(api_key=SecretStr(KEY)), request)


@implementer(ICertified)
class Channel:
    """An HTTP channel, and its transport."""

    def __init__(self, names):
        self.transport = self
        self.peer_names = names


class RateTests(GateTestCase):
    """A rate is configured."""

    def test_of_one_address(self):
        gate = self.gate(rate_limit=(2, 10.0))
        gate.admit(self.request())
        gate.admit(self.request())
        fault = self.refused(TooManyRequestsError, gate, self.request())
        self.assertEqual(fault.fields, {"seconds": 5.0})
        gate.admit(self.request(peer="127.0.0.2"))
        self.clock.advance(5)
        gate.admit(self.request())

    def test_of_one_caller_from_many_addresses(self):
        gate = self.gate(rate_limit=(2, 10.0), api_key=SecretStr(KEY))
        for number in (1, 2):
            gate.admit(self.request(peer=f"192.0.2.{number}", x_api_key=KEY))
        request = self.request(peer="192.0.2.3", x_api_key=KEY)
        self.refused(TooManyRequestsError, gate, request)

    def test_wrong_keys_count(self):
        gate = self.gate(rate_limit=(2, 10.0), api_key=SecretStr(KEY))
        for _ in range(2):
            self.refused(BadApiKeyError, gate, self.request(x_api_key="guess"))
        self.refused(TooManyRequestsError, gate, self.request(x_api_key=KEY))


class ProxyTests(GateTestCase):
    """`X-Forwarded-For` is believed of trusted proxies alone."""

    def setUp(self):
        super().setUp()
        self.behind = self.gate(
            api_key=SecretStr(KEY),
            trusted_proxies=(ip_network("10.0.0.0/8"),),
            allowed_ips=(ip_network("192.0.2.0/24"),),
        )

    def address(self, peer, *forwarded):
        request = self.request(peer=peer, x_api_key=KEY)
        if forwarded:
            request.requestHeaders.setRawHeaders("x-forwarded-for", forwarded)
        return self.behind.admit(request).address

    def test_the_last_stranger_is_the_caller(self):
        self.assertEqual(self.address("10.0.0.1", "192.0.2.7"), "192.0.2.7")
        self.assertEqual(
            self.address("10.0.0.1", "203.0.113.1, 192.0.2.7, 10.0.0.2"), "192.0.2.7"
        )
        self.assertEqual(
            self.address("10.0.0.1", "203.0.113.1", "192.0.2.7"), "192.0.2.7"
        )

    def test_a_stranger_is_not_believed(self):
        for peer, forwarded in (
            ("203.0.113.1", "192.0.2.7"),
            ("10.0.0.1", "192.0.2.7, 203.0.113.1"),
            ("10.0.0.1", "192.0.2.7, nonsense"),
            ("10.0.0.1", "10.0.0.5"),
        ):
            self.assertRaises(AccessDeniedError, self.address, peer, forwarded)

    def test_a_port_brackets_and_quotes_are_understood(self):
        for forwarded, address in (
            ("192.0.2.7:5555", "192.0.2.7"),
            ('"192.0.2.7:5555"', "192.0.2.7"),
            ('203.0.113.1:80, "192.0.2.7" , [fd00::1]:9', "192.0.2.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:5555", "2001:db8::7"),
            ('"[2001:db8::7]:5555"', "2001:db8::7"),
        ):
            self.behind = self.gate(
                api_key=SecretStr(KEY),
                trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
                allowed_ips=tuple(map(ip_network, ("192.0.2.0/24", "2001:db8::/32"))),
            )
            self.assertEqual(self.address("10.0.0.1", forwarded), address)
        self.assertEqual([], self.events)

    def test_what_is_not_understood_is_named_once(self):
        held = Repeats(lambda event: None)
        held.start(self.clock)
        self.addCleanup(held.stop)
        for hop in (
            "unknown",
            "_hidden",
            "192.0.2.7:http",
            "[192.0.2.7",
            '"',
            "x" * 9999,
        ):
            self.assertRaises(AccessDeniedError, self.address, "10.0.0.1", hop)
        lines = [
            formatEvent(event)
            for event in self.events
            if "refused" not in event["log_format"] and not held.holds_back(event)
        ]
        self.assertEqual(1, len(lines), lines)
        self.assertIn("proxy 10.0.0.1 names 'unknown', which is not an IP", lines[0])

    def test_a_long_header_makes_no_long_line(self):
        self.assertRaises(AccessDeniedError, self.address, "10.0.0.1", "x\x1b" * 9999)
        (line,) = filter(re.compile("X-Forwarded").match, map(formatEvent, self.events))
        self.assertLess(len(line), 500)
        self.assertNotIn("\x1b", line)

    def guarded(self):
        bans = BanTable(MemoryMappingStore(), BanSettings(2, 60, 600, ()), lambda: NOW)
        refusals = RefusalLog(self.clock)
        self.addCleanup(refusals.close)
        settings = ApiSettings(
            api_key=SecretStr(KEY), trusted_proxies=(ip_network("10.0.0.0/8"),)
        )
        return Gate(settings, refusals, self.clock, bans), bans

    def test_the_caller_is_banned_and_never_the_proxy(self):
        gate, bans = self.guarded()
        for forwarded in ("192.0.2.7:5555", "unknown", "10.0.0.2", None):
            for _ in range(3):
                request = self.request(peer="10.0.0.1", x_api_key="wrong")
                if forwarded is not None:
                    request.requestHeaders.setRawHeaders("x-forwarded-for", [forwarded])
                self.assertRaises(CallerError, gate.admit, request)
        self.assertFalse(bans.admits("192.0.2.7"))
        self.assertTrue(bans.admits("10.0.0.1"))
        self.assertTrue(bans.admits("10.0.0.2"))

    def test_without_trusted_proxies_the_header_is_nothing(self):
        gate = self.gate()
        request = self.request(x_forwarded_for="192.0.2.7")
        self.assertEqual(gate.admit(request).address, "127.0.0.1")


class MetricsTests(GateTestCase):
    """Who may read `/metrics` without a credential."""

    def admitted(self, gate, **more):
        try:
            caller = gate.admit(self.request(b"/metrics", **more))
        except CallerError as fault:
            return type(fault)
        return caller.role

    def test_callers_on_this_machine(self):
        gate = self.gate(api_key=SecretStr(KEY), open_metrics="local")
        self.assertEqual("reader", self.admitted(gate))
        self.assertEqual("reader", self.admitted(gate, peer="::1", host=b"[::1]:8080"))
        self.assertEqual("admin", self.admitted(gate, x_api_key=KEY))
        for more in (
            {"peer": "198.51.100.1"},
            {"host": b"evil.example"},
            {"host": None},
            {"x_forwarded_for": "198.51.100.1"},
            {"forwarded": "for=198.51.100.1"},
            {"via": "1.1 proxy"},
        ):
            self.assertEqual(UnauthorizedError, self.admitted(gate, **more), more)
        self.assertEqual(BadApiKeyError, self.admitted(gate, x_api_key="wrong"))

    def test_nobody_or_everybody(self):
        closed = self.gate(api_key=SecretStr(KEY))
        self.assertEqual(UnauthorizedError, self.admitted(closed))
        walled = (ip_network("198.51.100.0/24"),)
        opened = self.gate(
            api_key=SecretStr(KEY), open_metrics="all", allowed_ips=walled
        )
        self.assertEqual("reader", self.admitted(opened, peer="198.51.100.1"))
        self.assertEqual(AccessDeniedError, self.admitted(opened, peer="192.0.2.9"))

    def test_nothing_else_is_open(self):
        gate = self.gate(api_key=SecretStr(KEY), open_metrics="all")
        for path in (b"/api/agents", b"/metrics/", b"/metrics/x", b"//metrics"):
            self.refused(UnauthorizedError, gate, self.request(path))
        asked = self.request(b"/metrics")
        asked.method = b"POST"
        self.refused(AccessDeniedError, gate, asked)


class AddressTests(GateTestCase):
    """`allowed_ips` is configured."""

    def setUp(self):
        super().setUp()
        networks = ("192.168.1.0/24", "10.0.0.0/8", "2001:db8::/32")
        self.walled = self.gate(
            allowed_ips=tuple(map(ip_network, networks)), api_key=SecretStr(KEY)
        )

    def test_allowed_peers_still_need_the_key(self):
        for peer in ("192.168.1.7", "10.9.8.7", "2001:db8::7", "::ffff:10.0.0.1"):
            self.walled.admit(self.request(peer=peer, x_api_key=KEY))
            self.refused(UnauthorizedError, self.walled, self.request(peer=peer))

    def test_other_peers_are_denied_with_the_right_key(self):
        for peer in (
            "192.168.2.7",
            "127.0.0.1",
            "::1",
            "::ffff:11.0.0.1",
            "fe80::1%lo",
        ):
            request = self.request(peer=peer, x_api_key=KEY)
            fault = self.refused(AccessDeniedError, self.walled, request)
            self.assertEqual((str(fault), fault.http_code), ("Access denied", 403))

    def test_a_forwarding_header_changes_nothing(self):
        request = self.request(
            peer="8.8.8.8", x_api_key=KEY, x_forwarded_for="10.0.0.1"
        )
        self.refused(AccessDeniedError, self.walled, request)

    def test_a_peer_without_address_is_denied(self):
        request = self.request(x_api_key=KEY)
        request.client = UNIXAddress("/run/x")
        self.refused(AccessDeniedError, self.walled, request)


class HostTests(GateTestCase):
    """No API key: a web page must not reach the API under a name of its own."""

    def test_local_names_and_our_address_are_served(self):
        gate = self.gate()
        for host in (
            b"localhost",
            b"LocalHost:8080",
            b"127.0.0.1:8080",
            b"[::1]:8080",
            b"192.0.2.1:8080",
        ):
            gate.admit(self.request(host=host))

    def test_other_names_are_denied(self):
        gate = self.gate()
        for host in (
            b"evil.example",
            b"localhost.evil.example",
            b"127.0.0.1.evil.example",
            b"192.0.2.2",
            b"[::2]",
            None,
        ):
            self.refused(AccessDeniedError, gate, self.request(host=host))

    def test_health_is_open_under_any_name(self):
        for host in (b"evil.example", None):
            self.gate().admit(self.request(b"/health", host=host))

    def test_malformed_hosts_are_refused_everywhere(self):
        for host in (b"", b"a b", b"local\xffhost", b"[::1", b"localhost:http", b"a/b"):
            for path in (b"/health", b"/api/agents"):
                request = self.request(path, host=host)
                self.refused(BadRequestError, self.gate(), request)

    def test_two_hosts_are_refused(self):
        request = self.request()
        request.requestHeaders.setRawHeaders(b"host", [b"localhost", b"localhost"])
        self.refused(BadRequestError, self.gate(), request)


class RefusalLogTests(GateTestCase):
    """The log cannot be flooded."""

    def setUp(self):
        super().setUp()
        self.happened = Events(self.clock, lambda: 0.0, "feed")
        self.refusals = RefusalLog(self.clock, emit=self.happened.emit)
        self.addCleanup(self.refusals.close)

    def lines(self):
        said = [event["log_format"].format(**event) for event in self.events]
        self.events.clear()
        return said

    def test_one_line_a_minute_for_an_address(self):
        for _ in range(100):
            self.refusals.note("192.0.2.7", "Invalid API key")
        self.assertEqual(len(self.lines()), 1)
        self.clock.advance(60)
        self.assertEqual(
            self.lines(), ["Unauthorized: 99 more requests from 192.0.2.7 refused"]
        )
        self.refusals.note("192.0.2.7", "Invalid API key")
        self.assertEqual(self.lines(), [])
        self.clock.advance(60)
        self.assertEqual(len(self.lines()), 1)

    def test_events_tell_what_the_lines_say(self):
        for _ in range(100):
            self.refusals.note("192.0.2.7", "Invalid API key")
        self.clock.advance(60)
        self.assertEqual(
            [(one.topic, one.action, one.fields) for one in self.happened.since(0)],
            [
                (
                    "refusal",
                    "refused",
                    {
                        "what": "request",
                        "address": "192.0.2.7",
                        "reason": reason,
                        "count": count,
                    },
                )
                for reason, count in (("Invalid API key", 1), (None, 99))
            ],
        )

    def test_a_quiet_address_is_forgotten(self):
        self.refusals.note("192.0.2.7", "x")
        self.clock.advance(60)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.refusals.note("192.0.2.7", "x")
        self.assertEqual(len(self.lines()), 2)

    def test_addresses_have_lines_of_their_own(self):
        self.refusals.note("192.0.2.7", "x")
        self.refusals.note("192.0.2.8", "x")
        self.assertEqual(len(self.lines()), 2)

    def test_too_many_addresses_are_counted_together(self):
        for number in range(3000):
            self.refusals.note(f"address {number}", "x")
        self.assertEqual(len(self.lines()), 1024)
        self.clock.advance(60)
        self.assertEqual(
            self.lines(),
            ["Unauthorized: 1976 more requests from other addresses refused"],
        )

    def test_closing_says_the_rest_and_leaves_no_timer(self):
        for _ in range(3):
            self.refusals.note("192.0.2.7", "x")
        self.refusals.close()
        self.refusals.close()
        self.assertEqual(len(self.lines()), 2)
        self.refusals.note("192.0.2.7", "x")
        self.assertEqual(self.clock.getDelayedCalls(), [])


class GatedRoutesTests(ApiTestCase):
    """The gate stands before every path."""

    settings = ApiSettings(api_key=SecretStr(KEY), language="zh")

    def test_unknown_paths_and_methods_are_not_told_to_strangers(self):
        for method, path in (
            ("GET", "/nope"),
            ("OPTIONS", "/api/mapping/list"),
            ("GET", "/api/openapi.json"),
            ("POST", "/api/mapping/create"),
        ):
            answer = self.call(method, path)
            self.assertRefused(answer, 401, "Unauthorized")
            self.assertTrue(answer.headers.hasHeader("www-authenticate"))

    def test_a_wrong_key_in_both_languages(self):
        answer = self.get("/api/agents", x_api_key="x")
        self.assertRefused(answer, 401, "无效的 API 密钥")
        answer = self.get("/api/agents", x_api_key="x", accept_language="en")
        self.assertRefused(answer, 401, "Invalid API key")

    def test_the_right_key_opens(self):
        self.assertEqual(self.get("/api/agents", x_api_key=KEY.encode()).code, 200)
        self.assertEqual(self.get("/api/agents", secret=KEY.encode()).code, 200)
        self.assertEqual(self.get("/health").code, 200)
