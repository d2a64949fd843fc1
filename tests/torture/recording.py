"""Records what SQLite has the operating system do to a database's files: every write, truncation, deletion and fsync, in order.

SQLite reaches files through a table of functions. Here the default one's entry for opening is replaced by a function that opens
the file as before and puts recording functions into its table; so it works on any connection of this process.
"""

from __future__ import annotations

import ctypes as c
import os
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

HEAD = struct.Struct("<qcqqi")
"""Time (monotonic, ns), kind, offset, length of the bytes, length of the file's name."""
WRITE, TRUNCATE, DELETE, SYNC = b"w", b"t", b"d", b"s"
_TEMPORARY = 0x0E00 | 0x2000 | 0x1000


class Operation(NamedTuple):
    """One thing that was done to a file."""

    time_ns: int
    kind: bytes
    file: str
    offset: int
    body: bytes


def read_trace(path: Path) -> Iterator[Operation]:
    """Yield the operations of a trace. What the killed process wrote last may be half there: it is left out."""
    content = path.read_bytes()
    place = 0
    while place + HEAD.size <= len(content):
        time_ns, kind, offset, size, name_size = HEAD.unpack_from(content, place)
        start = place + HEAD.size
        place = start + name_size + size
        if place > len(content):
            return
        name = content[start : start + name_size].decode()
        yield Operation(time_ns, kind, name, offset, content[start + name_size : place])


_OPEN = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_char_p, c.c_void_p, c.c_int, c.c_void_p)
_DELETE = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_char_p, c.c_int)
_CLOSE = c.CFUNCTYPE(c.c_int, c.c_void_p)
_WRITE = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_int, c.c_int64)
_TRUNCATE = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_int64)
_SYNC = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_int)


class _Vfs(c.Structure):
    _fields_ = (
        ("iVersion", c.c_int),
        ("szOsFile", c.c_int),
        ("mxPathname", c.c_int),
        ("pNext", c.c_void_p),
        ("zName", c.c_char_p),
        ("pAppData", c.c_void_p),
        ("xOpen", c.c_void_p),
        ("xDelete", c.c_void_p),
    )


class _Methods(c.Structure):
    """The functions of an open file, version 3 of the table."""

    _fields_ = (
        ("iVersion", c.c_int),
        ("xClose", c.c_void_p),
        ("xRead", c.c_void_p),
        ("xWrite", c.c_void_p),
        ("xTruncate", c.c_void_p),
        ("xSync", c.c_void_p),
        ("others", c.c_void_p * 13),
    )


class _File(c.Structure):
    _fields_ = (("pMethods", c.POINTER(_Methods)),)


def available() -> bool:
    """Return whether Python's SQLite is a library whose functions can be reached (it is not, built into Python)."""
    return _library() is not None


def _library() -> c.CDLL | None:
    import _sqlite3

    try:
        library = c.CDLL(getattr(_sqlite3, "__file__", None))
        library.sqlite3_vfs_find.restype = c.POINTER(_Vfs)
        library.sqlite3_libversion.restype = c.c_char_p
    except (AttributeError, OSError):
        return None
    return library if library.sqlite3_libversion().decode() == sqlite3.sqlite_version else None


_installed: list[Recorder] = []
"""SQLite calls them for as long as the process lives: nobody may collect them."""


class Recorder:
    """Appends to the trace what is done to files that lie in `folder`."""

    def __init__(self, trace: Path, folder: Path) -> None:
        self._trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._folder = os.fsencode(folder)
        self._names: dict[int, bytes] = {}
        self._tables: dict[int, _Methods] = {}
        self._kept: list[Any] = []

    def install(self) -> None:
        """Record every file that is opened from now on in this process, for as long as it lives."""
        _installed.append(self)
        library = _library()
        assert library is not None
        vfs = library.sqlite3_vfs_find(None).contents
        vfs.xOpen = self._keep(_OPEN, self._opening(_OPEN(vfs.xOpen)))
        vfs.xDelete = self._keep(_DELETE, self._deleting(_DELETE(vfs.xDelete)))

    def _keep(self, kind: Any, function: Callable[..., int]) -> int:
        callback = kind(function)
        self._kept.append(callback)
        return c.cast(callback, c.c_void_p).value or 0

    def _note(self, kind: bytes, name: bytes, offset: int = 0, body: bytes = b"") -> None:
        short = name.rpartition(b"/")[2]
        head = HEAD.pack(time.monotonic_ns(), kind, offset, len(body), len(short))
        os.write(self._trace, head + short + body)

    def _opening(self, plain: Callable[..., int]) -> Callable[..., int]:
        def opened(vfs: int, name: bytes | None, file: int, flags: int, out: int) -> int:
            result = plain(vfs, name, file, flags, out)
            if result == 0 and name is not None and not flags & _TEMPORARY and name.startswith(self._folder):
                self._names[file] = name
                handle = _File.from_address(file)
                address = c.addressof(handle.pMethods.contents)
                if address not in self._tables:
                    self._tables[address] = self._recording(handle.pMethods.contents)
                handle.pMethods = c.pointer(self._tables[address])
            return result

        return opened

    def _deleting(self, plain: Callable[..., int]) -> Callable[..., int]:
        def deleted(vfs: int, name: bytes, sync_folder: int) -> int:
            result = plain(vfs, name, sync_folder)
            if result == 0 and name.startswith(self._folder):
                self._note(DELETE, name)
                if sync_folder:
                    self._note(SYNC, name)
            return result

        return deleted

    def _recording(self, plain: _Methods) -> _Methods:
        """Return the table with recording functions. Before a write, since it may be lost; after an fsync, since it counts then."""
        table = _Methods()
        c.memmove(c.byref(table), c.byref(plain), c.sizeof(_Methods))
        write, truncate, sync = _WRITE(plain.xWrite), _TRUNCATE(plain.xTruncate), _SYNC(plain.xSync)

        def written(file: int, body: int, size: int, offset: int) -> int:
            self._note(WRITE, self._names[file], offset, c.string_at(body, size))
            return int(write(file, body, size, offset))

        def truncated(file: int, size: int) -> int:
            self._note(TRUNCATE, self._names[file], size)
            return int(truncate(file, size))

        def synced(file: int, flags: int) -> int:
            result = sync(file, flags)
            if result == 0:
                self._note(SYNC, self._names[file])
            return int(result)

        table.xWrite = self._keep(_WRITE, written)
        table.xTruncate = self._keep(_TRUNCATE, truncated)
        table.xSync = self._keep(_SYNC, synced)
        return table
