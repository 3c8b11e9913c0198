"""A gateway's API over a dictionary: the same bodies, answers and refusals."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import ValidationError

from gateway.api.answers import AgentList, AgentRow, Health, MappingList, MappingRow
from gateway.api.bodies import CreateBody, ReloadBody, RemoveBody, UpdateBody
from gateway.errors import (
    AgentMappingError,
    BadApiKeyError,
    BadRequestError,
    BadTargetError,
    CallerError,
    MappingMissingError,
    NoRouteError,
    PortMappedError,
    PortPrivilegedError,
    UnauthorizedError,
)
from gateway.policy.mapping import UNSET, resolve_target_port, wants_tunnel
from gateway.policy.visitors import RULE_NAMES

OFFSET = 10000
DATE = "2026-01-02 03:04:05"


def row(port, **fields: Any) -> MappingRow:
    """Return a row with everything that `fields` does not say filled in."""
    given: dict[str, Any] = {
        "id": 1,
        "target_host": "",
        "target_port": 80,
        "use_tunnel": True,
        "protocol": "tcp",
        "listen": "",
        "agent": None,
        "name": "",
        "labels": {},
        "created_at": DATE,
        "created_at_unix": 1767323045,
        "updated_at_unix": 1767323045,
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
        **fields,
    }
    return MappingRow(
        port=port, source_port=port, target_ip=given["target_host"], **given
    )


def _rule_fields(rules):
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in rules.items()
    }


class FakeMappings:
    """The mapping service's rules, without ports.

    Attributes:
        rows: by protocol and port.
        refuses: tells which ports cannot be opened now.
        calls: what was asked for, in order.
    """

    def __init__(self, *rows: MappingRow) -> None:
        self.rows = {(row.protocol, row.port): row for row in rows}
        self.refuses: Callable[[CreateBody], bool] = lambda body: False
        self.calls: list[tuple[str, int]] = []

    def list(self) -> list[MappingRow]:
        return sorted(self.rows.values(), key=lambda row: row.port)

    def get(self, port: int, protocol: str = "tcp") -> MappingRow:
        if (protocol, port) not in self.rows:
            raise MappingMissingError(port=port)
        return self.rows[protocol, port]

    def create(self, body: CreateBody) -> MappingRow:
        wish = body.wish()
        port = wish.port or 10000 + len(self.rows)
        self.calls.append(("create", port))
        use_tunnel = wants_tunnel(wish, tunnel_enabled=True)
        if not use_tunnel and not wish.target_host:
            raise BadTargetError(detail="a direct mapping needs a target host")
        if (wish.protocol, port) in self.rows:
            raise PortMappedError(port=port)
        if self.refuses(body):
            raise PortPrivilegedError(port=port)
        made = row(
            port,
            id=len(self.rows) + 1,
            target_host=wish.target_host or "",
            target_port=resolve_target_port(wish, use_tunnel=use_tunnel, offset=OFFSET),
            use_tunnel=use_tunnel,
            listen=wish.listen,
            agent=wish.agent,
            name=wish.name,
            labels=dict(wish.labels),
            expected=wish.expected,
            **_rule_fields({name: getattr(wish.rules, name) for name in RULE_NAMES}),
        )
        self.rows[wish.protocol, port] = made
        return made

    def update(self, body: UpdateBody) -> MappingRow:
        self.calls.append(("update", body.port))
        old = self._stored(body.port)
        changes = body.changes()
        fields = {
            name: value
            for name in UpdateBody.model_fields
            if name not in ("port", "protocol", "expires_in", *RULE_NAMES)
            and (value := getattr(changes, name)) is not UNSET
        }
        fields |= _rule_fields(changes.rules)
        if "target_host" in fields:
            fields["target_ip"] = fields["target_host"]
        new = old.model_copy(update=fields)
        if not new.use_tunnel and not new.target_host:
            raise BadTargetError(detail="a direct mapping needs a target host")
        self.rows[old.protocol, old.port] = new
        return new

    def remove(self, body: RemoveBody) -> None:
        self.calls.append(("remove", body.port))
        gone = self._stored(body.port)
        del self.rows[gone.protocol, gone.port]

    def _stored(self, port: int) -> MappingRow:
        found = self.get(port)
        if found.source == "agent":
            raise AgentMappingError(port=port, agent=found.agent)
        return found


class FakeGateway:
    """A server in a thread.

    Attributes:
        url: its address.
        mappings: what it answers from.
        agents: what `/api/agents` lists.
        status: of `/health`.
        api_key: asked for unless None.
        canned: answers by path that come instead: status, content.
        headers: of the last request.
        drain: seconds that the last removal asked for.
    """

    def __init__(self) -> None:
        self.mappings = FakeMappings()
        self.agents: list[AgentRow] = []
        self.status = "ok"
        self.api_key: str | None = None
        self.canned: dict[str, tuple[int, bytes]] = {}
        self.headers: dict[str, str] = {}
        self.drain = 0.0
        outer = self

        class Calls(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.serve(self, None)

            def do_POST(self):
                length = int(self.headers["content-length"])
                outer.serve(self, self.rfile.read(length))

            def log_message(self, format, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Calls)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """Close the port and end the thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def serve(self, call: BaseHTTPRequestHandler, body: bytes | None) -> None:
        """Answer one request."""
        self.headers = {name.lower(): text for name, text in call.headers.items()}
        if call.path in self.canned:
            code, content = self.canned[call.path]
        else:
            code, content = self._answer(call.path, body)
        call.send_response(code)
        call.send_header("Content-Type", "application/json")
        call.send_header("Content-Length", str(len(content)))
        call.end_headers()
        call.wfile.write(content)

    def _answer(self, path: str, body: bytes | None) -> tuple[int, bytes]:
        try:
            answer = self._ask(path, body)
        except CallerError as fault:
            chinese = self.headers.get("accept-language") == "zh"
            message = fault.text("zh" if chinese else "en")
            refusal = {"success": False, "message": message}
            return fault.http_code, json.dumps(refusal).encode()
        code = 503 if path == "/health" and self.status == "unhealthy" else 200
        return code, json.dumps(answer).encode()

    def _ask(self, path: str, body: bytes | None) -> dict[str, Any]:
        if path == "/health":
            return self._health()
        if self.api_key is not None:
            if "x-api-key" not in self.headers:
                raise UnauthorizedError
            if self.headers["x-api-key"].encode("latin-1").decode() != self.api_key:
                raise BadApiKeyError
        data = self._change(path, body) if body is not None else self._look(path)
        return {"success": True, "message": "done", "data": data}

    def _health(self) -> dict[str, Any]:
        store = {"name": "store", "status": "healthy", "message": "", "duration": 0.1}
        answer = {
            "status": self.status,
            "tunnel_enabled": True,
            "tunnel_connected": bool(self.agents),
            "checks": [store],
            "timestamp": "2026-01-02T03:04:05Z",
        }
        return Health.model_validate(answer).model_dump(mode="json")

    def _look(self, path: str) -> dict[str, Any]:
        if path == "/api/mapping/list":
            rows = self.mappings.list()
            found = MappingList(mappings=rows, count=len(rows), use_tunnel=True)
            return found.model_dump(mode="json")
        if path == "/api/agents":
            agents = AgentList(
                agents=self.agents, count=len(self.agents), open_to_all=False
            )
            return agents.model_dump(mode="json")
        if path.startswith("/api/mapping/"):
            return self.mappings.get(int(path.rpartition("/")[2])).model_dump()
        raise NoRouteError(path=path)

    def _change(self, path: str, body: bytes) -> dict[str, Any]:
        if self.headers.get("content-type") != "application/json":
            raise BadRequestError(detail="not declared as JSON")
        try:
            return self._changed(path, json.loads(body))
        except ValidationError as fault:
            first = fault.errors()[0]
            detail = f"{first['loc']}: {first['msg']}"
            raise BadRequestError(detail=detail) from None

    def _changed(self, path: str, body: object) -> dict[str, Any]:
        if path == "/api/mapping/create":
            made = self.mappings.create(CreateBody.model_validate(body))
            return self._changed_row(made)
        if path == "/api/mapping/update":
            return self._changed_row(
                self.mappings.update(UpdateBody.model_validate(body))
            )
        if path == "/api/mapping/reload":
            reloaded = ReloadBody.model_validate(body)
            return self._changed_row(self.mappings.rows["tcp", reloaded.port])
        if path == "/api/mapping/remove":
            removal = RemoveBody.model_validate(body)
            self.drain = removal.drain
            self.mappings.remove(removal)
            return {"port": removal.port}
        raise NoRouteError(path=path)

    def _changed_row(self, row: MappingRow) -> dict[str, Any]:
        names = [agent.name for agent in self.agents]
        alone = row.agent is None and ("default" in names or len(names) == 1)
        return {**row.model_dump(), "tunnel_connected": alone or row.agent in names}
