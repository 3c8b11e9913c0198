"""The OpenAPI document, made from the models that check bodies and write answers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway import errors
from gateway.api.answers import (
    AgentKeyList,
    AgentKeyRow,
    AgentList,
    Alive,
    AuditList,
    BanList,
    BanRow,
    ChangedRow,
    Fault,
    Health,
    LimitList,
    MappingList,
    MappingRow,
    NewAgentKey,
    Readiness,
    ReloadedRow,
    RemovedRow,
)
from gateway.api.bodies import (
    AgentKeyBody,
    AgentKeyUpdateBody,
    AgentNameBody,
    BanBody,
    Body,
    CreateBody,
    DisableBody,
    EmptyBody,
    EnableBody,
    NetworkBody,
    ReloadBody,
    RemoveBody,
    RetireBody,
    UpdateBody,
)
from gateway.api.history_routes import LAST_SECOND, MOST_POINTS
from gateway.api.log_rows import CURSOR_PATTERN, LogLevelBody, LogLevels, LogLines
from gateway.api.reading import SPELLINGS
from gateway.api.stat_rows import (
    ActiveConnections,
    ConnectionList,
    DisconnectedAgent,
    EndedConnection,
    HistoryRow,
    Recent,
    Stats,
    TrafficRow,
)
from gateway.errors import CallerError
from gateway.ops.events import KEPT, TOPICS
from gateway.ops.levels import LEVELS
from gateway.server.connections import SORTS, STATES
from gateway.wire.hello import NAME_PATTERN

_REF: Final = "#/components/schemas/{model}"
_EVERYWHERE: Final[tuple[type[CallerError], ...]] = (
    errors.BadRequestError,
    errors.UnauthorizedError,
    errors.BadApiKeyError,
    errors.InvalidTokenError,
    errors.AccessDeniedError,
    errors.TooManyRequestsError,
    errors.SlowRequestError,
    errors.InternalError,
)
_WITH_BODY: Final[tuple[type[CallerError], ...]] = (
    errors.BodyTooLargeError,
    errors.ContentTypeError,
    errors.NotAvailableError,
    errors.SlowAnswerError,
    errors.StoreFailedError,
)
_TARGET: Final[tuple[type[CallerError], ...]] = (
    errors.BadTargetError,
    errors.TargetDeniedError,
    errors.TunnelDisabledError,
)
_KEY: Final[tuple[type[CallerError], ...]] = (
    errors.AgentKeyMissingError,
    errors.ConfiguredKeyError,
)
_MISSING: Final[tuple[type[CallerError], ...]] = (errors.MappingMissingError,)
_AGENTS_OWN: Final[tuple[type[CallerError], ...]] = (
    errors.MappingMissingError,
    errors.AgentMappingError,
)
_PORT: Final[tuple[type[CallerError], ...]] = (
    errors.PortRangeError,
    errors.PortBlacklistedError,
    errors.PortMappedError,
    errors.PortInUseError,
    errors.PortPrivilegedError,
    errors.ListenError,
    errors.NoFreePortError,
    errors.TooManyMappingsError,
)


class Query(NamedTuple):
    """A parameter of a query.

    Attributes:
        least: smallest number.
        most: largest number; None = whatever.
        words: what it may be; empty = a number, or any text if `text`.
        pattern: what a text is like; empty = it is not one, or of any form.
    """

    name: str
    least: int = 1
    most: int | None = None
    words: tuple[str, ...] = ()
    text: bool = False
    pattern: str = ""

    def schema(self) -> dict[str, Any]:
        """Return its JSON Schema."""
        if self.words:
            return {"type": "string", "enum": list(self.words)}
        if self.pattern:
            return {"type": "string", "pattern": self.pattern}
        if self.text:
            return {"type": "string", "maxLength": 200}
        schema = {"type": "integer", "minimum": self.least}
        return schema if self.most is None else {**schema, "maximum": self.most}


class Route(NamedTuple):
    """What the document says of one route.

    Attributes:
        row: model of `data`, or of the whole answer where `bare`.
        faults: refusals beyond those that every route has.
        query: what the query may have.
        bare: open to everybody, and answered without the envelope.
    """

    method: str
    path: str
    summary: str
    row: type[BaseModel]
    body: type[Body] | None = None
    faults: tuple[type[CallerError], ...] = ()
    bare: bool = False
    unfit: str = ""
    query: tuple[Query, ...] = ()


ROUTES: Final = (
    Route(
        "post",
        "/api/mapping/create",
        "Map a public port to a target",
        ChangedRow,
        CreateBody,
        _WITH_BODY + _PORT + _TARGET,
    ),
    Route(
        "post",
        "/api/mapping/remove",
        "Remove a mapping",
        RemovedRow,
        RemoveBody,
        _WITH_BODY + _AGENTS_OWN,
    ),
    Route(
        "post",
        "/api/mapping/update",
        "Change a mapping for the visitors to come",
        ChangedRow,
        UpdateBody,
        _WITH_BODY + _AGENTS_OWN + _TARGET,
    ),
    Route(
        "post",
        "/api/mapping/enable",
        "Open the port of a mapping that was disabled",
        ChangedRow,
        EnableBody,
        _WITH_BODY + _AGENTS_OWN + _TARGET,
    ),
    Route(
        "post",
        "/api/mapping/disable",
        "Close the port of a mapping, and keep it",
        ChangedRow,
        DisableBody,
        _WITH_BODY + _AGENTS_OWN + _TARGET,
    ),
    Route(
        "post",
        "/api/mapping/reload",
        "Read one mapping from the store anew",
        ChangedRow,
        ReloadBody,
        (*_WITH_BODY, *_AGENTS_OWN, errors.TooManyMappingsError),
    ),
    Route("get", "/api/mapping/list", "List all mappings", MappingList),
    Route(
        "get", "/api/mapping/{port}", "Show one mapping", MappingRow, faults=_MISSING
    ),
    Route("get", "/api/agents", "List the connected agents", AgentList),
    Route(
        "post",
        "/api/agent-key/create",
        "Make a key for an agent",
        NewAgentKey,
        AgentKeyBody,
        (*_WITH_BODY, errors.AgentKeyExistsError, errors.LegacyAllowedError),
    ),
    Route(
        "post",
        "/api/agent-key/rotate",
        "Make a second key for an agent, beside the one it has",
        NewAgentKey,
        AgentNameBody,
        _WITH_BODY + _KEY,
    ),
    Route(
        "post",
        "/api/agent-key/update",
        "Change what an agent may do, and until when",
        AgentKeyRow,
        AgentKeyUpdateBody,
        _WITH_BODY + _KEY,
    ),
    Route(
        "post",
        "/api/agent-key/retire",
        "Let only the newest key of an agent be good",
        AgentKeyRow,
        RetireBody,
        (*_WITH_BODY, *_KEY, errors.AgentKeyUnusedError),
    ),
    Route(
        "post",
        "/api/agent-key/revoke",
        "Forget the keys of an agent, and end its links",
        AgentKeyRow,
        AgentNameBody,
        _WITH_BODY + _KEY,
    ),
    Route("get", "/api/agent-key/list", "List the keys of agents", AgentKeyList),
    Route(
        "post",
        "/api/ban/add",
        "Keep a network or an address out",
        BanRow,
        BanBody,
        _WITH_BODY,
    ),
    Route(
        "post",
        "/api/ban/remove",
        "Let a network or an address come again",
        BanRow,
        NetworkBody,
        (*_WITH_BODY, errors.BanMissingError),
    ),
    Route("get", "/api/ban/list", "List the bans that are on", BanList),
    Route(
        "get",
        "/api/audit",
        "List changes that callers made, the newest first",
        AuditList,
        faults=(errors.StoreFailedError,),
        query=(Query("before"), Query("count", most=1000)),
    ),
    Route(
        "post",
        "/api/reload",
        "Read certificates and the configuration again, and apply what can be",
        ReloadedRow,
        EmptyBody,
        (*_WITH_BODY, errors.ReloadFailedError),
    ),
    Route("get", "/api/stats", "Show how the whole gateway fares, in numbers", Stats),
    Route(
        "get", "/api/stats/recent", "Show the last five minutes by the second", Recent
    ),
    Route(
        "get",
        "/api/stats/history",
        "Show what was recorded, also before the last restart",
        HistoryRow,
        faults=(errors.StoreFailedError,),
        query=(
            Query("port", most=65535),
            Query("since", most=LAST_SECOND),
            Query("until", most=LAST_SECOND),
            Query("limit", most=MOST_POINTS),
            Query("links", words=("true", "false")),
        ),
    ),
    Route(
        "get",
        "/api/stats/traffic",
        "Show what links and mappings have carried",
        TrafficRow,
    ),
    Route(
        "get",
        "/api/stats/connections",
        "List all mappings and their visitors",
        ActiveConnections,
    ),
    Route(
        "get",
        "/api/connections",
        "List visitors who are here, sorted, a page at a time",
        ConnectionList,
        query=(
            Query("port", most=65535),
            Query("agent", text=True),
            Query("visitor", text=True),
            Query("state", words=STATES),
            Query("sort", words=tuple(SORTS)),
            Query("order", words=("asc", "desc")),
            Query("offset", least=0, most=1 << 31),
            Query("count", most=500),
        ),
    ),
    Route(
        "delete",
        "/api/connections/{id}",
        "End a connection",
        EndedConnection,
        faults=(errors.ConnectionMissingError,),
    ),
    Route(
        "post",
        "/api/agents/{name}/disconnect",
        "End the links of an agent, which may come again",
        DisconnectedAgent,
        EmptyBody,
        (*_WITH_BODY, errors.AgentMissingError),
    ),
    Route(
        "get",
        "/api/logs",
        "Show the last lines of the log, or wait for more; for administrators",
        LogLines,
        query=(
            Query("count", most=2000),
            Query("level", words=tuple(LEVELS)),
            Query("component", text=True),
            Query("trace", text=True),
            Query("after", pattern=CURSOR_PATTERN),
            Query("wait", least=0, most=25),
        ),
    ),
    Route("get", "/api/log/level", "Show which lines are logged", LogLevels),
    Route(
        "post",
        "/api/log/level",
        "Set which lines of a component are logged, perhaps for a while",
        LogLevels,
        LogLevelBody,
        _WITH_BODY,
    ),
    Route("get", "/api/limits", "Show how much of each limit is used", LimitList),
    Route(
        "get",
        "/health",
        "Tell how fit the gateway is",
        Health,
        bare=True,
        unfit="a check is unhealthy",
    ),
    Route("get", "/livez", "Tell that the process runs", Alive, bare=True),
    Route(
        "get",
        "/readyz",
        "Tell whether to send traffic here",
        Readiness,
        bare=True,
        unfit="the gateway is draining, or a check is unhealthy",
    ),
)


@cache
def document() -> Mapping[str, Any]:
    """Return the OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = _operation(route)
    paths["/api/openapi.json"] = {"get": _own_operation()}
    paths["/metrics"] = {"get": _metrics_operation()}
    paths["/api/events"] = {"get": _stream_operation()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "gotunnel", "version": "1", "license": {"name": "MIT"}},
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "Token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
        "security": [{"ApiKey": []}, {"Token": []}],
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{route.method}{route.path.translate(_NO_SIGNS)}",
        "summary": route.summary,
        "responses": _answers(route),
    }
    if route.bare:
        operation["security"] = []
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in _IN_PATHS.items()
        if f"{{{name}}}" in route.path
    ] + [
        {"name": query.name, "in": "query", "schema": query.schema()}
        for query in route.query
    ]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": _json(_ref(route.body)),
        }
    return operation


