"""What is old or unused, and its removal in slices. Looking costs the writer nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from orcs_server.storage.sqlite import batch
from orcs_server.storage.sqlite.queries import QUERIES
from orcs_server.storage.sqlite.reader import Reader
from orcs_server.storage.store import FinishedWorkflow
from orcs_server.workflow.model import Digest

Place = tuple[str, str]
"""A namespace and a digest."""


def finished(reader: Reader, before_us: int, limit: int, after: FinishedWorkflow | None) -> list[FinishedWorkflow]:
    """Return up to `limit` settled workflows after one, oldest first within each namespace."""
    found: list[FinishedWorkflow] = []
    namespace, created_us, workflow_id = after or ("", -1, "")
    while len(found) < limit:
        following = reader.one(QUERIES["next_namespace"], (namespace,))[0]
        if following is None:
            break
        if following != namespace:
            namespace, created_us, workflow_id = following, -1, ""
        parameters = (namespace, created_us, workflow_id, before_us, before_us, limit - len(found))
        found += [FinishedWorkflow(*row) for row in reader.page(QUERIES["finished_workflows"], parameters)]
        namespace, created_us, workflow_id = namespace + "\0", -1, ""
    return found


def forget_requests(before_us: int, limit: int) -> batch.Operation:
    """Return what forgets some old requests and says how many."""
    return batch.Change(
        lambda connection: connection.execute(QUERIES["prune_requests"], (before_us, limit)).rowcount, limit
    )


def forget_usage(before_day: int, limit: int) -> batch.Operation:
    """Return what forgets some old days of the ledger and says how many."""
    return batch.Change(
        lambda connection: connection.execute(QUERIES["prune_usage"], (before_day, limit)).rowcount, limit
    )


def unused_blobs(reader: Reader, after: Place, limit: int) -> tuple[Place | None, list[Place]]:
    """Look at a page of blobs; return where it ends, None at the end of all, and those to which nothing refers."""
    rows = reader.page(QUERIES["look_at_blobs"], (*after, limit))
    unused = [(namespace, digest) for namespace, digest, is_unused in rows if is_unused]
    return (rows[-1][:2] if len(rows) == limit else None), unused


def erase_blobs(places: Sequence[Place]) -> batch.Operation:
    """Return what erases those of the blobs to which still nothing refers, and names them."""

    def erase(connection: sqlite3.Connection) -> list[tuple[str, Digest]]:
        return [
            (namespace, Digest(digest))
            for namespace, digest in places
            if connection.execute(QUERIES["remove_unused_blob"], (namespace, digest)).rowcount
        ]

    return batch.Change(erase, len(places))
