"""From a request's bytes to a checked body, or to a sentence about what is wrong."""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import Any, Final, NoReturn, TypeVar

from pydantic import ValidationError

from gateway.api.bodies import REDACT, Body, shown
from gateway.errors import BadRequestError

# the other spelling of a key -> the one that the models use
SPELLINGS: Final = {"source_port": "port", "target_ip": "target_host"}
_OTHER_SPELLING: Final = {plain: other for other, plain in SPELLINGS.items()}
_FIXED_KEYS: Final = frozenset({"listen"})  # only ever set by create

AnyBody = TypeVar("AnyBody", bound=Body)


def read_body(text: bytes, model: type[AnyBody]) -> AnyBody:
    """Return the body that a request's bytes stand for.

    Raises:
        BadRequestError: it is not one JSON object that fits the model.
        NotAvailableError: it asks for a feature that this release does not have.
    """
    body = _one_spelling(_json_object(text))
    _refuse_unknown(body, model)
    try:
        return model.model_validate(body)
    except ValidationError as fault:
        raise BadRequestError(
            detail=REDACT(
                "; ".join(
                    _sentence(error["type"], error["loc"], error["msg"], error["input"])
                    for error in fault.errors(include_url=False)
                )
            )
        ) from None


def _json_object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError:
        raise BadRequestError(detail="the body is not UTF-8") from None
    except RecursionError:
        raise BadRequestError(detail="the body is nested too deeply") from None
    except json.JSONDecodeError as fault:
        raise BadRequestError(detail=f"the body is not JSON: {fault}") from None
    except ValueError:  # an integer of thousands of digits
        raise BadRequestError(detail="a number in the body is too long") from None
    if not isinstance(found, dict):
        raise BadRequestError(detail="the body is not a JSON object")
    return found


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BadRequestError(detail=f"key {shown(key)} is there twice")
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise BadRequestError(detail=f"{name} is not JSON")


def _one_spelling(body: dict[str, Any]) -> dict[str, Any]:
    """Rename keys to the models' spelling.

    Raises:
        BadRequestError: both spellings are there and do not say the same.
    """
    renamed: dict[str, Any] = {}
    for key, value in body.items():
        plain = SPELLINGS.get(key, key)
        if plain in renamed and not _same(renamed[plain], value):
            raise BadRequestError(
                detail=f"{plain} and {_OTHER_SPELLING[plain]} mean the same and "
                f"differ: {shown(body[plain])}, {shown(body[_OTHER_SPELLING[plain]])}"
            )
        renamed[plain] = value
    return renamed


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _refuse_unknown(body: dict[str, Any], model: type[Body]) -> None:
    known = model.model_fields
    for key in body:
        if key in known:
            continue
        if key in _FIXED_KEYS:
            raise BadRequestError(
                detail=f"{key} cannot be changed; remove the mapping and create it anew"
            )
        spellings = [*known, *(k for k, v in SPELLINGS.items() if v in known)]
        near = get_close_matches(key, spellings, 1, 0.6)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(spellings)}"
        raise BadRequestError(detail=f"unknown key {shown(key)}; {hint}")


def _sentence(
    kind: str, place: tuple[int | str, ...], message: str, value: object
) -> str:
    """Say one fault: where, what was sent, what would be right."""
    where = ".".join(
        str(part) if str(part).isidentifier() else shown(part) for part in place
    )
    if kind == "missing":
        return f"{where} is missing"
    if kind == "value_error":  # one of our own sentences, which names the value
        return f"{where}: {message.removeprefix('Value error, ')}"
    if kind == "string_pattern_mismatch":
        message = "control characters and marks of direction are not accepted"
    return f"{where}: {shown(value)}: {message}"
