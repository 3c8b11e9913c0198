"""The routes of the HTTP API: parse, call, answer; nothing else."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar
from typing import Protocol as Seam
from urllib.parse import unquote_to_bytes

from klein import Klein
from pydantic import BaseModel
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from werkzeug.routing import IntegerConverter

from gateway.api.answers import (
    AgentKeyList,
    Alive,
    BanList,
    ChangedRow,
    LimitList,
    LimitRow,
    ReloadedRow,
    RemovedRow,
    agent_list,
    audit_list,
    ban_row,
    changed_row,
    health_row,
    key_row,
    mapping_list,
    mapping_row,
    new_key,
    readiness_row,
)
from gateway.api.audit import Act, AuditLog, mapping_facts
from gateway.api.auth import Gate
from gateway.api.bodies import (
    AgentKeyBody,
    AgentNameBody,
    BanBody,
    Body,
    CreateBody,
    EmptyBody,
    NetworkBody,
    RemoveBody,
    UpdateBody,
    shown,
)
from gateway.api.faults import caller_error, path_text, refuse
from gateway.api.language import choose_language
from gateway.api.openapi import document
from gateway.api.outlasting import outlast
from gateway.api.reading import read_body
from gateway.api.replies import JSON_TYPE, reply
from gateway.api.settings import ApiSettings
from gateway.api.tokens import Caller
from gateway.errors import (
    BadRequestError,
    BodyTooLargeError,
    ContentTypeError,
    MappingMissingError,
    NoRouteError,
    StoreError,
    StoreFailedError,
)
from gateway.ops.health import HealthChecks
from gateway.ops.refusals import RefusalLog
from gateway.policy.addresses import PORTS
from gateway.policy.bans import Ban
from gateway.policy.credentials import AgentCredential
from gateway.server.bans import BanTable
from gateway.server.credentials import Credentials
from gateway.server.links import Links
from gateway.server.mappings import Mappings, MappingView
from gateway.texts import Language, text

T = TypeVar("T")
_CALLER: Final = "gotunnel_caller"  # attribute of a request that was admitted
MOST_ENTRIES: Final = 1000  # of the audit log in one answer
AnyBody = TypeVar("AnyBody", bound=Body)


class Counted(Seam):
    """Something that is limited, and counted."""

    @property
    def limit(self) -> int:
        """0 = unlimited."""

    @property
    def active(self) -> int:
        """How many there are now."""

    @property
    def total(self) -> int:
        """How many there ever were."""

    @property
    def rejected(self) -> int:
        """For how many there was no room."""


class _PortConverter(IntegerConverter):
    regex = "[0-9]{1,5}"


class Api:
    """The management API over its collaborators."""

    _routes: Final = Klein()
    _routes.url_map.converters["port"] = _PortConverter
    _routes.url_map.merge_slashes = False

    def __init__(
        self,
        *,
        mappings: Mappings,
        links: Links,
        credentials: Credentials,
        bans: BanTable,
        audit: AuditLog,
        handshakes: Mapping[str, Counted],
        reload: Callable[[], list[str]],
        health: HealthChecks,
        settings: ApiSettings,
        clock: IReactorTime,
        refusals: RefusalLog,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._mappings = mappings
        self._links = links
        self._credentials = credentials
        self._bans = bans
        self._audit = audit
        self._handshakes = handshakes
        self._reload = reload
        self._health = health
        self.settings: Final = settings
        self._clock = clock
        self._draining = draining
        self._refusals = refusals
        self._gate = Gate(settings, refusals, clock, bans)

    def resource(self) -> IResource:
        """Return the root resource for a site."""
        return _GatedResource(self._gate.admit, self._routes.resource(), self.refuse)

    def close(self) -> None:
        """Release timers; may be called twice."""
        self._refusals.close()

    def refuse(self, request: IRequest, failure: Failure) -> bytes:
        """Answer a request that failed."""
        fault = caller_error(failure, request)
        return refuse(request, fault, self.language(request))

    def language(self, request: IRequest) -> Language:
        """Return the language to answer a request in."""
        header = request.getHeader(b"accept-language")
        wanted = None if header is None else header.decode("latin-1")
        return choose_language(wanted, self.settings.language)

    @_routes.handle_errors(Exception)
    def _failed(self, request: IRequest, failure: Failure) -> bytes:
        return self.refuse(request, failure)

    @_routes.route("/api/mapping/create", methods=["POST"])
    async def _create(self, request: IRequest) -> bytes:
        wish = self._body(request, CreateBody).wish()
        act = self._act(request, "mapping.create", str(wish.port))
        view = await self._change(act, self._mappings.create(wish), _mapping_after)
        return self._reply(request, "mapping_created", self._changed(view))

    @_routes.route("/api/mapping/remove", methods=["POST"])
    async def _remove(self, request: IRequest) -> bytes:
        body = self._body(request, RemoveBody)
        before = self._facts(body.port, body.protocol)
        act = self._act(request, "mapping.remove", str(body.port), before)
        removal = self._mappings.remove(body.port, body.protocol, body.drain)
        await self._change(act, removal, lambda _: (str(body.port), None))
        return self._reply(request, "mapping_removed", RemovedRow(port=body.port))

    @_routes.route("/api/mapping/update", methods=["POST"])
    async def _update(self, request: IRequest) -> bytes:
        body = self._body(request, UpdateBody)
        before = self._facts(body.port, body.protocol)
        act = self._act(request, "mapping.update", str(body.port), before)
        update = self._mappings.update(body.port, body.changes(), body.protocol)
        view = await self._change(act, update, _mapping_after)
        return self._reply(request, "mapping_updated", self._changed(view))

    def _facts(self, port: int, protocol: str) -> dict[str, object] | None:
        try:
            return mapping_facts(self._mappings.get(port, protocol).mapping)
        except MappingMissingError:
            return None  # it is told by what follows

    @_routes.route("/api/mapping/list", methods=["GET"])
    def _list(self, request: IRequest) -> bytes:
        rows = mapping_list(
            self._mappings.views(), tunnel_enabled=self.settings.tunnel_enabled
        )
        return self._reply(request, "mappings_listed", rows)

    @_routes.route("/api/mapping/<port:port>", methods=["GET"])
    def _get(self, request: IRequest, port: int) -> bytes:
        if port not in PORTS:
            raise BadRequestError(detail=f"port {port} is not from 1 to 65535")
        return self._reply(
            request, "mapping_found", mapping_row(self._mappings.get(port))
        )

    @_routes.route("/api/agents", methods=["GET"])
    def _agents(self, request: IRequest) -> bytes:
        rows = agent_list(self._links.views(), open_to_all=self._links.open_to_all)
        return self._reply(request, "agents_listed", rows)

    @_routes.route("/api/agent-key/create", methods=["POST"])
    async def _create_key(self, request: IRequest) -> bytes:
        body = self._body(request, AgentKeyBody)
        act = self._act(request, "agent_key.create", body.name)
        making = self._credentials.create(body.name, body.scope(), body.expires_in)
        made = await self._change(act, making, lambda new: _key_after(new.credential))
        return self._reply(request, "agent_key_created", new_key(*made))

    @_routes.route("/api/agent-key/rotate", methods=["POST"])
    async def _rotate_key(self, request: IRequest) -> bytes:
        name = self._body(request, AgentNameBody).name
        act = self._act(request, "agent_key.rotate", name, self._key_facts(name))
        making = self._credentials.rotate(name)
        made = await self._change(act, making, lambda new: _key_after(new.credential))
        return self._reply(request, "agent_key_created", new_key(*made))

    @_routes.route("/api/agent-key/retire", methods=["POST"])
    async def _retire_key(self, request: IRequest) -> bytes:
        name = self._body(request, AgentNameBody).name
        act = self._act(request, "agent_key.retire", name, self._key_facts(name))
        kept = await self._change(act, self._credentials.retire(name), _key_after)
        return self._reply(request, "agent_key_retired", key_row(kept))

    @_routes.route("/api/agent-key/revoke", methods=["POST"])
    async def _revoke_key(self, request: IRequest) -> bytes:
        name = self._body(request, AgentNameBody).name
        act = self._act(request, "agent_key.revoke", name, self._key_facts(name))
        revoking = self._credentials.revoke(name)
        gone = await self._change(act, revoking, lambda _: (name, None))
        return self._reply(request, "agent_key_revoked", key_row(gone))

    @_routes.route("/api/agent-key/list", methods=["GET"])
    def _list_keys(self, request: IRequest) -> bytes:
        rows = [
            key_row(credential, source, expired=expired)
            for credential, source, expired in self._credentials.views()
        ]
        found = AgentKeyList(keys=rows, count=len(rows))
        return self._reply(request, "agent_keys_listed", found)

    def _key_facts(self, name: str) -> object:
        rows = [one for one, _, _ in self._credentials.views() if one.name == name]
        return _key_after(rows[0])[1] if rows else None

    @_routes.route("/api/ban/add", methods=["POST"])
    async def _add_ban(self, request: IRequest) -> bytes:
        body = self._body(request, BanBody)
        act = self._act(request, "ban.add", body.network)
        adding = self._bans.add(body.network, body.duration, body.reason)
        ban = await self._change(act, adding, _ban_after)
        self._mappings.enforce_bans()
        return self._reply(request, "ban_added", ban_row(ban))

    @_routes.route("/api/ban/remove", methods=["POST"])
    async def _remove_ban(self, request: IRequest) -> bytes:
        network = self._body(request, NetworkBody).network
        act = self._act(request, "ban.remove", network)
        removing = self._bans.remove(network)
        ban = await self._change(act, removing, lambda gone: (gone.network, None))
        return self._reply(request, "ban_removed", ban_row(ban))

    @_routes.route("/api/ban/list", methods=["GET"])
    def _list_bans(self, request: IRequest) -> bytes:
        rows = [ban_row(ban) for ban in self._bans.views()]
        return self._reply(request, "bans_listed", BanList(bans=rows, count=len(rows)))

    @_routes.route("/api/audit", methods=["GET"])
    async def _list_audit(self, request: IRequest) -> bytes:
        before = _number(request, b"before", None, 1 << 62)
        count = _number(request, b"count", 100, MOST_ENTRIES) or 100
        try:
            found = await self._audit.entries(before, count)
        except StoreError as fault:
            raise StoreFailedError(detail=str(fault)) from fault
        return self._reply(request, "audit_listed", audit_list(found))

    @_routes.route("/api/reload", methods=["POST"])
    async def _read_anew(self, request: IRequest) -> bytes:
        self._body(request, EmptyBody)
        act = self._act(request, "reload", "certificates")
        done = await self._change(act, self._reloaded(), _reload_after)
        return self._reply(request, "reloaded", ReloadedRow(read_anew=done))

    async def _reloaded(self) -> list[str]:
        return self._reload()

    @_routes.route("/api/limits", methods=["GET"])
    def _list_limits(self, request: IRequest) -> bytes:
        crowd, slots = self._mappings.crowd, self._links.slots
        memory = crowd.memory
        rows = [
            _limit_row("limits.connections", crowd.slots),
            _limit_row("limits.tunnels", slots),
            *(
                _limit_row(f"limits.handshakes of {port}", counted)
                for port, counted in self._handshakes.items()
            ),
            LimitRow(
                name="limits.memory",
                limit=memory.limit,
                active=memory.used,
                total=0,
                rejected=memory.refused,
            ),
        ]
        found = LimitList(limits=rows, banned=self._bans.rejected)
        return self._reply(request, "limits_listed", found)

    @_routes.route("/api/openapi.json", methods=["GET"])
    def _openapi(self, request: IRequest) -> bytes:
        return reply(request, document())

    @_routes.route("/health", methods=["GET"])
    async def _health_answer(self, request: IRequest) -> bytes:
        row = health_row(
            await self._health.run(),
            tunnel_enabled=self.settings.tunnel_enabled,
            tunnel_connected=self._links.connected,
        )
        return reply(request, row, 503 if row.status == "unhealthy" else 200)

    @_routes.route("/livez", methods=["GET"])
    def _livez(self, request: IRequest) -> bytes:
        return reply(request, Alive(status="alive"))

    @_routes.route("/readyz", methods=["GET"])
    async def _readyz(self, request: IRequest) -> bytes:
        row = readiness_row(await self._health.run(), draining=self._draining())
        return reply(request, row, 200 if row.status == "ready" else 503)

    def _body(self, request: IRequest, model: type[AnyBody]) -> AnyBody:
        declared = request.getHeader(b"content-type") or b""
        if declared.partition(b";")[0].strip().lower() != JSON_TYPE:
            raise ContentTypeError(value=declared.decode("latin-1")[:100])
        limit = self.settings.body_limit_bytes
        content = request.content.read(limit + 1)
        if len(content) > limit:
            raise BodyTooLargeError(limit=limit)
        return read_body(content, model)

    def _changed(self, view: MappingView) -> ChangedRow:
        reachable = self._links.reachable(view.mapping.agent)
        return changed_row(view, tunnel_connected=reachable)

    def _act(
        self, request: IRequest, action: str, subject: str, before: object = None
    ) -> Act:
        caller = getattr(request, _CALLER)
        return Act(caller, action, subject, before)

    def _change(
        self,
        act: Act,
        change: Coroutine[Deferred[Any], Any, T],
        after: Callable[[T], tuple[str, object]],
    ) -> Deferred[T]:
        """Make a change to its end, and note who made it."""
        return outlast(
            self._audit.noted(act, change, after),
            self._clock,
            self.settings.request_timeout_seconds,
            what=f"{act.action} {act.subject}",
        )

    def _reply(self, request: IRequest, key: str, row: BaseModel) -> bytes:
        return reply(
            request,
            {
                "success": True,
                "message": text(key, self.language(request)),
                "data": row.model_dump(mode="json"),
            },
        )


def _mapping_after(view: MappingView) -> tuple[str, object]:
    return str(view.mapping.port), mapping_facts(view.mapping)


def _key_after(credential: AgentCredential) -> tuple[str, object]:
    return credential.name, key_row(credential).model_dump(mode="json")


def _reload_after(names: list[str]) -> tuple[str, object]:
    return "certificates", {"read_anew": names}


def _ban_after(ban: Ban) -> tuple[str, object]:
    return ban.network, ban_row(ban).model_dump(mode="json")


def _limit_row(name: str, counted: Counted) -> LimitRow:
    return LimitRow(
        name=name,
        limit=counted.limit,
        active=counted.active,
        total=counted.total,
        rejected=counted.rejected,
    )


def _number(
    request: IRequest, key: bytes, default: int | None, most: int
) -> int | None:
    """Return a number of the query."""
    values = request.args.get(key)
    if not values:
        return default
    text = values[0].decode("latin-1")
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:30]) <= most:
        raise BadRequestError(
            detail=f"{key.decode()}: {shown(text)} is not a number from 1 to {most}"
        )
    return int(text)


def _check_text(path: bytes) -> None:
    """Refuse a path that is not UTF-8; Klein would log each as an error."""
    try:
        unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise NoRouteError(path=path_text(path)) from None


class _GatedResource(Resource):
    """Asks the gate first, for every path, also those that do not exist."""

    def __init__(
        self,
        admit: Callable[[IRequest], Caller],
        routes: IResource,
        refuse: Callable[[IRequest, Failure], bytes],
    ) -> None:
        super().__init__()
        self.isLeaf = True
        self._admit = admit
        self._inner = routes
        self._refuse = refuse

    def render(self, request: IRequest) -> bytes | int:
        """Answer a request; called by the site."""
        request.responseHeaders.removeHeader(b"server")
        try:
            setattr(request, _CALLER, self._admit(request))
            _check_text(request.path)
            rendered: bytes | int = self._inner.render(request)
            return rendered
        except Exception:  # noqa: BLE001 - whatever it is, the caller gets an answer
            return self._refuse(request, Failure())
