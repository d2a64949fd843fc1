"""Looking at a plan before there is a workflow: a client's own is checked, a query is planned. Nothing is stored but what it cost."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from orcs_server.agents.catalog import AgentCatalog
from orcs_server.agents.context import RunContext
from orcs_server.agents.definition import PLANNER_ID
from orcs_server.config import Settings
from orcs_server.engines.base import Engine
from orcs_server.errors import ResourceExhausted, Violation
from orcs_server.executor.executor import Executor
from orcs_server.hooks import GuardedHooks, Origin, agent_leave
from orcs_server.identity import Caller, Clock
from orcs_server.identity.fairness import Shares
from orcs_server.identity.quotas import exceeded
from orcs_server.service.authorisation import Authorisation, Visit
from orcs_server.service.configuration import WorkflowSettings
from orcs_server.service.creation import check_query
from orcs_server.service.plans import read_plan, with_ids
from orcs_server.service.requests import NewTask, PlanDraft
from orcs_server.service.validation import Findings
from orcs_server.workflow.model import NO_USAGE, Digest, PlanningStrategy, TaskSpec, Usage
from orcs_server.workflow.plan import check_plan

PREVIEWS_AT_ONCE = 16
"""Previews that the planner makes at the same time, shared among the namespaces: one alone gets half. They take no slot, so that
a full server still answers them."""
PREVIEW_RETRY_US = 2_000_000


class PreviewedPlan(Struct, frozen=True):
    """A plan with all ids, every rule that it breaks, and what planning has used."""

    tasks: tuple[NewTask, ...]
    violations: tuple[Violation, ...]
    usage: Usage = NO_USAGE


class _UsageNote:
    """Listens to the planner for its usage only."""

    def __init__(self) -> None:
        self.total = NO_USAGE

    def delta(self, text: str) -> None:
        """Text of a plan that is only looked at goes nowhere."""

    def usage(self, calls: int, usage: Usage) -> None:  # noqa: ARG002 - the observer's signature
        self.total = usage

    def mismatch(self, path: str, turn: int) -> None:
        """A plan that is only looked at has no journal."""


class Preview:
    """Makes or checks a plan without storing it."""

    def __init__(
        self,
        *,
        executor: Executor,
        engine: Engine,
        authorisation: Authorisation,
        hooks: GuardedHooks,
        settings: WorkflowSettings,
        clock: Clock,
    ) -> None:
        self._executor = executor
        self._engine = engine
        self._clock = clock
        self._authorisation = authorisation
        self._hooks = hooks
        self._settings = settings
        self._planning = Shares(PREVIEWS_AT_ONCE)

    async def plan(self, caller: Caller, draft: PlanDraft, found: Sequence[Violation] = ()) -> PreviewedPlan:
        """Return the plan that a creation would adopt, or a client's own with all that is wrong with it.

        `found` is what was wrong already where the request was read. Raises InvalidArgument where something other than the
        plan itself is wrong.
        """
        in_plan = tuple(violation for violation in found if violation.field.startswith("plan."))
        visit = await self._authorisation.enter(caller, "workflows.preview")
        settings = await self._settings.resolve(visit.hooks)
        limits = settings.limits
        findings = Findings(violation for violation in found if violation not in in_plan)
        context = findings.json_object("context", draft.context, limits.max_context_bytes)
        findings.between("max_tasks", draft.max_tasks, 1, limits.max_tasks)
        if (draft.query is None) == (draft.plan is None):
            findings.add("query", "Give either a query or a plan, and not both.")
        elif draft.query is not None:
            check_query(draft.query, limits.max_query_bytes, findings)
        findings.raise_any()
        max_tasks = min(draft.max_tasks or limits.max_tasks, limits.max_tasks)
        catalog = await self._settings.catalog(visit.namespace)
        if draft.plan is not None:
            return self._checked(draft.plan, settings, catalog, max_tasks, in_plan)
        context.update(await self._hooks.context(visit.hooks))
        run_context = RunContext(visit.namespace, principal=visit.caller.principal, external_context=context)
        return await self._planned(visit, draft, settings, catalog, max_tasks, run_context)

    def _checked(
        self,
        plan: Sequence[NewTask],
        settings: Settings,
        catalog: AgentCatalog,
        max_tasks: int,
        found: Sequence[Violation],
    ) -> PreviewedPlan:
        findings = Findings(found)
        agents = dict(catalog.revisions())
        read_plan(
            plan,
            findings,
            agents=agents,
            max_tasks=max_tasks,
            max_description_bytes=settings.limits.max_description_bytes,
        )
        if not settings.prices:
            findings.unpriced()
        named = (replace(task, id=task_id) for task, task_id in zip(plan, with_ids(plan), strict=True))
        return PreviewedPlan(tuple(named), findings.all)

    async def _planned(
        self,
        visit: Visit,
        draft: PlanDraft,
        settings: Settings,
        catalog: AgentCatalog,
        max_tasks: int,
        context: RunContext,
    ) -> PreviewedPlan:
        leave = await agent_leave(self._hooks, visit.caller, PLANNER_ID, Origin.RPC)
        note = _UsageNote()
        strategy = draft.planning or PlanningStrategy(settings.planning.strategy)
        configuration = self._settings.frozen(settings, catalog)
        used_up = self._engine.standing(visit.namespace).used_up
        if used_up is not None:
            raise exceeded(used_up, self._clock.now_us())
        if not self._planning.take(visit.namespace):
            raise ResourceExhausted(
                "QUOTA_EXCEEDED",
                f"The planner makes {self._planning.held(visit.namespace)} previews of this namespace already. Try again.",
                PREVIEW_RETRY_US,
            )
        try:
            outcome = await self._executor.plan(
                draft.query or "", configuration, context, strategy, max_tasks, observer=note, leave=leave
            )
        finally:
            self._planning.give(visit.namespace)
            if note.total != NO_USAGE:
                await self._engine.spend(visit.namespace, note.total)
        if outcome.tasks is None:
            said = outcome.problems or ((outcome.failure.message,) if outcome.failure is not None else ())
            return PreviewedPlan((), tuple(Violation("query", problem) for problem in said), note.total)
        texts = {blob.digest: blob.data.decode() for blob in outcome.blobs}
        agents = dict(catalog.revisions())
        violations = check_plan(outcome.tasks, agents=agents, max_tasks=max_tasks)
        return PreviewedPlan(tuple(_draft_of(task, texts) for task in outcome.tasks), violations, note.total)


def _draft_of(task: TaskSpec, texts: dict[Digest, str]) -> NewTask:
    return NewTask(
        title=task.title,
        description=texts[task.description],
        agent_id=task.agent_id,
        id=task.id,
        dependencies=task.dependencies,
        priority=task.priority,
        timeout_us=task.timeout_us,
        max_attempts=task.max_attempts,
        optional=task.optional,
        output_schema="" if task.output_schema is None else texts[task.output_schema],
    )
