"""What a namespace has consumed, and how it stands to its quotas."""

from __future__ import annotations

from msgspec import Struct

from orcs_server.engines.base import Engine
from orcs_server.identity import Caller, Clock
from orcs_server.identity.quotas import FREED_WHEN, QuotaKind, Quotas, UsedUp, day_of, freed_us
from orcs_server.service.authorisation import Authorisation
from orcs_server.service.openwatches import OpenWatches
from orcs_server.service.validation import Findings
from orcs_server.storage.store import Store
from orcs_server.storage.usage import DAYS_KEPT, UsageDay

NAMESPACES_LOOKED_AT = 1_000
IN_FULL_USE = (QuotaKind.RUNNING_TASKS, QuotaKind.WATCHES)
DAYS_SHOWN = 30
"""Where nobody says how many."""


class QuotaInUse(Struct, frozen=True):
    """One quota, and how much of it is in use."""

    kind: QuotaKind
    limit: int | None
    in_use: int
    free_us: int | None
    """When all of it is free again by itself, where the clock tells."""
    free_when: str


class UsageReport(Struct, frozen=True):
    """Usage and quotas of one namespace."""

    namespace: str
    time_us: int
    quotas: tuple[QuotaInUse, ...]
    """One of each kind."""
    days: tuple[UsageDay, ...]
    """Today, and those before it on which anything was counted, the latest first."""


class NamespaceUsage:
    """Tells callers of their own namespace."""

    def __init__(
        self,
        *,
        store: Store,
        engine: Engine,
        authorisation: Authorisation,
        open_watches: OpenWatches,
        clock: Clock,
        quotas: Quotas,
    ) -> None:
        self._store = store
        self._engine = engine
        self._authorisation = authorisation
        self._open_watches = open_watches
        self._clock = clock
        self._quotas = quotas

    async def get(self, caller: Caller, days: int = 0) -> UsageReport:
        """Return the usage of so many days, today included, and all quotas. Raises InvalidArgument."""
        findings = Findings()
        findings.between("days", days, 0, DAYS_KEPT)
        findings.raise_any()
        visit = await self._authorisation.enter(caller, "usage.get")
        namespace, now_us = visit.namespace, self._clock.now_us()
        today = day_of(now_us)
        found = await self._store.usage_days(namespace, today - (days or DAYS_SHOWN) + 1, today)
        if not found or found[0].day != today:
            found.insert(0, UsageDay(today))
        in_use = await self._in_use(namespace, found[0])
        quota = self._quotas.of(namespace)
        quotas = tuple(
            QuotaInUse(kind, quota.limit(kind), count, freed_us(kind, now_us), FREED_WHEN[kind])
            for kind, count in in_use.items()
        )
        return UsageReport(namespace, now_us, quotas, tuple(found))

    async def used_up(self, namespace: str) -> list[UsedUp]:
        """Return the quotas of which nothing is left, but for those that are in full use while all goes well. Raises Unavailable."""
        today = day_of(self._clock.now_us())
        found = await self._store.usage_days(namespace, today, today)
        return await self._used_up(namespace, found[0] if found else UsageDay(today))

    async def used_up_anywhere(self) -> list[tuple[str, UsedUp]]:
        """Return the same of all namespaces that were active today or have quotas of their own, for who runs the server."""
        today = day_of(self._clock.now_us())
        active = await self._store.usage_of_all(today)
        names = sorted({*active, *self._quotas.named})[:NAMESPACES_LOOKED_AT]
        idle = UsageDay(today)
        return [(name, one) for name in names for one in await self._used_up(name, active.get(name, idle))]

    async def _used_up(self, namespace: str, today: UsageDay) -> list[UsedUp]:
        quota = self._quotas.of(namespace)
        return [
            UsedUp(kind, limit, count)
            for kind, count in (await self._in_use(namespace, today)).items()
            if kind not in IN_FULL_USE and (limit := quota.limit(kind)) is not None and count >= limit
        ]

    async def _in_use(self, namespace: str, today: UsageDay) -> dict[QuotaKind, int]:
        held = await self._store.holdings(namespace)
        return {
            QuotaKind.WORKFLOWS: held.workflows,
            QuotaKind.RUNNING_TASKS: self._engine.standing(namespace).running,
            QuotaKind.WATCHES: self._open_watches.count(namespace),
            QuotaKind.TOKENS_PER_DAY: today.tokens,
            QuotaKind.COST_PER_DAY: today.counts.usage.cost_micros,
            QuotaKind.BYTES: held.bytes,
        }

    def held_by(self, namespace: str) -> UsedUp | None:
        """Return which quota of the namespace holds what is ready there, if one does."""
        standing, limit = self._engine.standing(namespace), self._quotas.of(namespace).max_running_tasks
        if standing.used_up is not None or limit is None or standing.running < limit:
            return standing.used_up
        return UsedUp(QuotaKind.RUNNING_TASKS, limit, standing.running)
