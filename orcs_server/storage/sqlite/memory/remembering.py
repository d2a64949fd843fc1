"""Changes that belong to a request: its answer is stored with them, so that its repetition finds it instead of doing it again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

from orcs_server.storage.codec import encode
from orcs_server.storage.once import Once
from orcs_server.storage.sqlite import audit
from orcs_server.storage.sqlite.batch import find_request, put_request
from orcs_server.storage.sqlite.memory.writing import Outcome
from orcs_server.storage.sqlite.queries import QUERIES
from orcs_server.storage.sqlite.writer import Refused
from orcs_server.storage.store import DuplicateRequest, RequestRecord

Work = Callable[[sqlite3.Connection], Any]


class Remembered(NamedTuple):
    """What a change came to, and the place in the namespace's log after it."""

    outcome: Any
    position: int


def once(work: Work, namespace: str, change: Once) -> Work:
    """Return the change as one that is refused with DuplicateRequest where its request is known, and remembered otherwise."""

    def carry_out(connection: sqlite3.Connection) -> Remembered | Refused:
        if change.request is not None:
            known = find_request(connection, change.request)
            if known is not None:
                return Refused(DuplicateRequest(known))
        outcome = work(connection)
        if isinstance(outcome, Refused):
            return outcome
        if isinstance(outcome, Outcome):
            result, position = outcome.result, outcome.position
        else:
            result, position = outcome, _position(connection, namespace)
        if change.request is not None:
            answer = encode(result)
            put_request(
                connection, RequestRecord(change.request, change.command_hash, "", position, change.created_us, answer)
            )
        if change.audit is not None:
            audit.append(connection, [(namespace, change.audit)])
        return Remembered(outcome, position)

    return carry_out


def _position(connection: sqlite3.Connection, namespace: str) -> int:
    space = connection.execute(QUERIES["memory_space"], (namespace,)).fetchone()
    return 0 if space is None else int(space[1])
