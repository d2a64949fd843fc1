"""Files that only their owner may read: checked before they are trusted, replaced in one piece."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from orcs_server.errors import StartupError

PRIVATE_MODE = 0o600
PRIVATE_FOLDER_MODE = 0o700


def check_private(path: Path, status: os.stat_result) -> None:
    """Raise `StartupError` unless `path` is a plain file of this user which nobody else may read or write."""
    if not stat.S_ISREG(status.st_mode):
        raise StartupError(f"{path} is not a plain file: remove it and start again")
    if status.st_uid != os.geteuid():
        raise StartupError(f"{path} belongs to another user (uid {status.st_uid}): change its owner or remove it")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise StartupError(f"{path} may be read or changed by others (mode {mode:04o}): run `chmod 600 {path}`")


def read_private(path: Path, limit: int) -> tuple[bytes, os.stat_result] | None:
    """Return the bytes of `path` and what `stat` said of them; None if there is no such file.

    Raises `StartupError` if others may read it, if it is larger than `limit` bytes, or if it cannot be read.
    """
    try:
        # O_NONBLOCK, so that a named pipe in this place cannot hang the server; it changes nothing for files.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StartupError(
            f"{path} cannot be opened ({error.strerror}): it must be a plain file of this user"
        ) from None
    try:
        status = os.fstat(descriptor)
        check_private(path, status)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    finally:
        os.close(descriptor)
    if len(content) > limit:
        raise StartupError(f"{path} is larger than {limit} bytes: it is not a file that this program wrote")
    return content, status


def replace_private(path: Path, content: bytes) -> None:
    """Put `content` in the place of `path`, mode 0600, so that a crash leaves the old file or the new one.

    Raises `OSError` if the folder cannot be written.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), PRIVATE_MODE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` for the length of the block, against other writers on this machine; waits for it.

    The lock has a file of its own, because the file that it guards is replaced and not rewritten.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