_IN_PATHS: Final[Mapping[str, dict[str, Any]]] = {
    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "id": {"type": "string", "pattern": "^[0-9a-f-]+$"},
    "name": {"type": "string", "pattern": f"^{NAME_PATTERN.pattern}$"},
}
_NO_SIGNS: Final = str.maketrans({"/": "_", "{": None, "}": None, ".": "_"})


def _answers(route: Route) -> dict[str, Any]:
    answers = {"200": _answer("done", _ref(route.row), bare=route.bare)}
    if route.unfit:
        answers["503"] = _answer(route.unfit, _ref(route.row), bare=True)
    return answers | _refusals(() if route.bare else _EVERYWHERE + route.faults)


def _refusals(faults: tuple[type[CallerError], ...]) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    sentences: dict[int, list[str]] = {}
    for fault in faults:
        sentences.setdefault(fault.http_code, []).append(_said(fault))
    for code in sorted(sentences):
        answers[str(code)] = _answer("; ".join(sentences[code]), _ref(Fault), bare=True)
    return answers


def _said(fault: type[CallerError]) -> str:
    return (fault.__doc__ or "").partition(";")[0].strip().rstrip(".")


def _own_operation() -> dict[str, Any]:
    return {
        "operationId": "get_api_openapi_json",
        "summary": "This document",
        "responses": {"200": _answer("done", {"type": "object"}, bare=True)},
    }


