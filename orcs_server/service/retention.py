"""What the server lets go of by itself: workflows that ended long ago, old request ids, and texts to which nothing refers."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import Final

from orcs_server.engines.base import Command, Engine
from orcs_server.errors import IllegalTransition, NotFound, ResourceExhausted, Unavailable
from orcs_server.identity import Caller, Clock
from orcs_server.identity.quotas import day_of
from orcs_server.memory import upkeep
from orcs_server.storage.audit import PRUNE, AuditDraft
from orcs_server.storage.store import Store
from orcs_server.storage.usage import DAYS_KEPT
from orcs_server.workflow.messages import DeleteWorkflow

REQUESTS_KEPT_US: Final = 24 * 3_600_000_000
"""How long the repetition of a request is known as one."""
EVERY_S: Final = 3600.0
SLICE: Final = 500
"""Rows that are looked at, or removed, at once."""
SHARE: Final = 0.2
"""Of the writer's time, at most: after each slice there is a pause in proportion to it."""
LONGEST_PAUSE_S: Final = 5.0
DELETER: Final = "orcs"
"""Who deletes, as the event says."""

METHOD: Final = "retention"
"""By which way it comes, as the audit log says."""

_log = logging.getLogger("orcs.retention")


class Retention:
    """Lets go of what is old, in slices so small that nobody's write waits for long."""

    def __init__(
        self,
        *,
        engine: Engine,
        store: Store,
        clock: Clock,
        finished_kept_us: int | None,
        audit_kept_us: int | None = None,
    ) -> None:
        """Keep workflows for `finished_kept_us` microseconds after their last event, and what the audit log says for
        `audit_kept_us`; None keeps them for ever.
        """
        self._engine = engine
        self._store = store
        self._clock = clock
        self._finished_kept_us = finished_kept_us
        self._audit_kept_us = audit_kept_us

    async def run(self) -> None:
        """Go over everything, now and then every hour, until cancelled."""
        while True:
            try:
                await self.go_over()
            except (Unavailable, ResourceExhausted) as error:
                _log.warning("what is old could not be removed yet, and will be later: %s", error)
            await asyncio.sleep(EVERY_S)

    async def go_over(self) -> None:
        """Remove what is old now. Raises Unavailable when the store does not answer; what was removed by then is gone."""
        now_us = self._clock.now_us()
        await self._requests(now_us - REQUESTS_KEPT_US)
        await self._usage(day_of(now_us) - DAYS_KEPT + 1)
        if self._finished_kept_us is not None:
            deleted = await self._workflows(now_us - self._finished_kept_us)
            if deleted:
                _log.info("%d workflows that ended long ago were deleted", deleted)
        await upkeep.go_over(self._store.memory, now_us)
        await self._blobs()
        if self._audit_kept_us is not None:
            await self._audit(now_us - self._audit_kept_us)

    async def _requests(self, before_us: int) -> None:
        removed = SLICE
        while removed == SLICE:
            begun = perf_counter()
            removed = await self._store.prune_requests(before_us, SLICE)
            await _pause(begun)

    async def _usage(self, before_day: int) -> None:
        removed = SLICE
        while removed == SLICE:
            begun = perf_counter()
            removed = await self._store.prune_usage(before_day, SLICE)
            await _pause(begun)

    async def _workflows(self, before_us: int) -> int:
        deleted = 0
        after = None
        while page := await self._store.finished_before(before_us, SLICE, after):
            after = page[-1]
            for row in page:
                begun = perf_counter()
                command = _deletion(row.namespace, row.workflow_id, self._clock.now_us())
                try:
                    await self._engine.submit(command)
                    deleted += 1
                except (NotFound, IllegalTransition) as error:
                    _log.debug("workflow %s was not deleted: %s", row.workflow_id, error)
                await _pause(begun)
        return deleted

    async def _blobs(self) -> None:
        place = ("", "")
        while True:
            begun = perf_counter()
            following = await self._store.prune_blobs(place, SLICE)
            if following is None:
                return
            place = following
            await _pause(begun)

    async def _audit(self, before_us: int) -> None:
        for namespace in await self._store.audit.old_chains(before_us):
            removed = SLICE
            while removed == SLICE:
                begun = perf_counter()
                draft = AuditDraft(self._clock.now_us(), PRUNE, METHOD, DELETER)
                removed = await self._store.audit.prune(namespace, before_us, SLICE, draft)
                await _pause(begun)


def _deletion(namespace: str, workflow_id: str, now_us: int) -> Command:
    audit = AuditDraft(now_us, "workflows.delete", METHOD, DELETER, resource=workflow_id)
    return Command(Caller(DELETER, namespace), workflow_id, DeleteWorkflow(), "DeleteWorkflow", audit=audit)


async def _pause(begun: float) -> None:
    await asyncio.sleep(min((perf_counter() - begun) * (1 / SHARE - 1), LONGEST_PAUSE_S))
