"""Copies of a data file: taken while a server writes to it, and put back in its place.

A copy is one plain file without a log beside it, for its owner alone, complete and on the disk before it gets its name.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from orcs_server.errors import StartupError
from orcs_server.storage.audit import SERVER, AuditDraft, details_of
from orcs_server.storage.sqlite import audit
from orcs_server.storage.sqlite.faults import startup_error
from orcs_server.storage.sqlite.lock import FileLock
from orcs_server.storage.sqlite.migrate import create_file, read_version, refuse_foreign
from orcs_server.storage.sqlite.queries import QUERIES

AUDIT_SINCE = 7
"""The version of the schema from which on there is an audit log."""
LOGS = ("-wal", "-shm")
"""What SQLite keeps beside a file that is in use, by the end of its name."""


class Copied(NamedTuple):
    """What a copy holds."""

    path: Path
    version: int
    """Of the schema."""
    epoch: str
    position: int
    """Of the last event in it."""
    size: int
    """Bytes."""


class Restored(NamedTuple):
    """A data file that was put back."""

    copied: Copied
    aside: Path | None
    """Where the file that was there before is now; None when there was none."""


def connect_reader(path: Path) -> sqlite3.Connection:
    """Return a connection that cannot write to a data file, be it in use or not. Raises StartupError unless it is ours."""
    if not path.is_file():
        raise StartupError(f"There is no data file {path}: check its name.")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0, isolation_level=None)
    except sqlite3.Error as error:
        raise startup_error(path, error) from error
    try:
        refuse_foreign(connection, path)
        if not read_version(connection):
            raise StartupError(f"{path} is empty: check its name.")
    except sqlite3.Error as error:
        connection.close()
        raise startup_error(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def back_up(path: Path, copy: Path) -> Copied:
    """Copy a data file as of one moment, whether or not a server is using it, and return once the copy is on the disk.

    Raises StartupError when the copy's name is taken, the file is damaged, or one of the two disks is in trouble; then no
    copy is left behind.
    """
    _refuse_taken(copy)
    with closing(connect_reader(path)) as source, _draft(copy) as draft:
        copied = _copy(source, path, draft, copy)
        try:
            # Unlike a rename, this cannot replace a file that has come into being meanwhile.
            os.link(draft, copy)
        except FileExistsError:
            _refuse_taken(copy)
        except OSError as error:
            raise StartupError(f"{copy} cannot be made ({error.strerror}): choose another place.") from error
    _sync_folder(copy)
    return copied


def restore_copy(copy: Path, path: Path) -> Restored:
    """Put a copy in the place of a data file, under a new log epoch, and keep what was there under another name.

    The copy itself is left alone. Raises StartupError when a server is using the file, or the copy is none, is damaged or
    is newer than this program; then everything stays as it was.
    """
    if copy.exists() and path.exists() and copy.samefile(path):
        raise StartupError(f"{copy} is the data file itself: name the copy that is to take its place.")
    with closing(connect_reader(copy)) as source:
        lock = FileLock(path)
        lock.acquire()
        try:
            with _draft(path) as draft:
                copied = _copy(source, copy, draft, path, renew=True)
                aside = _set_aside(path)
                draft.replace(path)
                _sync_folder(path)
        finally:
            lock.release()
    return Restored(copied, aside)


def _refuse_taken(copy: Path) -> None:
    if os.path.lexists(copy):
        raise StartupError(f"{copy} exists already: choose another name for the copy.")


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """Give a new, empty file beside the target, and remove it if it is still there afterwards."""
    draft = target.with_name(f"{target.name}.{os.getpid()}.new")
    _remove(draft)
    create_file(draft)
    try:
        yield draft
    finally:
        _remove(draft)


def _remove(draft: Path) -> None:
    for end in ("", "-journal", *LOGS):
        draft.with_name(draft.name + end).unlink(missing_ok=True)


def _copy(source: sqlite3.Connection, path: Path, draft: Path, target: Path, *, renew: bool = False) -> Copied:
    """Copy, check and sync. `path` and `target` are the names for errors."""
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as written:
            # In one go: a copy in several would begin anew with every commit of a server.
            source.backup(written)
            if written.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise StartupError(f"{path} is damaged, so it was not copied: `orcs doctor` says where.")
            written.execute("PRAGMA journal_mode = DELETE")
            if renew:
                written.execute(QUERIES["renew_epoch"])
                _record_restore(written)
            (epoch,) = written.execute(QUERIES["epoch"]).fetchone()
            (position,) = written.execute(QUERIES["last_position"]).fetchone()
            version = read_version(written)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "") or ""
        damaged = name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
        raise startup_error(path if damaged else target, error) from error
    except OSError as error:
        raise StartupError(f"{target} cannot be written ({error.strerror}): check its disk.") from error
    return Copied(target, version, epoch, position, draft.stat().st_size)


def _record_restore(connection: sqlite3.Connection) -> None:
    """Write into every chain of the audit log that it goes on from a copy, and into the server's."""
    if read_version(connection) < AUDIT_SINCE:
        return
    (epoch,) = connection.execute(QUERIES["epoch"]).fetchone()
    # Nothing of where others stand: each namespace reads its own chain.
    details = details_of({"epoch": epoch})
    draft = AuditDraft(time.time_ns() // 1000, "system.restore", "file", "operator", resource="*", details=details)
    chains = {row[0] for row in connection.execute(QUERIES["all_audit_chains"])} | {SERVER}
    audit.append(connection, [(namespace, draft) for namespace in sorted(chains)])


def _set_aside(path: Path) -> Path | None:
    """Give the data file a second name, whole with its log, and leave only the file itself under the first one.

    At no moment is there a file without what its log holds, or a log beside a file that it does not belong to.
    """
    if not path.exists():
        return None
    _fold_log(path)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.replaced-{stamp}")
    number = 1
    while os.path.lexists(aside):
        number += 1
        aside = path.with_name(f"{path.name}.replaced-{stamp}-{number}")
    logs = [end for end in LOGS if path.with_name(path.name + end).exists()]
    try:
        for end in ("", *logs):
            os.link(path.with_name(path.name + end), aside.with_name(aside.name + end))
        _sync_folder(path)
        for end in logs:
            path.with_name(path.name + end).unlink()
    except OSError as error:
        raise StartupError(f"{path} cannot be kept as {aside} ({error.strerror}): move it away yourself.") from error
    _sync_folder(path)
    return aside


def _fold_log(path: Path) -> None:
    """Bring what the log of a killed server holds into the file, so that the file alone is complete."""
    try:
        connect_reader(path).close()
        with closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except (sqlite3.Error, StartupError):
        # A file too damaged for that is kept with its log as it is.
        return


def _sync_folder(path: Path) -> None:
    folder = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
