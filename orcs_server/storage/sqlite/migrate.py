"""Opens a data file: creates it for its owner alone, and brings an older one up to this program's version, or refuses it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from orcs_server.errors import StartupError
from orcs_server.storage.sqlite.checkpoints import LOG_PAGES
from orcs_server.storage.sqlite.faults import startup_error
from orcs_server.storage.sqlite.memory.index import complete_migration

APPLICATION_ID = 0x4F524353
"""`ORCS`: tells our files from other SQLite databases."""

PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    f"wal_autocheckpoint = {LOG_PAGES}",
    "cache_size = -4096",
    "trusted_schema = OFF",
    "secure_delete = ON",
)
"""Of the writer: durable at every commit; a checkpoint of its own only where those beside it fall behind (`checkpoints.py`); 4 MiB of
pages in memory at most, the rest is in the operating system's; what is removed is overwritten, since a purge of memory has to reach what was removed before it, too."""


def _load() -> tuple[str, ...]:
    folder = files("orcs_server.storage.sqlite").joinpath("migrations")
    scripts = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return tuple(script.read_text(encoding="utf-8") for script in scripts)


MIGRATIONS = _load()
"""The scripts in order; the n-th brings a file to version n."""
MEMORY = MIGRATIONS[4]
"""After this one, what memory holds is measured and indexed, which SQL alone cannot do: values are compressed."""


def create_file(path: Path) -> None:
    """Make sure that the file exists; a new one is for its owner alone (0600). Raises StartupError if that fails."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StartupError(
            f"{path} cannot be opened for writing ({error.strerror}): "
            "check that its directory exists and that the server's user may write to it."
        ) from error


def connect_writer(path: Path) -> sqlite3.Connection:
    """Return the writing connection to a file of this program's version. Raises StartupError saying what to do."""
    try:
        connection = sqlite3.connect(
            path, timeout=5.0, isolation_level=None, cached_statements=256, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise startup_error(path, error) from error
    try:
        refuse_foreign(connection, path)
        _refuse_without_search(connection)
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        migrate(connection)
        # From now on it works on the event loop: another program that locks the file must not hold that up for long.
        connection.execute("PRAGMA busy_timeout = 100")
    except sqlite3.Error as error:
        connection.close()
        raise startup_error(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection, scripts: tuple[str, ...] = MIGRATIONS) -> None:
    """Apply the scripts that the file has not seen, each in a transaction of its own."""
    for version, script in enumerate(scripts, start=1):
        if version <= _pragma(connection, "user_version"):
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in _statements(script):
                connection.execute(statement)
            if script is MEMORY:
                complete_migration(connection)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    """Raise StartupError for a file of another program, or of a newer version of this one."""
    application, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    empty = not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application != APPLICATION_ID and not empty:
        raise StartupError(f"{path} is a database of another program: choose another file with --data.")
    if version > len(MIGRATIONS):
        raise StartupError(
            f"{path} has version {version} and this program knows versions up to {len(MIGRATIONS)}: "
            "install a newer orcs, or choose another file with --data."
        )


def _refuse_without_search(connection: sqlite3.Connection) -> None:
    if connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchone() is None:
        raise StartupError("Python's SQLite has no full-text search (FTS5): use a Python whose SQLite has it.")


def read_version(connection: sqlite3.Connection) -> int:
    """Return the version of the file's schema; 0 for an empty file."""
    return _pragma(connection, "user_version")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _statements(script: str) -> Iterator[str]:
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if pending.strip():
        yield pending
