"""Each fault of SQLite becomes one sentence that says what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from orcs_server.storage.sqlite.faults import startup_error, unavailable


def fault(name: str) -> sqlite3.Error:
    error = sqlite3.OperationalError("secret detail of /some/path")
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("SQLITE_NOTADB", "choose another one"),
        ("SQLITE_CORRUPT_VTAB", "restore it from a backup"),
        ("SQLITE_READONLY_DIRECTORY", "write access"),
        ("SQLITE_BUSY", "close that one"),
        ("SQLITE_FULL", "make room"),
        ("SQLITE_IOERR_READ", "check the file"),
    ],
)
def test_a_fault_at_start_names_the_file_and_what_to_do(name: str, advice: str) -> None:
    message = str(startup_error(Path("orcs.db"), fault(name)))
    assert message.startswith(("orcs.db", "The disk of orcs.db"))
    assert advice in message


@pytest.mark.parametrize(
    ("name", "advice"), [("SQLITE_FULL", "made room"), ("SQLITE_NOTADB", "backup"), ("SQLITE_IOERR_FSYNC", "try again")]
)
def test_a_fault_in_use_leaks_no_detail(name: str, advice: str) -> None:
    error = unavailable(fault(name))
    assert error.reason == "STORAGE_UNAVAILABLE"
    assert advice in error.message
    assert "secret" not in error.message
