"""Whether what a configuration names can be used: files of TLS, folders to write to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from gateway.config.gateway import GatewayConfig
from gateway.errors import OperatorError
from gateway.net.certificates import server_context
from gateway.ops.sealing import files_of


def fault_of(key: str, use: Callable[[], object]) -> Iterator[str]:
    """Yield what is wrong with files if they cannot be used.

    Args:
        key: where they are configured.
        use: reads them; raises `OperatorError`.
    """
    try:
        use()
    except OperatorError as fault:
        yield f"{key}: {fault}"


def unwritable(key: str, file: str | None) -> Iterator[str]:
    """Yield why a file cannot be made or written where it is configured.

    Folders that are missing are made at the start, if their parent can be written to.
    """
    if file is None:
        return
    path = Path(file).absolute()
    if path.is_dir():
        yield f"{key}: {path} is a folder; name a file"
        return
    if path.exists() and not os.access(path, os.W_OK):
        yield f"{key}: {path} cannot be written by this user; change its owner or mode"
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        yield f"{key}: {folder} is no folder"
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield (
            f"{key}: this user cannot write to the folder {folder}; change its owner "
            "or mode, or name another place"
        )


def gateway_problems(config: GatewayConfig) -> list[str]:
    """Return what of the files and folders of a gateway cannot be used."""
    unsafe = "readable_keys" in config.security.allow_unsafe
    problems: list[str] = []
    for key, block, enabled in (
        ("api.tls", config.api.tls, config.api.tls.enabled),
        (
            "security.tunnel",
            config.security.tunnel,
            config.tunnel.enabled and config.security.tunnel.enable_tls,
        ),
    ):
        if enabled:
            files = files_of(block, allow_readable=unsafe)
            problems += fault_of(key, partial(server_context, files))
    problems += unwritable("database.path", config.database.path)
    problems += unwritable("log.file", config.log.file)
    problems += unwritable("log.access_file", config.log.access_file)
    return problems
