"""The audit log looked at in the data file itself, without a server: by `orcs doctor`, and by `orcs audit server`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from orcs_server.storage.audit import AuditChain, AuditRecord, ChainWalk, Misfit
from orcs_server.storage.sqlite.audit import chain_of, record_of
from orcs_server.storage.sqlite.copies import AUDIT_SINCE, connect_reader
from orcs_server.storage.sqlite.migrate import read_version
from orcs_server.storage.sqlite.queries import QUERIES

PIECE: Final = 1_000


def misfits(connection: sqlite3.Connection) -> Iterator[tuple[str, Misfit]]:
    """Go along every chain; yield the namespaces of those that do not fit, with the first record that does not."""
    for namespace, *chain in connection.execute(QUERIES["all_audit_chains"]).fetchall():
        misfit = _misfit(connection, namespace, AuditChain(*chain))
        if misfit is not None:
            yield namespace, misfit
    for (namespace,) in connection.execute(QUERIES["stray_audit_records"]).fetchall():
        yield namespace, Misfit(1, "There are records, and no note of where their chain ends.")


def newest(path: Path, namespace: str, limit: int) -> list[AuditRecord]:
    """Return the newest records of a chain, the oldest of them first; 0: all. Raises StartupError for a file that is none of ours."""
    with closing(connect_reader(path)) as connection:
        if read_version(connection) < AUDIT_SINCE:
            return []
        connection.execute("BEGIN")
        chain = chain_of(connection, namespace)
        after = max(chain.number - limit, 0) if limit else 0
        rows = connection.execute(QUERIES["audit_records"], (namespace, after, -1))
        return [record_of(namespace, row) for row in rows]


def _misfit(connection: sqlite3.Connection, namespace: str, chain: AuditChain) -> Misfit | None:
    walk = ChainWalk(namespace, chain)
    # From 0 and not from where the chain is said to begin: nothing may be left before that.
    after = 0
    while rows := connection.execute(QUERIES["audit_records"], (namespace, after, PIECE)).fetchall():
        records = [record_of(namespace, row) for row in rows]
        misfit = walk.take(records)
        if misfit is not None:
            return misfit
        after = records[-1].number
    return walk.end()
