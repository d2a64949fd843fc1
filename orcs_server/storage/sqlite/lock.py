"""The lock that keeps a second server off a data file: `<file>.lock`, held for as long as the store is open."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from orcs_server.errors import StartupError


class FileLock:
    """Sole use of a data file. The operating system lets go of it when the program ends, however it ends."""

    def __init__(self, data_file: Path) -> None:
        self._data_file = data_file
        self._path = data_file.with_name(data_file.name + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock and note this process's id in it. Raises StartupError when another server holds it."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartupError(
                f"The lock file {self._path} cannot be opened ({error.strerror}): "
                "check that its directory exists and that the server's user may write to it."
            ) from error
        try:
            # flock, not lockf: it also keeps off a second store of the same process.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            if holder == str(os.getpid()):
                raise StartupError(
                    f"{self._data_file} is in use in this very process (process id {holder}), perhaps by another event loop: close it "
                    "there first, or choose another file."
                ) from None
            raise StartupError(
                f"{self._data_file} is in use by the server with process id {holder}: "
                "stop that one first, or choose another file with --data."
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise StartupError(
                f"{self._path} cannot be locked ({error.strerror}): put the data file on a local disk."
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go. The file stays: removing it would let two servers lock two files of one name."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
