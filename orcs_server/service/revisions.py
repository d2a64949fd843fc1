"""The revisions of a plan, as the log tells them: which there were, and what lies between two of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from msgspec import Struct

from orcs_server.errors import NotFound
from orcs_server.identity import Caller
from orcs_server.service.authorisation import Visit
from orcs_server.service.commands import Commands, begin
from orcs_server.service.pages import PageBinding, page_size
from orcs_server.service.validation import Findings
from orcs_server.storage.store import EventRecord, WorkflowSummary
from orcs_server.workflow.events import PlanAdopted, PlanAmended
from orcs_server.workflow.model import PlanSource, TaskSpec

EVENTS_AT_ONCE = 500


class PlanRevision(Struct, frozen=True):
    """A revision of a plan, and what it did to the one before."""

    revision: int
    source: PlanSource
    actor: str
    time_us: int
    task_count: int
    added: int
    changed: int = 0
    removed: int = 0
    proposer: str = ""


class RevisionPage(Struct, frozen=True):
    """A page of revisions."""

    revisions: tuple[PlanRevision, ...]
    next_page_token: str


class PlanDifference(Struct, frozen=True):
    """What leads from one revision to another."""

    from_revision: int
    to_revision: int
    added: tuple[TaskSpec, ...]
    changed: tuple[TaskSpec, ...]
    changed_from: tuple[TaskSpec, ...]
    removed: tuple[str, ...]


class Revisions:
    """Reads the revisions of plans. Everything raises NotFound for what the caller's namespace does not hold."""

    def __init__(self, commands: Commands, max_page_size: int) -> None:
        self._commands = commands
        self._max_page_size = max_page_size

    async def revisions(self, caller: Caller, workflow_id: str, size: int = 0, token: str = "") -> RevisionPage:
        """Return a page of a plan's revisions, the first one first."""
        size = page_size(size, self._max_page_size)
        visit, _ = await self._enter(caller, "plans.list", workflow_id)
        binding = PageBinding("ListPlanRevisions", visit.namespace, workflow_id)
        # The key is the event after which the next page begins.
        after = binding.key(token, int) or 0
        found: list[tuple[int, PlanRevision]] = []
        async with aclosing(self._plans(visit, workflow_id, after)) as records:
            async for record, event in records:
                found.append((record.seq, _revision(record, event)))
                if len(found) > size:
                    break
        shown = found[:size]
        next_token = binding.token(shown[-1][0]) if len(found) > size else ""
        return RevisionPage(tuple(revision for _, revision in shown), next_token)

    async def compare(
        self, caller: Caller, workflow_id: str, from_revision: int = 0, to_revision: int = 0
    ) -> PlanDifference:
        """Return what leads from one revision to another; 0 is the one before, and the current one.

        Raises NotFound (REVISION_NOT_FOUND) for one that the plan has never had.
        """
        findings = Findings()
        findings.between("from_revision", from_revision, 0, 2**31)
        findings.between("to_revision", to_revision, 0, 2**31)
        if 0 < to_revision < from_revision:
            findings.add("from_revision", "It must not be later than to_revision: swap the two.")
        findings.raise_any()
        visit, summary = await self._enter(caller, "plans.compare", workflow_id)
        current = summary.progress.plan_revision
        to_revision = to_revision or current
        from_revision = from_revision or max(to_revision - 1, 0)
        if not from_revision <= to_revision <= current or not current:
            raise NotFound(
                "REVISION_NOT_FOUND",
                f"The plan of {workflow_id!r} is at revision {current}: compare revisions from 1 to that.",
            )
        earlier: dict[str, TaskSpec] = {}
        specs: dict[str, TaskSpec] = {}
        async with aclosing(self._plans(visit, workflow_id, 0)) as records:
            async for _, event in records:
                if event.revision > to_revision:
                    break
                _apply(specs, event)
                if event.revision == from_revision:
                    earlier = dict(specs)
        changed = [name for name, spec in specs.items() if name in earlier and earlier[name] != spec]
        return PlanDifference(
            from_revision,
            to_revision,
            tuple(spec for name, spec in specs.items() if name not in earlier),
            tuple(specs[name] for name in changed),
            tuple(earlier[name] for name in changed),
            tuple(name for name in earlier if name not in specs),
        )

    async def _enter(self, caller: Caller, operation: str, workflow_id: str) -> tuple[Visit, WorkflowSummary]:
        begin(workflow_id, "").raise_any()
        visit = await self._commands.authorisation.enter(caller, operation, workflow_id)
        return visit, await self._commands.summary(visit.namespace, workflow_id)

    async def _plans(
        self, visit: Visit, workflow_id: str, after_seq: int
    ) -> AsyncGenerator[tuple[EventRecord, PlanAdopted | PlanAmended], None]:
        """Yield the events that made the plan, in order."""
        while True:
            records = await self._commands.store.events(visit.namespace, workflow_id, after_seq, EVENTS_AT_ONCE)
            for record in records:
                if isinstance(record.event, PlanAdopted | PlanAmended):
                    yield record, record.event
            if len(records) < EVENTS_AT_ONCE:
                return
            after_seq = records[-1].seq


def _revision(record: EventRecord, event: PlanAdopted | PlanAmended) -> PlanRevision:
    if isinstance(event, PlanAdopted):
        count = len(event.tasks)
        return PlanRevision(event.revision, event.source, record.actor, record.time_us, count, count)
    return PlanRevision(
        event.revision,
        event.source,
        record.actor,
        record.time_us,
        event.task_count,
        len(event.added),
        len(event.changed),
        len(event.removed),
        event.proposer,
    )


def _apply(specs: dict[str, TaskSpec], event: PlanAdopted | PlanAmended) -> None:
    if isinstance(event, PlanAdopted):
        specs.clear()
        specs.update((spec.id, spec) for spec in event.tasks)
        return
    for name in event.removed:
        specs.pop(name, None)
    specs.update((spec.id, spec) for spec in (*event.changed, *event.added))
