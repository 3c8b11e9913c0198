"""The gateway's HTTP API, as commands call it: one request, one answer, one wait."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from typing import Final, TypeVar
from urllib.error import URLError
from urllib.parse import quote, urlencode
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, Request

from pydantic import BaseModel, ValidationError

from gateway.api.answers import (
    AgentKeyList,
    AgentKeyRow,
    AgentList,
    AuditList,
    BanList,
    BanRow,
    ChangedRow,
    Fault,
    Health,
    MappingList,
    MappingRow,
    NewAgentKey,
)
from gateway.api.log_rows import LogLevels, LogLines
from gateway.api.stat_rows import ConnectionList, EndedConnection, Stats
from gateway.cli.exits import FailedError, UnreachableError
from gateway.cli.output import printable_lines
from gateway.texts import Language

LONGEST_ANSWER: Final = 64 << 20  # bytes
SILENCE_SECONDS: Final = 45.0  # of a stream; it beats every 15
_PIECE: Final = 65536

Model = TypeVar("Model", bound=BaseModel)


class ApiClient:
    """Calls one gateway.

    Every method raises `FailedError` with the gateway's own words when it refuses,
    and `UnreachableError` when it cannot be asked.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None,
        token: str | None = None,
        timeout_seconds: float,
        language: Language,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Remember how to call.

        Args:
            url: where the API is, without a path.
            api_key: key to show; None = none.
            token: token to show; None = none.
            timeout_seconds: for a whole answer.
            language: of messages.
            tls: for https; None = as this system has it.
        """
        self.url: Final = url
        self._timeout_seconds = timeout_seconds
        self._headers = {"Accept-Language": language, "User-Agent": "gotunnel"}
        if api_key is not None:
            # headers are bytes; urllib takes text for Latin-1
            self._headers["X-API-Key"] = api_key.encode("utf-8").decode("latin-1")
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}".encode().decode(
                "latin-1"
            )
        # nothing else: no proxies of the environment, and no redirect that would
        # carry the key to another host
        self._opener = OpenerDirector()
        self._opener.add_handler(HTTPHandler())
        self._opener.add_handler(HTTPSHandler(context=tls))

    def mappings(self) -> MappingList:
        """Return all mappings, ordered by port."""
        return self._data(MappingList, "/api/mapping/list")

    def mapping(self, port: int) -> MappingRow:
        """Return the mapping on a public port."""
        return self._data(MappingRow, f"/api/mapping/{port}")

    def create(self, body: Mapping[str, object]) -> ChangedRow:
        """Make a mapping; keys as the API has them."""
        return self._data(ChangedRow, "/api/mapping/create", body)

    def update(self, body: Mapping[str, object]) -> ChangedRow:
        """Change a mapping; keys that are left out stay as they are."""
        return self._data(ChangedRow, "/api/mapping/update", body)

    def remove(self, port: int, *, drain_seconds: float = 0.0) -> None:
        """Remove a mapping; its connections end after `drain_seconds` at the latest."""
        body = {"port": port, "drain": drain_seconds}
        self._answer("/api/mapping/remove", body)

    def enable(self, port: int) -> ChangedRow:
        """Open the port of a mapping."""
        return self._data(ChangedRow, "/api/mapping/enable", {"port": port})

    def disable(self, port: int, *, close: bool) -> ChangedRow:
        """Close the port of a mapping, and its connections if `close`."""
        body = {"port": port, "close": close}
        return self._data(ChangedRow, "/api/mapping/disable", body)

    def reload(self, port: int) -> ChangedRow:
        """Have one mapping read from the store anew."""
        return self._data(ChangedRow, "/api/mapping/reload", {"port": port})

    def agents(self) -> AgentList:
        """Return the agents that are connected."""
        return self._data(AgentList, "/api/agents")

    def keys(self) -> AgentKeyList:
        """Return the keys of agents, ordered by name."""
        return self._data(AgentKeyList, "/api/agent-key/list")

    def create_key(self, body: Mapping[str, object]) -> NewAgentKey:
        """Make a key for an agent; keys as the API has them."""
        return self._data(NewAgentKey, "/api/agent-key/create", body)

    def rotate_key(self, name: str) -> NewAgentKey:
        """Make a second key for an agent."""
        return self._data(NewAgentKey, "/api/agent-key/rotate", {"name": name})

    def update_key(self, body: Mapping[str, object]) -> AgentKeyRow:
        """Change what an agent may do; keys as the API has them."""
        return self._data(AgentKeyRow, "/api/agent-key/update", body)

    def retire_key(self, name: str, *, force: bool) -> AgentKeyRow:
        """Let only the newest key of an agent be good."""
        body = {"name": name, "force": force}
        return self._data(AgentKeyRow, "/api/agent-key/retire", body)

    def revoke_key(self, name: str) -> AgentKeyRow:
        """Forget the keys of an agent."""
        return self._data(AgentKeyRow, "/api/agent-key/revoke", {"name": name})

    def bans(self) -> BanList:
        """Return who is kept out."""
        return self._data(BanList, "/api/ban/list")

    def add_ban(self, network: str, seconds: int | None, reason: str) -> BanRow:
        """Keep a network out, for a while or for good."""
        body = {"network": network, "duration": seconds, "reason": reason}
        return self._data(BanRow, "/api/ban/add", body)

    def remove_ban(self, network: str) -> BanRow:
        """Let a network come again."""
        return self._data(BanRow, "/api/ban/remove", {"network": network})

    def audit(self, count: int, before: int | None) -> AuditList:
        """Return the newest changes, those with lower numbers than `before`."""
        query = f"count={count}" + ("" if before is None else f"&before={before}")
        return self._data(AuditList, f"/api/audit?{query}")

    def stats(self) -> Stats:
        """Return how the gateway fares, in numbers."""
        return self._data(Stats, "/api/stats")

    def connections(
        self, *, sort: str, descending: bool, visitor: str, offset: int, count: int
    ) -> ConnectionList:
        """Return some of the connections, as the API sorts them."""
        query = {
            "sort": sort,
            "order": "desc" if descending else "asc",
            "visitor": visitor,
            "offset": offset,
            "count": count,
        }
        return self._data(ConnectionList, f"/api/connections?{urlencode(query)}")

    def end_connection(self, connection_id: str) -> EndedConnection:
        """End a connection."""
        path = f"/api/connections/{quote(connection_id, safe='')}"
        code, answer = self._exchange(path, None, method="DELETE")
        if code != 200:
            raise self._refusal(code, answer)
        data = answer.get("data") if isinstance(answer, dict) else None
        return self._model(EndedConnection, data)

    @contextmanager
    def stream(self, path: str, last_event_id: str | None) -> Iterator[HTTPResponse]:
        """Open an answer without end, of which at least a beat comes now and then.

        Args:
            path: with its query.
            last_event_id: what was read last; None = nothing.
        """
        headers = {**self._headers, "Accept": "text/event-stream"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        request = Request(self.url + path, None, headers)  # noqa: S310 - http(s)
        try:
            response = self._opener.open(request, timeout=SILENCE_SECONDS)
        except (OSError, HTTPException) as fault:
            raise self._unreachable(fault, changing=False) from None
        with response:
            if response.status != 200:
                try:
                    said = json.loads(_read(response, time.monotonic() + 5.0))
                except ValueError:
                    said = None
                raise self._refusal(response.status, said)
            yield response

    def logs(self, query: str) -> LogLines:
        """Return some of the last lines of the log; a query as the API has it."""
        return self._data(LogLines, f"/api/logs?{query}")

    def log_levels(self) -> LogLevels:
        """Return which lines are logged."""
        return self._data(LogLevels, "/api/log/level")

    def set_log_level(self, body: Mapping[str, object]) -> LogLevels:
        """Set the level of a component; keys as the API has them."""
        return self._data(LogLevels, "/api/log/level", body)

    def health(self) -> Health:
        """Return how the gateway fares, an unhealthy one's answer included."""
        code, answer = self._exchange("/health", None)
        if code not in (200, 503):
            raise self._refusal(code, answer)
        return self._model(Health, answer)

    def _data(
        self, model: type[Model], path: str, body: Mapping[str, object] | None = None
    ) -> Model:
        answer = self._answer(path, body)
        data = answer.get("data") if isinstance(answer, dict) else None
        return self._model(model, data)

    def _answer(self, path: str, body: Mapping[str, object] | None) -> object:
        code, answer = self._exchange(path, body)
        if code != 200:
            raise self._refusal(code, answer)
        return answer

    def _model(self, model: type[Model], value: object) -> Model:
        try:
            return model.model_validate(value)
        except ValidationError:
            raise self._stranger("an answer of another form") from None

    def _refusal(self, code: int, answer: object) -> FailedError | UnreachableError:
        try:
            message = Fault.model_validate(answer).message
        except ValidationError:
            return self._stranger(f"HTTP status {code}")
        if code == 401:
            message += (
                "\nName the file with the key by --api-key-file, or set "
                "GOTUNNEL_API_KEY or GOTUNNEL_API_KEY_FILE; a token goes by "
                "--api-token-file, GOTUNNEL_API_TOKEN or GOTUNNEL_API_TOKEN_FILE."
            )
        return FailedError(printable_lines(message))

    def _stranger(self, what: str) -> UnreachableError:
        return UnreachableError(
            f"what answers at {self.url} is not the API of a gateway ({what})\n"
            "Give the address of the API by --url or GOTUNNEL_URL."
        )

    def _exchange(
        self, path: str, body: Mapping[str, object] | None, method: str | None = None
    ) -> tuple[int, object]:
        """Return the status code and the JSON of one answer."""
        headers, content = dict(self._headers), None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode("ascii")
        request = Request(  # noqa: S310 - http(s)
            self.url + path, content, headers, method=method
        )
        deadline = time.monotonic() + self._timeout_seconds
        try:
            with self._opener.open(request, timeout=self._timeout_seconds) as response:
                text = _read(response, deadline)
                return response.status, json.loads(text)
        except (OSError, HTTPException) as fault:
            raise self._unreachable(fault, changing=body is not None) from None
        except ValueError:
            raise self._stranger("not JSON") from None

    def _unreachable(
        self, fault: OSError | HTTPException, *, changing: bool
    ) -> UnreachableError:
        cause = fault.reason if isinstance(fault, URLError) else fault
        if isinstance(cause, TimeoutError):
            detail = f"no answer within {self._timeout_seconds:g} seconds"
        else:
            detail = getattr(cause, "strerror", None) or str(cause) or repr(cause)
        lines = [f"cannot reach the gateway at {self.url}: {detail}"]
        if changing and not isinstance(fault, URLError):
            # the request had left
            lines.append("The change may be made: look with `gotunnel map list`.")
        lines.append(
            "Is it running there (`gotunnel server`)? Give another address by --url or "
            "GOTUNNEL_URL."
        )
        return UnreachableError("\n".join(lines))


def _read(response: HTTPResponse, deadline: float) -> bytes:
    content = bytearray()
    while piece := response.read1(_PIECE):
        content += piece
        if len(content) > LONGEST_ANSWER:
            raise HTTPException(f"an answer of more than {LONGEST_ANSWER} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(content)
