"""Threads for hooks that block. The standard pool joins its threads when the program ends, so that one hook that hangs
would keep the server from ending; these threads are daemons, and a call that nobody waits for any more is skipped.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any

WAITING_LIMIT = 1_000
"""Calls that may wait for a thread. Without it, hooks that hang for good would make the server grow with every call."""

_Call = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop, contextvars.Context]


class DaemonThreads:
    """At most `limit` threads, started when needed."""

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._unfinished = 0

    def submit(self, call: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run `call` in a thread, in the current context. Cancelling the future before its turn drops the call.

        Raises RuntimeError where more than 1,000 calls wait already.
        """
        if self._unfinished >= self._limit + WAITING_LIMIT:
            raise RuntimeError(f"all {self._limit} threads for hooks are busy and {WAITING_LIMIT} calls wait for them")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._calls.put((call, future, loop, contextvars.copy_context()))
        with self._lock:
            self._unfinished += 1
            grow = self._unfinished > len(self._threads) < self._limit
        if grow:
            thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def close(self) -> None:
        """Let the threads end after what is queued. Waits for none of them."""
        for _ in self._threads:
            self._calls.put(None)

    def _work(self) -> None:
        while True:
            item = self._calls.get()
            if item is None:
                return
            _run(*item)
            with self._lock:
                self._unfinished -= 1


def _run(
    call: Callable[[], Any],
    future: asyncio.Future[Any],
    loop: asyncio.AbstractEventLoop,
    context: contextvars.Context,
) -> None:
    if future.cancelled():
        return
    result: Any = None
    failure: BaseException | None = None
    try:
        result = context.run(call)
    except StopIteration as error:  # a future cannot carry it
        failure = RuntimeError(f"the hook raised {error!r}")
    except BaseException as error:  # noqa: BLE001 - also SystemExit: a hook must not end its thread
        failure = error

    def settle() -> None:
        if future.done():
            return
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)

    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:
        return  # the loop ended meanwhile, so nobody waits for this any more
