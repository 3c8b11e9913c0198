"""What every route does alike: read a body, make a change, write an answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import BaseModel
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from gateway.api.audit import Act, AuditLog, Outcome
from gateway.api.bodies import Body, shown
from gateway.api.language import choose_language
from gateway.api.listing import around, send
from gateway.api.outlasting import outlast
from gateway.api.reading import read_body
from gateway.api.replies import JSON_TYPE, encode, reply
from gateway.api.settings import ApiSettings
from gateway.api.tokens import Caller
from gateway.errors import BadRequestError, BodyTooLargeError, ContentTypeError
from gateway.ops.slices import Slices
from gateway.texts import Language, text

T = TypeVar("T")
AnyBody = TypeVar("AnyBody", bound=Body)
_MOST_DIGITS: Final = 19
_CALLER: Final = "gotunnel_caller"  # attribute of a request that was admitted


class Endpoint(NamedTuple):
    """One method of one path.

    Attributes:
        method: `GET`, `POST` or `DELETE`.
        path: as werkzeug's rules have it.
        answer: takes the request, and what the path holds by name.
    """

    method: str
    path: str
    answer: Callable[..., Any]


class Exchange:
    """Reads requests and writes answers, for all groups of routes."""

    def __init__(
        self,
        settings: ApiSettings,
        audit: AuditLog,
        clock: IReactorTime,
        slices: Slices,
    ) -> None:
        self.settings = settings
        self.slices: Final = slices
        self._audit = audit
        self._clock = clock

    def admitted(self, request: IRequest, caller: Caller) -> None:
        """Note who makes a request."""
        setattr(request, _CALLER, caller)

    def caller(self, request: IRequest) -> Caller:
        """Return who makes a request that was admitted."""
        found: Caller = getattr(request, _CALLER)
        return found

    def is_known(self, request: IRequest) -> bool:
        """Return whether a request was admitted by more than its address."""
        found: Caller | None = getattr(request, _CALLER, None)
        return found is not None and found.is_known

    def language(self, request: IRequest) -> Language:
        """Return the language to answer a request in."""
        header = request.getHeader(b"accept-language")
        wanted = None if header is None else header.decode("latin-1")
        return choose_language(wanted, self.settings.language)

    def body(self, request: IRequest, model: type[AnyBody]) -> AnyBody:
        """Return the body of a request.

        Raises:
            CallerError: it is not JSON, too long, or not what is asked for.
        """
        declared = request.getHeader(b"content-type") or b""
        if declared.partition(b";")[0].strip().lower() != JSON_TYPE:
            raise ContentTypeError(value=declared.decode("latin-1")[:100])
        limit = self.settings.body_limit_bytes
        content = request.content.read(limit + 1)
        if len(content) > limit:
            raise BodyTooLargeError(limit=limit)
        return read_body(content, model)

    def act(self, request: IRequest, action: str, subject: str) -> Act:
        """Return what the caller is about to do."""
        return Act(self.caller(request), action, subject)

    def change(
        self,
        act: Act,
        change: Coroutine[Deferred[Any], Any, T],
        outcome_of: Callable[[T], Outcome],
    ) -> Deferred[T]:
        """Make a change to its end, and note who made it."""
        return outlast(
            self._audit.noted(act, change, outcome_of),
            self._clock,
            self.settings.request_timeout_seconds,
            what=f"{act.action} {act.subject}",
        )

    def reply(self, request: IRequest, key: str, row: BaseModel) -> bytes:
        """Return an answer in its envelope; `key` names its message."""
        return reply(request, self._envelope(request, key, row))

    def _envelope(
        self, request: IRequest, key: str, row: BaseModel
    ) -> dict[str, object]:
        return {
            "success": True,
            "message": text(key, self.language(request)),
            "data": row.model_dump(mode="json"),
        }

    async def reply_list(
        self,
        request: IRequest,
        key: str,
        row: Callable[[int], BaseModel],
        field: str,
        elements: Iterable[bytes],
    ) -> bytes:
        """Answer with a long list, in slices.

        Args:
            request: is answered.
            key: names the message.
            row: returns the answer with an empty list, of the number of its elements.
            field: name of that list.
            elements: text between its brackets, made when its turn comes.

        Returns:
            What the route has to return.
        """

        def parts(count: int) -> tuple[bytes, bytes]:
            whole = encode(self._envelope(request, key, row(count)))
            return around(whole, field)

        return await send(
            request, self.slices, parts(0)[0], elements, lambda count: parts(count)[1]
        )


def query_text(request: IRequest, key: str, longest: int = 200) -> str | None:
    """Return a text of the query; None if it is absent or empty."""
    values = request.args.get(key.encode())
    if not values or not values[0]:
        return None
    text: str = values[0].decode("utf-8", "backslashreplace")
    if len(text) > longest:
        raise BadRequestError(
            detail=f"{key}: {len(text)} characters, {longest} at most"
        )
    return text


def query_choice(request: IRequest, key: str, choices: Collection[str]) -> str | None:
    """Return one of some words; None if the query holds none."""
    text = query_text(request, key)
    if text is not None and text not in choices:
        said = ", ".join(choices)
        raise BadRequestError(detail=f"{key}: {shown(text)} is none of {said}")
    return text


def query_number(
    request: IRequest, key: bytes, default: int | None, most: int, least: int = 1
) -> int | None:
    """Return a number of the query, from `least` to `most`."""
    values = request.args.get(key)
    if not values:
        return default
    text = values[0].decode("latin-1")
    plain = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    if not plain or not least <= int(text) <= most:
        raise BadRequestError(
            detail=f"{key.decode()}: {shown(text)} is not a number from {least} to "
            f"{most}"
        )
    return int(text)
