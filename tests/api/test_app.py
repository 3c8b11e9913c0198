"""Every route: what it answers, in both languages, and how it refuses."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, globalLogPublisher

from gateway import errors
from gateway.api.settings import ApiSettings
from gateway.ops.health import CheckResult, HealthChecks, HealthStatus
from gateway.server.agents import AgentView
from gateway.server.mappings import MappingView
from gateway.texts import Language
from tests.api.calls import ApiTestCase
from tests.api.fakes import NOON

CREATE, REMOVE, UPDATE, LIST = (
    f"/api/mapping/{word}" for word in ("create", "remove", "update", "list")
)
LANGUAGES: tuple[Language, ...] = ("en", "zh")
ROW = {
    "id": 1,
    "source_port": 10001,
    "target_ip": "192.168.1.100",
    "target_port": 10001,
    "created_at": "2024-01-01 12:00:00",
    "port": 10001,
    "target_host": "192.168.1.100",
    "use_tunnel": False,
    "protocol": "tcp",
    "listen": "",
    "agent": None,
    "name": "",
    "labels": {},
    "created_at_unix": NOON,
    "updated_at_unix": NOON,
    "state": "listening",
    "error": None,
    "unreachable_cause": None,
    "unreachable_since_unix": None,
    "connections": 0,
    "connections_total": 0,
    "rejected": {},
    "failed": {},
    "access_rule": "disabled",
    "access_ips": [],
    "max_connections": 0,
    "max_connections_per_ip": 0,
    "bandwidth_limit": 0,
    "connection_bandwidth_limit": 0,
    "idle_timeout": 0.0,
    "proxy_protocol": "off",
    "trusted_proxies": [],
    "expires_at": None,
    "expires_at_unix": None,
    "enabled": True,
    "expected": False,
    "source": "stored",
}
AGENT = AgentView(
    name="office",
    instance="5f2c",
    negotiated=True,
    links=2,
    streams=7,
    rtt_seconds=0.012,
    connected_at=NOON + 0.5,
    address="198.51.100.7",
    software="gotunnel 0.1",
)


class CreateTests(ApiTestCase):
    """`POST /api/mapping/create`."""

    def test_a_direct_mapping_is_answered_with_its_row(self):
        answer = self.post(CREATE, {"port": 10001, "target_ip": "192.168.1.100"})
        self.assertEqual(
            (answer.code, answer.json),
            (
                200,
                {
                    "success": True,
                    "message": "mapping created",
                    "data": {**ROW, "tunnel_connected": False},
                },
            ),
        )

    def test_chinese_is_as_the_readme_has_it(self):
        answer = self.post(
            CREATE,
            {"port": 10001, "target_ip": "192.168.1.100"},
            accept_language="zh-CN",
        )
        self.assertEqual(answer.json["message"], "端口映射创建成功")
        expected = {"port": 10001, "target_ip": "192.168.1.100", "use_tunnel": False}
        self.assertEqual(answer.json["data"], {**answer.json["data"], **expected})

    def test_a_port_alone_is_a_tunnel_mapping(self):
        self.links.agents.append(AGENT)
        data = self.post(CREATE, {"port": 10022}).json["data"]
        self.assertEqual(
            (data["port"], data["use_tunnel"], data["target_ip"], data["target_port"]),
            (10022, True, "", 22),
        )
        self.assertIs(data["tunnel_connected"], True)

    def test_another_agent_than_the_one_it_goes_through_is_none(self):
        self.links.agents.append(AGENT)
        body = {"port": 10022, "agent": "home"}
        self.assertIs(self.post(CREATE, body).json["data"]["tunnel_connected"], False)
        for agent, there in (("office", True), ("home", False), (None, True)):
            data = self.post(UPDATE, {"port": 10022, "agent": agent}).json["data"]
            self.assertIs(data["tunnel_connected"], there)
        self.links.agents.append(AGENT._replace(name="home"))
        data = self.post(UPDATE, {"port": 10022, "name": "x"}).json["data"]
        self.assertIs(data["tunnel_connected"], False)

    def test_a_tunnel_mapping_needs_no_agent_yet(self):
        answer = self.post(CREATE, {"port": 10022})
        self.assertEqual(answer.code, 200)
        self.assertIs(answer.json["data"]["tunnel_connected"], False)

    def test_the_later_spelling_is_echoed(self):
        body = {
            "source_port": 30009,
            "target_host": "127.0.0.1",
            "target_port": 22,
            "use_tunnel": True,
        }
        data = self.post(CREATE, body).json["data"]
        self.assertEqual(data, {**data, **body})

    def test_every_key_reaches_the_mapping(self):
        body = {
            "port": 10005,
            "target_ip": "db.local",
            "target_port": 5432,
            "use_tunnel": True,
            "protocol": "tcp",
            "listen": "::1",
            "agent": "office",
            "name": "the database",
            "labels": {"team": "北"},
        }
        data = self.post(CREATE, body).json["data"]
        self.assertEqual(data, {**data, **body})

    def test_port_zero_picks_one(self):
        self.assertEqual(self.post(CREATE, {"port": 0}).json["data"]["port"], 10000)

    def test_refusals_of_the_service_keep_their_code(self):
        cases = [
            (errors.PortRangeError(port=5, first=1, last=2), 400),
            (errors.PortBlacklistedError(port=22), 403),
            (errors.PortMappedError(port=5), 409),
            (errors.PortInUseError(port=5, detail="busy"), 409),
            (errors.PortPrivilegedError(port=5), 403),
            (errors.ListenError(address="*", port=5, detail="no"), 500),
            (errors.NoFreePortError(first=1, last=2), 409),
            (errors.BadTargetError(detail="?"), 400),
            (errors.TargetDeniedError(host="h", port=5, detail="no"), 403),
            (errors.TunnelDisabledError(), 503),
            (errors.TooManyMappingsError(limit=5), 409),
            (errors.StoreFailedError(detail="disk full"), 500),
        ]
        for fault, code in cases:
            self.mappings.fault = fault
            for language in LANGUAGES:
                answer = self.post(CREATE, {"port": 10001}, accept_language=language)
                self.assertRefused(answer, code, fault.text(language))

    def test_an_ipv6_target_that_is_denied_stands_in_brackets(self):
        self.mappings.fault = errors.TargetDeniedError(host="::1", port=5, detail="no")
        for language in LANGUAGES:
            answer = self.post(CREATE, {"port": 10001}, accept_language=language)
            self.assertSays(answer, 403, "[::1]:5")

    def test_documented_chinese_refusals(self):
        self.post(CREATE, {"port": 10001})
        cases = [
            ("POST", CREATE, {"port": 10001}, 409, "端口已被占用, 已经存在该映射"),
            ("POST", REMOVE, {"port": 10002}, 404, "端口映射不存在"),
            ("POST", CREATE, {"port": 9}, 400, "端口必须在 10000-40000 范围内"),
            ("GET", CREATE, None, 405, "只支持 POST 方法"),
            ("POST", LIST, {}, 405, "只支持 GET 方法"),
        ]
        for method, path, body, code, message in cases:
            answer = self.call(method, path, body, accept_language="zh")
            self.assertRefused(answer, code, message)
        answer = self.post(CREATE, "{", accept_language="zh")
        self.assertSays(answer, 400, "请求格式错误: ")


class TunnelOffTests(ApiTestCase):
    """The tunnel service is switched off."""

    settings = ApiSettings(tunnel_enabled=False, language="zh")

    def test_a_tunnel_mapping_is_refused(self):
        answer = self.post(CREATE, {"port": 10022, "use_tunnel": True})
        self.assertRefused(answer, 503, "隧道服务未启用")

    def test_the_list_and_health_say_so(self):
        self.assertIs(self.get(LIST).json["data"]["use_tunnel"], False)
        self.assertIs(self.get("/health").json["tunnel_enabled"], False)

    def test_the_configured_language_is_the_default(self):
        self.assertEqual(self.get(LIST).json["message"], "获取映射列表成功")
        english = self.get(LIST, accept_language="en, zh;q=0.5")
        self.assertEqual(english.json["message"], "mappings listed")


class OtherRoutesTests(ApiTestCase):
    """Remove, update, list, get, agents."""

    def setUp(self):
        super().setUp()
        self.post(CREATE, {"port": 10001, "target_ip": "192.168.1.100"})

    def test_remove(self):
        answer = self.post(REMOVE, {"port": 10001}, accept_language="zh")
        self.assertEqual(
            (answer.code, answer.json),
            (
                200,
                {
                    "success": True,
                    "message": "端口映射删除成功",
                    "data": {"port": 10001},
                },
            ),
        )
        self.assertEqual(self.mappings.drains, [(10001, 0.0)])
        self.assertEqual(self.mappings.views(), [])

    def test_remove_takes_the_longer_spelling_and_a_drain(self):
        for drain, seconds in ((2.5, 2.5), (7, 7.0), (True, 30.0), (False, 0.0)):
            self.post(CREATE, {"port": 10009})
            self.post(REMOVE, {"source_port": 10009, "drain": drain})
            self.assertEqual(self.mappings.drains[-1], (10009, seconds))

    def test_nobody_keeps_themselves_out(self):
        for network in ("127.0.0.1", "0.0.0.0/0"):
            answer = self.post("/api/ban/add", {"network": network})
            self.assertSays(answer, 400, network, "you are there yourself")
        self.assertEqual(200, self.post("/api/ban/add", {"network": "::/0"}).code)

    def test_a_ban_of_what_is_no_network_is_the_callers_fault(self):
        answer = self.post("/api/ban/add", {"network": "00"})
        self.assertSays(answer, 400, "'00' is not a network")
        self.assertEqual(200, self.get("/api/ban/list").code)

    def test_numbers_of_the_query_are_within_limits(self):
        for number in ("0", "-1", "x", "%D9%A3", "0" * 29 + "1" + "9" * 30, "9" * 5000):
            answer = self.get(f"/api/audit?before={number}")
            self.assertSays(answer, 400, "before", "is not a number from 1 to")

    def test_a_drain_without_end_is_refused(self):
        for drain in (-1, 3601, "5", None):
            answer = self.post(REMOVE, {"port": 10001, "drain": drain})
            self.assertSays(answer, 400, "drain")
        self.assertEqual(len(self.mappings.views()), 1)

    def test_update_changes_what_was_sent(self):
        answer = self.post(UPDATE, {"port": 10001, "name": "cam", "labels": {"a": "b"}})
        row = {**ROW, "name": "cam", "labels": {"a": "b"}}
        row["updated_at_unix"] = NOON + 60
        row["tunnel_connected"] = False
        self.assertEqual(
            (answer.code, answer.json),
            (200, {"success": True, "message": "mapping updated", "data": row}),
        )

    def test_update_with_null_returns_to_the_agent_itself(self):
        body = {"port": 10001, "target_ip": None, "use_tunnel": True, "agent": None}
        data = self.post(UPDATE, body).json["data"]
        self.assertEqual((data["target_host"], data["use_tunnel"]), ("", True))

    def test_update_cannot_move_the_listener(self):
        answer = self.post(UPDATE, {"port": 10001, "listen": "::"})
        self.assertSays(answer, 400, "listen cannot be changed")

    def test_update_of_a_missing_mapping(self):
        answer = self.post(UPDATE, {"port": 10002, "name": "x"})
        self.assertRefused(answer, 404, "no mapping on port 10002")

    def test_list(self):
        answer = self.get(LIST, accept_language="zh")
        self.assertEqual(
            (answer.code, answer.json),
            (
                200,
                {
                    "success": True,
                    "message": "获取映射列表成功",
                    "data": {"mappings": [ROW], "count": 1, "use_tunnel": True},
                },
            ),
        )

    def test_an_empty_list(self):
        self.post(REMOVE, {"port": 10001})
        self.assertEqual(
            self.get(LIST).json["data"],
            {"mappings": [], "count": 0, "use_tunnel": True},
        )

    def test_get_one(self):
        self.assertEqual(
            self.get("/api/mapping/10001").json,
            {"success": True, "message": "mapping found", "data": ROW},
        )

    def test_get_what_is_not_there(self):
        self.assertSays(self.get("/api/mapping/10002"), 404, "10002")
        for port in ("0", "70000", "99999"):
            self.assertSays(self.get(f"/api/mapping/{port}"), 400, port, "1 to 65535")
        for port in ("-1", "1.5", "700000", "abc", "9" * 5000, "%D9%A1"):
            self.assertSays(self.get(f"/api/mapping/{port}"), 404, "no such route")

    def test_a_mapping_in_trouble_says_why(self):
        mapping = self.mappings.get(10001).mapping
        self.mappings.put(MappingView(mapping, "error", "address in use", 3, "agent"))
        data = self.get("/api/mapping/10001").json["data"]
        said = [data[key] for key in ("state", "error", "connections", "source")]
        self.assertEqual(said, ["error", "address in use", 3, "agent"])

    def test_agents(self):
        self.links.agents += [AGENT._replace(name="home", rtt_seconds=None), AGENT]
        answer = self.get("/api/agents")
        self.assertEqual(answer.json["message"], "agents listed")
        rows = answer.json["data"]["agents"]
        self.assertEqual([row["name"] for row in rows], ["home", "office"])
        self.assertEqual(answer.json["data"]["count"], 2)
        self.assertEqual(
            rows[1],
            {
                **AGENT._asdict(),
                "connected_at": "2024-01-01 12:00:00",
                "links_total": 0,
                "connections_total": 0,
                "bytes_sent": 0,
                "bytes_received": 0,
                "connected_at_unix": NOON + 0.5,
            },
        )
        self.assertIsNone(rows[0]["rtt_seconds"])


class HealthRouteTests(ApiTestCase):
    """`/health`, `/livez` and `/readyz`."""

    def setUp(self):
        super().setUp()
        self.health = HealthChecks(self.clock, lambda: NOON)
        self.draining = False
        self.start(health=self.health, draining=lambda: self.draining)

    def find(self, status, message=""):
        self.health.register("store", lambda: CheckResult(status, message))

    def test_health_has_its_three_keys_and_two_more(self):
        self.find(HealthStatus.HEALTHY)
        self.links.agents.append(AGENT)
        answer = self.get("/health")
        self.assertEqual(
            (answer.code, answer.json),
            (
                200,
                {
                    "status": "ok",
                    "tunnel_enabled": True,
                    "tunnel_connected": True,
                    "checks": [
                        {
                            "name": "store",
                            "status": "healthy",
                            "message": "",
                            "duration": 0.0,
                        }
                    ],
                    "timestamp": "2024-01-01T12:00:00Z",
                },
            ),
        )

    def test_health_without_an_agent_is_still_ok(self):
        answer = self.get("/health")
        self.assertEqual((answer.code, answer.json["status"]), (200, "ok"))
        self.assertIs(answer.json["tunnel_connected"], False)

    def test_degraded_is_no_failure(self):
        self.find(HealthStatus.DEGRADED, "slow")
        answer = self.get("/health")
        self.assertEqual((answer.code, answer.json["status"]), (200, "degraded"))
        self.assertEqual(self.get("/readyz").code, 200)

    def test_unhealthy_is_503(self):
        self.find(HealthStatus.UNHEALTHY, "gone")
        for path in ("/health", "/readyz"):
            answer = self.get(path)
            self.assertEqual((answer.code, answer.json["status"]), (503, "unhealthy"))
            self.assertEqual(answer.json["checks"][0]["message"], "gone")
        self.assertEqual(self.get("/livez").code, 200)

    def test_not_ready_while_draining(self):
        self.assertEqual(self.get("/readyz").json["status"], "ready")
        self.draining = True
        answer = self.get("/readyz")
        self.assertEqual((answer.code, answer.json["status"]), (503, "draining"))
        self.assertEqual(self.get("/health").code, 200)

    def test_alive(self):
        self.assertEqual(self.get("/livez").json, {"status": "alive"})

    def test_a_check_that_hangs_costs_its_timeout(self):
        self.health.register("stuck", Deferred)
        response = self.begin("GET", "/health")
        self.client.flush()
        self.assertNoResult(response)
        self.clock.advance(5)
        answer = self.answer(response)
        self.assertEqual(answer.code, 503)
        self.assertEqual(answer.json["checks"][0]["message"], "health check timed out")


class HttpTests(ApiTestCase):
    """What holds for every route."""

    def test_head_is_get_without_a_body(self):
        for path in ("/health", "/livez", LIST, "/api/openapi.json"):
            answer = self.call("HEAD", path)
            self.assertEqual((answer.code, answer.json), (200, None), path)

    def test_wrong_methods_name_the_right_one(self):
        for method in ("GET", "PUT", "DELETE", "OPTIONS", "HEAD", "BREW"):
            answer = self.call(method, CREATE)
            self.assertEqual(answer.code, 405, method)
            self.assertEqual(answer.headers.getRawHeaders("allow"), ["POST"])
        for path in (LIST, "/api/agents", "/health", "/api/mapping/10001"):
            answer = self.call("OPTIONS", path)
            self.assertRefused(answer, 405, "only GET is supported here")
            self.assertEqual(answer.headers.getRawHeaders("allow"), ["GET, HEAD"])

    def test_no_answer_invites_other_origins(self):
        for method, path in (("OPTIONS", CREATE), ("GET", LIST), ("GET", "/health")):
            headers = self.call(method, path, origin="http://evil.example").headers
            names = [name.lower() for name, _ in headers.getAllRawHeaders()]
            allowing = [name for name in names if name.startswith(b"access-control")]
            self.assertEqual(allowing, [])

    def test_unknown_paths(self):
        for path in (
            "/nowhere",
            "/api",
            "/api/mapping",
            "/health/",
            "/API/AGENTS",
            "/%FF",
        ):
            self.assertSays(self.get(path), 404, "no such route", path)

    def test_every_answer_is_json_and_guarded(self):
        paths = [LIST, "/health", "/livez", "/nope", CREATE, "/api/openapi.json"]
        for path in paths:
            headers = self.get(path).headers
            for name, value in (
                ("content-type", "application/json"),
                ("cache-control", "no-store"),
                ("referrer-policy", "no-referrer"),
                ("x-content-type-options", "nosniff"),
            ):
                self.assertEqual(headers.getRawHeaders(name), [value], (path, name))
            policy = headers.getRawHeaders("content-security-policy")[0]
            self.assertIn("default-src 'none'", policy)
            self.assertFalse(headers.hasHeader("server"))

    def test_only_json_is_taken(self):
        body = json.dumps({"port": 10001})
        for kind in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "",
        ):
            self.assertSays(
                self.post(CREATE, body, content_type=kind), 415, "application/json"
            )
        self.assertEqual(self.mappings.views(), [])
        for port, kind in enumerate(
            ("application/json; charset=utf-8", "Application/JSON"), 10001
        ):
            answer = self.post(CREATE, {"port": port}, content_type=kind)
            self.assertEqual(answer.code, 200)

    def test_a_body_over_the_limit(self):
        body = b'{"port": 10001}'.ljust(65536)
        self.assertEqual(self.post(CREATE, body).code, 200)
        self.assertSays(self.post(CREATE, body + b" "), 413, "65536")

    def test_bugs_are_logged_and_not_told(self):
        self.mappings.fault = ZeroDivisionError("secret of the house")
        for answer in (self.post(CREATE, {"port": 10001}), self.get(LIST)):
            self.assertRefused(answer, 500, "internal error; the log has the details")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


class FailedChangeTests(ApiTestCase):
    """A change that failed through no fault of the caller."""

    def test_the_operator_reads_of_it(self):
        events: list[Any] = []
        note: Any = events.append
        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        self.mappings.fault = errors.StoreFailedError(detail="the disk is full")
        self.post(CREATE, {"port": 10001})
        self.mappings.fault = errors.PortMappedError(port=10001)
        self.post(CREATE, {"port": 10001})
        lines = [
            event["log_format"].format(**event)
            for event in events
            if event["log_level"] is LogLevel.error
        ]
        expected = "POST /api/mapping/create failed: the mapping store failed: "
        self.assertEqual(lines, [expected + "the disk is full"])


class SlowChangeTests(ApiTestCase):
    """A change that takes longer than its request may."""

    def test_a_slow_create_is_answered_in_time_and_completes(self):
        go_on = self.mappings.hold()
        response = self.begin("POST", CREATE, {"port": 10001})
        self.clock.advance(9.9)
        self.client.flush()
        self.assertNoResult(response)
        self.clock.advance(0.1)
        self.assertRefused(
            self.answer(response), 503, "the request took longer than 10 seconds"
        )
        go_on.callback(None)
        self.assertEqual([v.mapping.port for v in self.mappings.views()], [10001])
        self.assertEqual(self.clock.getDelayedCalls(), [])
