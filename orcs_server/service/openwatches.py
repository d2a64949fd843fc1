"""The watches that are open: how many a caller has, that all end when the server goes down, and that none outlives its leave."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from orcs_server.errors import ResourceExhausted, Unavailable
from orcs_server.identity import Caller, Clock
from orcs_server.identity.fairness import Shares
from orcs_server.identity.quotas import NO_QUOTAS, QuotaKind, Quotas, UsedUp, exceeded
from orcs_server.service.validation import Findings

HEARTBEAT_US = 15_000_000
SHORTEST_HEARTBEAT_US, LONGEST_HEARTBEAT_US = 1_000_000, 300_000_000
RECHECK_S = 5.0
"""How long a watch goes on without its caller being looked at again."""
RETRY_AFTER_US = 5_000_000
WATCHES = 4_000
"""Of the whole server; one namespace may have as many as there is room for others'."""


class WatchCut(Unavailable):
    """The server goes down. Watching again after `cursor` misses nothing."""

    def __init__(self, cursor: str) -> None:
        super().__init__(
            "SERVER_DRAINING", "The server is going down: watch again after the cursor, on a new connection."
        )
        self.cursor = cursor


class OpenWatches:
    """All open watches of a server."""

    def __init__(self, max_per_caller: int, quotas: Quotas = NO_QUOTAS, clock: Clock | None = None) -> None:
        self.draining = False
        self._quotas = quotas
        self._clock = clock or Clock()
        self._max_per_caller = max_per_caller
        self._open = Shares(WATCHES)
        self._by_caller: Counter[tuple[str, str]] = Counter()
        self._wakes: set[Callable[[], None]] = set()

    def count(self, namespace: str) -> int:
        """Return how many watches of a namespace are open."""
        return self._open.held(namespace)

    def __len__(self) -> int:
        return len(self._wakes)

    @contextmanager
    def enter(self, caller: Caller, wake: Callable[[], None]) -> Iterator[None]:
        """Count a watch while it is open. Raises ResourceExhausted (QUOTA_EXCEEDED) when the caller or its namespace has too many."""
        whose = (caller.namespace, caller.principal)
        if self._by_caller[whose] >= self._max_per_caller:
            raise ResourceExhausted(
                "QUOTA_EXCEEDED",
                f"There are {self._max_per_caller} watches open for this caller already: close some, or watch all workflows "
                "with one WatchWorkflows.",
                RETRY_AFTER_US,
            )
        limit, in_use = self._quotas.of(caller.namespace).max_watches, self.count(caller.namespace)
        if limit is not None and in_use >= limit:
            raise exceeded(UsedUp(QuotaKind.WATCHES, limit, in_use), self._clock.now_us())
        if not self._open.take(caller.namespace):
            raise ResourceExhausted(
                "QUOTA_EXCEEDED",
                f"There are {self._open.held(caller.namespace)} watches open in this namespace already: close some, or watch all "
                "workflows with one WatchWorkflows.",
                RETRY_AFTER_US,
            )
        self._by_caller[whose] += 1
        self._wakes.add(wake)
        try:
            yield
        finally:
            self._wakes.discard(wake)
            self._open.give(caller.namespace)
            self._by_caller[whose] -= 1
            if not self._by_caller[whose]:
                del self._by_caller[whose]

    def drain(self) -> None:
        """Have every watch end with `WatchCut`, those that are opened later too."""
        self.draining = True
        for wake in tuple(self._wakes):
            wake()


class Pulse:
    """When a silent watch says that it lives, and when its caller is looked at again."""

    def __init__(self, heartbeat_us: int | None, admit: Callable[[], Awaitable[object]]) -> None:
        self._heartbeat_s = (heartbeat_us or HEARTBEAT_US) / 1_000_000
        self._admit = admit
        self._spoke = self._checked = time.monotonic()

    def spoken(self) -> None:
        """Take note that something was sent."""
        self._spoke = time.monotonic()

    @property
    def silent_s(self) -> float:
        """Seconds for which the watch may still be silent; none left: a bookmark is due."""
        return self._spoke + self._heartbeat_s - time.monotonic()

    @property
    def patience_s(self) -> float:
        """Seconds to wait for news before looking up again."""
        return max(min(self.silent_s, RECHECK_S), 0.0)

    async def check(self) -> None:
        """Look at the caller again if it is time. Raises what `admit` raises for one that is no longer welcome."""
        if time.monotonic() - self._checked >= RECHECK_S:
            await self._admit()
            self._checked = time.monotonic()


def check_watch(after_cursor: str, heartbeat_us: int | None, *, snapshot: bool, findings: Findings) -> None:
    """Check what all watches have in common and raise InvalidArgument with everything that is wrong."""
    if after_cursor and snapshot:
        findings.add("after_cursor", "It does not go with snapshot: set one of the two.")
    if heartbeat_us is not None and not SHORTEST_HEARTBEAT_US <= heartbeat_us <= LONGEST_HEARTBEAT_US:
        findings.add("heartbeat_interval", "It must lie between 1 second and 5 minutes.")
    findings.raise_any()
