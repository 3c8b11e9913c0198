"""Agents' keys as rows: a name and a JSON object."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from gateway.interfaces import StoredCredentials
from gateway.policy.credentials import (
    AgentCredential,
    credential_document,
    credential_of_document,
)

_PUT = "INSERT OR REPLACE INTO agent_keys (name, content) VALUES (?, ?)"
_DELETE = "DELETE FROM agent_keys WHERE name = ?"
_COUNT = "SELECT count(*) FROM agent_keys"
_SELECT = "SELECT name, content FROM agent_keys ORDER BY name"


def load(connection: sqlite3.Connection) -> StoredCredentials:
    """Return every readable row, and a sentence for each of the others."""
    credentials, faults = [], []
    for name, content in connection.execute(_SELECT):
        try:
            found = json.loads(content)
            if not isinstance(found, dict):
                raise ValueError("not an object")
            credentials.append(credential_of_document(name, found))
        except (ValueError, RecursionError) as fault:
            faults.append(
                f"the key of agent {name!r} cannot be read: {fault}; correct or delete "
                "its row in table agent_keys"
            )
    return StoredCredentials(credentials, faults)


def count_in_file(path: str) -> int:
    """Return how many rows a database holds, also while a gateway has it open.

    A file that is none, that cannot be read, or that is of an older form has none.
    """
    try:
        uri = f"{Path(path).absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=1.0)) as connection:
            return int(connection.execute(_COUNT).fetchone()[0])
    except (sqlite3.Error, ValueError):
        return 0


def put(connection: sqlite3.Connection, credential: AgentCredential) -> None:
    """Store a credential in the place of what has its name."""
    content = json.dumps(credential_document(credential))
    connection.execute(_PUT, (credential.name, content))


def delete(connection: sqlite3.Connection, name: str) -> bool:
    """Remove a credential; False if there was none."""
    return connection.execute(_DELETE, (name,)).rowcount > 0