def _metrics_operation() -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    return {
        "operationId": "get_metrics",
        "summary": "Show all numbers to Prometheus, or a few of them as JSON",
        "parameters": [
            {
                "name": "format",
                "in": "query",
                "schema": {"type": "string", "enum": ["json", "text"]},
            }
        ],
        "responses": {
            "200": {
                "description": "done",
                "content": {
                    "text/plain": text,
                    "application/openmetrics-text": text,
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "additionalProperties": {"type": "integer"},
                        }
                    },
                },
            },
            **_refusals(_EVERYWHERE),
        },
    }


def _stream_operation() -> dict[str, Any]:
    """Return the operation whose answer has no end."""
    topics = {"type": "array", "items": {"type": "string", "enum": list(TOPICS)}}
    recent = {"type": "integer", "minimum": 1, "maximum": KEPT}
    listed = {"in": "query", "style": "form", "explode": False}
    return {
        "operationId": "get_api_events",
        "summary": "Follow what happens, as server-sent events without end",
        "parameters": [
            {"name": "topics", "schema": topics, **listed},
            {"name": "recent", "in": "query", "schema": recent},
            {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}},
        ],
        "responses": {
            "200": {
                "description": "events; `data` is a JSON object",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            **_refusals((*_EVERYWHERE, errors.TooManyStreamsError)),
        },
    }


