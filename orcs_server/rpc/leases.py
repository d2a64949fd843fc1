"""Streams end soon after their caller's token does: all that are open are looked at every second, whatever they are busy with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from orcs_server.errors import OrcsError
from orcs_server.identity import Caller

LOOK_EVERY_S: Final = 1.0
"""The registry of tokens is looked at as often; so a token that is revoked has no stream left after some two seconds."""

_log = logging.getLogger("orcs.rpc")


class _Lease:
    """A stream that is open, and the task that serves it."""

    def __init__(self, identify: Callable[[], Caller], task: asyncio.Task[object]) -> None:
        self.identify = identify
        self.task = task
        self.cancellations = task.cancelling()
        self.ended: OrcsError | None = None


class Leases:
    """The open streams of a server. One task looks after all of them, while there are any."""

    def __init__(self, look_every_s: float = LOOK_EVERY_S) -> None:
        self._look_every_s = look_every_s
        self._open: set[_Lease] = set()
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def hold(self, identify: Callable[[], Caller]) -> Iterator[None]:
        """Serve a stream within the block. Raises there what `identify` raises for a caller that is no longer welcome."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a stream is served by a task")
        lease = _Lease(identify, task)
        self._open.add(lease)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="leases")
        try:
            yield
        except asyncio.CancelledError:
            # A client that goes away at the same moment cancels once more, and that one counts.
            if lease.ended is None or task.uncancel() > lease.cancellations:
                raise
            raise lease.ended from None
        finally:
            self._open.discard(lease)

    async def _look(self) -> None:
        while self._open:
            await asyncio.sleep(self._look_every_s)
            for lease in tuple(self._open):
                if lease.ended is None:
                    self._check(lease)
        self._looking = None

    def _check(self, lease: _Lease) -> None:
        try:
            lease.identify()
        except OrcsError as error:
            lease.ended = error
        except Exception:  # noqa: BLE001 - what is wrong here is no reason to end anybody's stream
            _log.exception("a stream's caller could not be looked at; the stream goes on until the next look")
            return
        if lease.ended is not None:
            lease.task.cancel()
