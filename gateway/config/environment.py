"""Settings out of environment variables and command line options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from gateway.config.document import parse_yaml
from gateway.config.files import plain_secret
from gateway.config.layers import Layer, Setting
from gateway.config.shape import Kind, Leaf, leaves
from gateway.config.vocabulary import PREFIX, Vocabulary, variable_of
from gateway.errors import ConfigError

# read by the command line client or by nobody
FOREIGN_VARIABLES: Final = frozenset(
    {
        "GOTUNNEL_API_CA_FILE",
        "GOTUNNEL_API_CERT_FILE",
        "GOTUNNEL_API_CERT_KEY_FILE",
        "GOTUNNEL_API_CERT_KEY_PASSWORD_FILE",
        "GOTUNNEL_API_KEY_FILE",
        "GOTUNNEL_API_TOKEN",
        "GOTUNNEL_API_TOKEN_FILE",
        "GOTUNNEL_CONFIG",
        "GOTUNNEL_ENV",
        "GOTUNNEL_URL",
    }
)
_EMPTY: Final = (
    "is empty, which sets nothing; leave it out, or write [] for an empty list and "
    "null for none"
)
_MAY_BE_EMPTY: Final = frozenset({"metrics.namespace"})  # names without a prefix
# what Kubernetes and Docker set for a service that is called gotunnel
_ORCHESTRATED: Final = re.compile(
    r"(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9]+)*"
    r"|PORT_[0-9]+_(TCP|UDP)(_ADDR|_PORT|_PROTO)?)"
)


def environment_layer(
    words: Vocabulary, other: Vocabulary, environ: Mapping[str, str]
) -> tuple[Layer, list[str]]:
    """Return the settings and the problems of the environment.

    Args:
        words: keys of this process.
        other: keys of the other process, whose variables are left alone.
        environ: the environment.
    """
    layer: Layer = {}
    problems: list[str] = []
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or _is_foreign(variable, text):
            continue
        origin = f"variable {variable}"
        key = words.key_of(variable)
        leaf = leaves(words.model).get(key) if key else None
        if leaf and key in layer:
            problems.append(f"{key}: set by {layer[leaf.path].origin} and by {origin}")
        elif leaf and _says_nothing(leaf, text):
            problems.append(f"{key}: {_EMPTY} ({origin})")
        elif leaf:
            layer[leaf.path] = Setting(interpret(text, leaf.kind), origin)
        elif key:
            if detail := words.unknown(key, _word(text)):
                problems.append(f"{key}: {detail} ({origin})")
        elif other.key_of(variable) is None:
            problems.append(_unknown_variable(words, variable))
    return layer, problems


def _says_nothing(leaf: Leaf, text: str) -> bool:
    """Return whether an empty text would replace a setting without a word.

    A script that leaves a variable empty must neither open an API to every address
    nor take a credential away.
    """
    return not text.strip() and leaf.path not in _MAY_BE_EMPTY


def _is_foreign(variable: str, text: str) -> bool:
    rest = variable[len(PREFIX) - 1 :]
    return (
        variable in FOREIGN_VARIABLES
        or _ORCHESTRATED.fullmatch(rest) is not None
        or (rest.endswith("_PORT") and text.startswith(("tcp://", "udp://")))
    )


def _unknown_variable(words: Vocabulary, variable: str) -> str:
    known = {
        name.removeprefix(PREFIX): name
        for name in (*map(variable_of, leaves(words.model)), *words.short_names)
    }
    close = get_close_matches(variable.removeprefix(PREFIX), known, 1)
    hint = f"; did you mean {known[close[0]]}?" if close else ""
    return f"variable {ascii(variable[:100])[1:-1]}: unknown{hint}"


def option_layer(
    words: Vocabulary, options: Mapping[str, object]
) -> tuple[Layer, list[str]]:
    """Return the settings and the problems of the command line.

    Args:
        words: keys of this process.
        options: values by key ("api.bind"); None = not given.  Text is understood
            as in the environment.
    """
    layer: Layer = {}
    problems: list[str] = []
    for key, value in options.items():
        leaf = leaves(words.model).get(key)
        if value is None:
            continue
        if leaf is None:
            if detail := words.unknown(key, value):
                problems.append(f"{key}: {detail} (command line)")
        else:
            given = interpret(value, leaf.kind) if isinstance(value, str) else value
            layer[key] = Setting(given, "command line")
    return layer, problems


def interpret(text: str, kind: Kind) -> object:
    """Return what the text of a variable or an option stands for.

    A list is written in brackets or with commas.  The value of a key that takes
    text is taken letter by letter, except that `null` empties an optional one
    that is no secret.
    """
    if text == "null" and kind.is_optional and not kind.is_secret:
        return None
    if kind.is_secret:
        return plain_secret(text)
    if not kind.is_list:
        return _scalar(text, kind)
    if text.startswith("[") and text.endswith("]"):
        return _word(text)
    return [_scalar(part.strip(), kind) for part in text.split(",") if part.strip()]


def _scalar(text: str, kind: Kind) -> object:
    return text if kind.is_text else _word(text)


def _word(text: str) -> object:
    try:
        return parse_yaml(text, "").value
    except ConfigError:
        return text  # no value of any key; what it should be is said later