def _answer(meaning: str, schema: dict[str, Any], *, bare: bool) -> dict[str, Any]:
    if not bare:
        schema = {
            "type": "object",
            "required": ["success", "message", "data"],
            "properties": {
                "success": {"const": True},
                "message": {"type": "string"},
                "data": schema,
            },
        }
    return {"description": meaning, "content": _json(schema)}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _ref(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": _REF.format(model=model.__name__)}


def _schemas() -> dict[str, Any]:
    bodies = {route.body for route in ROUTES if route.body is not None}
    rows = {route.row for route in ROUTES} | {Fault}
    _, checked = models_json_schema(
        [(body, "validation") for body in sorted(bodies, key=_name)], ref_template=_REF
    )
    _, written = models_json_schema(
        [(row, "serialization") for row in sorted(rows, key=_name)], ref_template=_REF
    )
    schemas: dict[str, Any] = {**checked["$defs"], **written["$defs"]}
    for body in bodies:
        _add_spellings(schemas[body.__name__])
    return schemas


def _name(model: type[BaseModel]) -> str:
    return model.__name__


def _add_spellings(schema: dict[str, Any]) -> None:
    """Say that some keys have a second name, and that one of the two is meant."""
    properties = schema.get("properties", {})
    required = schema.setdefault("required", [])
    rules: list[dict[str, Any]] = []
    for other, plain in SPELLINGS.items():
        if plain not in properties:
            continue
        properties[other] = {
            **properties[plain],
            "description": f"Another name of `{plain}`.",
        }
        if plain in required:
            required.remove(plain)
            rules.append({"oneOf": [{"required": [plain]}, {"required": [other]}]})
        else:
            rules.append({"not": {"required": [plain, other]}})
    if rules:
        schema["allOf"] = rules
    if not required:
        del schema["required"]
