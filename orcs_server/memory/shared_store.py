"""Data files opened by programs that embed ORCS: one store for a file and an event loop, whoever asks for it, closed when the
last one has given it back, or else with the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

from orcs_server.errors import StartupError
from orcs_server.storage.sqlite import SqliteStore

_FOLDER_MODE = 0o700


class SharedStore:
    """An open data file with its users."""

    def __init__(self, path: Path) -> None:
        self.store = SqliteStore(path)
        self.executing: set[tuple[str, str]] = set()
        """(namespace, workflow id) of what is being planned or carried out: nobody else may at the same time."""
        self._path = path
        self._users = 0
        self._turn = asyncio.Lock()
        self._open: AsyncGenerator[None, None] | None = None

    async def enter(self) -> None:
        """Open the file unless it is open. Raises StartupError."""
        self._users += 1
        try:
            async with self._turn:
                if self._open is None:
                    try:
                        self._path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
                    except OSError as error:
                        raise StartupError(
                            f"the folder {self._path.parent} of the data file cannot be made: {error.strerror}"
                        ) from None
                    opened = self._while_open()
                    await anext(opened)
                    self._open = opened
        except BaseException:
            self._users -= 1
            raise

    async def leave(self) -> bool:
        """Close the file after its last user; return whether nobody is left."""
        self._users -= 1
        async with self._turn:
            if self._users == 0 and self._open is not None:
                opened, self._open = self._open, None
                await opened.aclose()
        return self._users == 0

    async def _while_open(self) -> AsyncGenerator[None, None]:
        """Open, and close in the end. A generator, because an event loop closes those that were left open when it ends."""
        await self.store.open()
        try:
            yield
        finally:
            await self.store.close()


_shared: dict[tuple[Path, asyncio.AbstractEventLoop], SharedStore] = {}


async def borrow(path: Path) -> SharedStore:
    """Return the store of a file (an absolute, resolved path), open. Give it back. Raises StartupError: such as for a file that a server has open."""
    for key in [key for key in _shared if key[1].is_closed()]:
        del _shared[key]
    key = (path, asyncio.get_running_loop())
    shared = _shared.get(key)
    if shared is None:
        shared = _shared[key] = SharedStore(key[0])
    await shared.enter()
    return shared


async def give_back(path: Path) -> None:
    """Give back what was borrowed in this event loop."""
    key = (path, asyncio.get_running_loop())
    if await _shared[key].leave():
        _shared.pop(key, None)
