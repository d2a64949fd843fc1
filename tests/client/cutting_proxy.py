"""A TCP proxy that resets each connection after a given number of bytes from the server, wherever in a frame that falls."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self


class CuttingProxy:
    """Connections take one of `budgets` each, in order; those after the last one pass unharmed."""

    def __init__(self, upstream: int) -> None:
        self.budgets: list[int] = []
        self._upstream = upstream
        self._carried: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._server.close()
        for task in self._carried:
            task.cancel()
        await asyncio.gather(*self._carried, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        budget = self.budgets.pop(0) if self.budgets else None
        answers, questions = await asyncio.open_connection("127.0.0.1", self._upstream)
        tasks = {
            asyncio.create_task(self._carry(reader, questions, None)),
            asyncio.create_task(self._carry(answers, writer, budget)),
        }
        self._carried |= tasks
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        writer.transport.abort()
        questions.transport.abort()

    @staticmethod
    async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter, budget: int | None) -> None:
        with suppress(ConnectionError):
            while chunk := await source.read(4096 if budget is None else min(4096, budget)):
                target.write(chunk)
                await target.drain()
                if budget is not None:
                    budget -= len(chunk)
