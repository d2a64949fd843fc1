"""Threads for hooks that block, shared by tenants in turn: hooks of one of them that hang leave room for the others.

The standard pool joins its threads when the program ends, so that one hook that hangs would keep the server from ending; these
threads are daemons, and a call that nobody waits for any more is skipped.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final

from orcs_server.identity.fairness import Shares, Turns

WAITING_LIMIT: Final = 1_000
"""Calls that may wait for a thread, shared by the tenants. Without it, hooks that hang for good would make the server grow."""
STUCK_LIMIT: Final = 64
"""Threads that may hang in calls which nobody waits for any more, and be replaced by others."""


class _Stage(Enum):
    WAITING = auto()
    RUNNING = auto()
    STUCK = auto()
    """Running, and nobody waits for it any more."""
    DONE = auto()


class _Call:
    __slots__ = ("act", "context", "future", "loop", "stage", "whose")

    def __init__(self, whose: str, act: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        self.whose = whose
        self.act = act
        self.future = future
        self.loop = future.get_loop()
        self.context = contextvars.copy_context()
        self.stage = _Stage.WAITING


class DaemonThreads:
    """At most `limit` threads at work, started when needed; one tenant may have half of them.

    A thread whose call is given up by whoever waited for it counts as stuck until the call returns: another one takes its place, but
    its tenant has one less. So a tenant whose hooks hang ends up with no thread, and the others have theirs.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._share = max(limit // 2, 1)
        self._name = name
        self._waiting: Turns[_Call] = Turns()
        self._room = Shares(WAITING_LIMIT)
        self._held: Counter[str] = Counter()
        """Threads by tenant, stuck ones included."""
        self._busy = 0
        """Threads with a call that somebody waits for."""
        self._stuck = 0
        self._idle = 0
        self._started = 0
        self._closed = False
        self._ready = threading.Condition()

    def submit(self, act: Callable[[], Any], whose: str = "") -> asyncio.Future[Any]:
        """Run `act` in a thread, in the current context. Cancelling the future before its turn drops the call.

        `whose` is the tenant. Raises RuntimeError where too many calls of it wait already.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        call = _Call(whose, act, future)
        with self._ready:
            if not self._room.take(whose):
                raise RuntimeError(
                    f"all threads for hooks are busy and {self._room.held(whose)} calls of this tenant wait for them"
                )
            self._waiting.put(whose, call)
            self._advance()
        future.add_done_callback(lambda _: self._let_go(call))
        return future

    def close(self) -> None:
        """Let the threads end after what is queued. Waits for none of them."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def _let_go(self, call: _Call) -> None:
        """Take note that nobody waits for a call any more; one that was given up while it ran leaves its thread stuck."""
        if not call.future.cancelled():
            return
        with self._ready:
            if call.stage is _Stage.WAITING:
                self._waiting.drop(call.whose, call)
                self._room.give(call.whose)
            elif call.stage is _Stage.RUNNING:
                call.stage = _Stage.STUCK
                self._busy -= 1
                self._stuck += 1
                self._advance()

    def _advance(self) -> None:
        """Have a thread look for a call that may run now. The lock is held."""
        if not len(self._waiting) or self._busy >= self._limit:
            return
        if self._idle:
            self._ready.notify()
        elif self._started - self._stuck < self._limit and self._stuck <= STUCK_LIMIT:
            self._started += 1
            threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True).start()

    def _take(self) -> _Call | None:
        """Return the call that is next: the tenants take turns, and none has more threads than its share."""
        call = None
        if self._busy < self._limit:
            call = self._waiting.take(lambda whose: self._held[whose] < self._share)
        if call is not None:
            self._room.give(call.whose)
            self._held[call.whose] += 1
            self._busy += 1
            call.stage = _Stage.RUNNING
        return call

    def _give_back(self, call: _Call) -> bool:
        """Take note that a call has returned; return whether its thread goes on."""
        self._held[call.whose] -= 1
        if not self._held[call.whose]:
            del self._held[call.whose]
        if call.stage is _Stage.STUCK:
            self._stuck -= 1
        else:
            self._busy -= 1
        call.stage = _Stage.DONE
        # Another one has taken the place of a thread that was stuck.
        if self._started - self._stuck > self._limit:
            self._started -= 1
            self._advance()
            return False
        return True

    def _work(self) -> None:
        while True:
            with self._ready:
                call = self._take()
                while call is None:
                    if self._closed and not len(self._waiting):
                        return
                    self._idle += 1
                    self._ready.wait()
                    self._idle -= 1
                    call = self._take()
                # A single wake-up may stand for several calls.
                self._advance()
            _run(call)
            with self._ready:
                if not self._give_back(call):
                    return


def _run(call: _Call) -> None:
    future = call.future
    if future.cancelled():
        return
    result: Any = None
    failure: BaseException | None = None
    try:
        result = call.context.run(call.act)
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
        call.loop.call_soon_threadsafe(settle)
    except RuntimeError:
        return  # the loop ended meanwhile, so nobody waits for this any more
