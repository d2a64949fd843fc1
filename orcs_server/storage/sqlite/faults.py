"""What SQLite's errors mean to those who start the server and to those who call it."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from pathlib import Path

from orcs_server.errors import StartupError, Unavailable

ROOM = 1024 * 1024
"""Bytes that must fit on a disk that was in trouble before it counts as well again."""


def is_full(error: BaseException) -> bool:
    """True when there is no room for a write."""
    return (getattr(error, "sqlite_errorname", "") or "").startswith("SQLITE_FULL")


def unavailable(error: BaseException) -> Unavailable:
    """Return the caller's error for a fault of the database: it says what to do and leaks no internals."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if is_full(error):
        text = "The disk of the data file is full; try again when the operator has made room."
    elif name.startswith("SQLITE_READONLY"):
        text = "The data file cannot be written any more; try again when the operator has made it writable."
    elif is_damage(error):
        text = "The data file is damaged; ask the operator to restore it from a backup."
    else:
        text = (
            "The storage does not answer; try again, and ask the operator to look into the server's log if it goes on."
        )
    return Unavailable("STORAGE_UNAVAILABLE", text)


def probe_room(path: Path) -> None:
    """Return when there is room beside the data file for more than a write needs. Raises Unavailable otherwise.

    A small write alone would not tell: on a full disk it may still fit into what the log has already.
    """
    try:
        with tempfile.TemporaryFile(prefix=f"{path.name}.", dir=path.parent) as probe:
            probe.write(bytes(ROOM))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise Unavailable(
            "STORAGE_UNAVAILABLE",
            "The disk of the data file takes no writes; try again when the operator has mended it.",
        ) from error


def is_damage(error: BaseException) -> bool:
    """True when the file holds what SQLite never wrote."""
    return (getattr(error, "sqlite_errorname", "") or "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def is_fault(error: BaseException) -> bool:
    """True when the database is at fault (disk, damage, locks), not one of the writes."""
    mild = sqlite3.IntegrityError | sqlite3.DataError | sqlite3.ProgrammingError | sqlite3.InterfaceError
    return isinstance(error, sqlite3.Error) and not isinstance(error, mild)


def startup_error(path: Path, error: sqlite3.Error) -> StartupError:
    """Return why the file cannot be opened, and what to do about it."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_NOTADB"):
        return StartupError(f"{path} is not an ORCS data file: choose another one with --data.")
    if name.startswith("SQLITE_CORRUPT"):
        return StartupError(f"{path} is damaged: restore it from a backup, or choose another file with --data.")
    if name.startswith(("SQLITE_READONLY", "SQLITE_PERM")):
        return StartupError(f"{path} cannot be written: give the server's user write access to it and its directory.")
    if name.startswith("SQLITE_BUSY"):
        return StartupError(f"{path} is in use by another program: close that one and start again.")
    if name.startswith("SQLITE_FULL"):
        return StartupError(f"The disk of {path} is full: make room and start again.")
    return StartupError(f"{path} cannot be opened ({error}): check the file, its directory and the disk.")
