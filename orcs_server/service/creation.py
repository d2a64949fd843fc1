"""Creating workflows: a request is completed by hooks and settings, checked as a whole, and handed to the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from orcs_server.agents.catalog import AgentCatalog
from orcs_server.config import Settings
from orcs_server.engines.base import Command, Engine
from orcs_server.errors import Violation
from orcs_server.hooks import UNLIMITED_RESOURCES, GuardedHooks
from orcs_server.identity import WORKFLOW_ID, Caller, Clock, new_workflow_id
from orcs_server.service.auditfacts import creation_facts
from orcs_server.service.auditing import Auditing
from orcs_server.service.authorisation import ANYTHING, Authorisation, Visit
from orcs_server.service.commands import Changed, changed, repeated
from orcs_server.service.configuration import WorkflowSettings
from orcs_server.service.continuing import Continuing, HandedOn
from orcs_server.service.plans import CheckedPlan, read_plan
from orcs_server.service.requests import NewWorkflow, RetryWish, command_hash
from orcs_server.service.validation import Findings, one_line
from orcs_server.storage.store import Blob, Store, blob_of
from orcs_server.workflow.messages import CreateWorkflow
from orcs_server.workflow.model import (
    TITLE_LIMIT,
    Digest,
    OutputFormat,
    PlanningStrategy,
    RetryPolicy,
    WorkflowSpec,
)

METHOD = "CreateWorkflow"


class Creation:
    """Creates workflows, each once, however often its request comes."""

    def __init__(
        self,
        *,
        engine: Engine,
        store: Store,
        authorisation: Authorisation,
        hooks: GuardedHooks,
        settings: WorkflowSettings,
        clock: Clock,
        continuing: Continuing,
        auditing: Auditing,
    ) -> None:
        self._engine = engine
        self._store = store
        self._authorisation = authorisation
        self._hooks = hooks
        self._settings = settings
        self._clock = clock
        self._continuing = continuing
        self._auditing = auditing

    async def create(
        self, caller: Caller, new: NewWorkflow, request_id: str = "", found: Sequence[Violation] = ()
    ) -> Changed:
        """Store a new workflow and return it; planning and tasks follow by themselves.

        `found` is what was wrong already where the request was read. Raises InvalidArgument with every violation (FIELD_INVALID,
        PLAN_INVALID, REQUEST_ID_REUSED), AlreadyExists, PermissionDenied, Unavailable, ResourceExhausted; for what it continues
        NotFound, IllegalTransition (OUTPUT_NOT_READY).
        """
        named = WORKFLOW_ID.fullmatch(new.workflow_id) is not None
        visit = await self._authorisation.enter(caller, "workflows.create", new.workflow_id if named else ANYTHING)
        findings = Findings(found)
        findings.request_id(request_id)
        hashed = ""
        if request_id and not findings:
            hashed = command_hash(new)
            # What is checked by the clock or asked of hooks must not fail a repetition.
            receipt = await repeated(self._store, visit.caller, METHOD, request_id, hashed)
            if receipt is not None:
                return await changed(self._store, visit.namespace, receipt)
        settings = await self._settings.resolve(visit.hooks)
        catalog = await self._settings.catalog(visit.namespace)
        plan = self._check(new, settings, catalog, findings)
        raise_findings(findings)
        earlier = await self._continuing.read(visit, new.continue_from) if new.continue_from else None
        spec, blobs = await self._specify(new, plan, visit, settings, catalog, earlier)
        workflow_id = new.workflow_id or new_workflow_id()
        request = CreateWorkflow(visit.namespace, workflow_id, spec, None if plan is None else plan.tasks)
        audit = self._auditing.draft(visit, METHOD, request_id, creation_facts(request), resource=workflow_id)
        command = Command(visit.caller, workflow_id, request, METHOD, request_id, hashed, tuple(blobs.values()), audit)
        return await changed(self._store, visit.namespace, await self._engine.submit(command))

    # Checks

    def _check(
        self, new: NewWorkflow, settings: Settings, catalog: AgentCatalog, findings: Findings
    ) -> CheckedPlan | None:
        limits = settings.limits
        if new.workflow_id:
            findings.workflow_id("workflow_id", new.workflow_id)
        findings.line("title", new.title, TITLE_LIMIT)
        findings.labels(new.labels, limits.max_labels)
        findings.priority(new.priority)
        findings.json_object("context", new.context, limits.max_context_bytes)
        findings.json_object("resource_requirements", new.resource_requirements, limits.max_context_bytes)
        findings.json_schema("output_schema", new.output_schema)
        if new.output_schema and new.output_format is not OutputFormat.JSON:
            findings.add(
                "output_schema", "It goes with OUTPUT_FORMAT_JSON only: set the format, or leave the schema out."
            )
        findings.between("max_parallel_tasks", new.max_parallel_tasks, 0, limits.max_parallel_tasks)
        findings.between("max_tasks", new.max_tasks, 1, limits.max_tasks)
        findings.budget("budget", new.budget)
        if new.continue_from:
            findings.workflow_id("continue_from", new.continue_from)
        _check_times(new, self._clock.now_us(), findings)
        _check_retry(new.retry, settings, findings)
        plan = self._check_source(new, settings, catalog, findings)
        if not settings.prices:
            findings.unpriced()
        return plan

    def _check_source(
        self, new: NewWorkflow, settings: Settings, catalog: AgentCatalog, findings: Findings
    ) -> CheckedPlan | None:
        limits = settings.limits
        if (new.query is None) == (new.plan is None):
            findings.add("query", "Give either a query or a plan, and not both.")
        if new.query is not None:
            check_query(new.query, limits.max_query_bytes, findings)
        if new.plan is None:
            return None
        return read_plan(
            new.plan,
            findings,
            agents=dict(catalog.revisions()),
            max_tasks=min(new.max_tasks or limits.max_tasks, limits.max_tasks),
            max_description_bytes=limits.max_description_bytes,
        )

    # Building

    async def _specify(
        self,
        new: NewWorkflow,
        plan: CheckedPlan | None,
        visit: Visit,
        settings: Settings,
        catalog: AgentCatalog,
        earlier: HandedOn | None,
    ) -> tuple[WorkflowSpec, dict[Digest, Blob]]:
        blobs = {} if plan is None else {blob.digest: blob for blob in plan.blobs}
        if earlier is not None:
            blobs[earlier.blob.digest] = earlier.blob

        def keep(text: str | bytes) -> Digest | None:
            if not text:
                return None
            blob = blob_of(text)
            blobs[blob.digest] = blob
            return blob.digest

        context = merged_context(new.context, await self._hooks.context(visit.hooks))
        configuration = self._settings.packed(settings, catalog)
        blobs[configuration.digest] = configuration
        limits = settings.limits
        spec = WorkflowSpec(
            title=new.title.strip() or title_of(new),
            query=keep(new.query or ""),
            labels=new.labels,
            priority=new.priority,
            execution=new.execution,
            failure_policy=new.failure_policy,
            planning=new.planning or PlanningStrategy(settings.planning.strategy),
            approval_policy=new.approval_policy,
            auto_start=new.auto_start,
            max_parallel_tasks=new.max_parallel_tasks or limits.max_parallel_tasks,
            max_tasks=new.max_tasks or limits.max_tasks,
            max_plan_repairs=settings.planning.max_repairs,
            task_timeout_us=settings.task_timeout_us,
            retry=retry_policy(new.retry, settings),
            budget=new.budget,
            deadline_us=new.deadline_us,
            not_before_us=new.not_before_us,
            holds_resources=bool(new.resource_requirements) or visit.hooks.resources is not UNLIMITED_RESOURCES,
            resource_requirements=keep(new.resource_requirements),
            context=keep(context),
            output_format=new.output_format,
            output_schema=keep(new.output_schema),
            continue_from=new.continue_from or None,
            earlier=None if earlier is None else earlier.output,
            agents=catalog.revisions(),
            configuration=configuration.digest,
            approval_expires_us=settings.approvals.expire_after_us,
        )
        return spec, blobs


def raise_findings(findings: Findings) -> None:
    """Raise InvalidArgument with everything that was found: PLAN_INVALID where only the plan is at fault."""
    findings.raise_any("PLAN_INVALID" if findings.only_within("plan") else "FIELD_INVALID")


def check_query(query: str, limit: int, findings: Findings) -> None:
    if not query.strip():
        findings.add("query", "It is empty: say what is wanted.")
    findings.text("query", query, limit)


def retry_policy(wish: RetryWish, settings: Settings) -> RetryPolicy:
    """Return the policy: what the caller wishes, and the settings for the rest."""
    retry = settings.retry
    return RetryPolicy(
        wish.max_attempts if wish.max_attempts is not None else retry.max_attempts,
        wish.initial_backoff_us if wish.initial_backoff_us is not None else retry.initial_backoff_us,
        wish.max_backoff_us if wish.max_backoff_us is not None else retry.max_backoff_us,
        wish.multiplier if wish.multiplier is not None else retry.multiplier,
    )


def title_of(new: NewWorkflow) -> str:
    """Return a title for a workflow that was given none."""
    if new.plan is None:
        return one_line(new.query or "")
    first, more = one_line(new.plan[0].title), len(new.plan) - 1
    return one_line(f"{first} and {more} more task{'' if more == 1 else 's'}") if more else first


def merged_context(text: str, from_hook: Mapping[str, Any]) -> str | bytes:
    """Return the context as JSON; what the operator's hook says wins over what the client says."""
    if not from_hook:
        return text
    given = msgspec.json.decode(text) if text else {}
    return msgspec.json.encode({**given, **from_hook})


def _check_times(new: NewWorkflow, now_us: int, findings: Findings) -> None:
    if new.deadline_us is not None and new.deadline_us <= now_us:
        findings.add("deadline_time", "It has passed: set a time to come, or leave it out.")
    if new.deadline_us is not None and new.not_before_us is not None and new.deadline_us <= new.not_before_us:
        findings.add("not_before_time", "It must lie before deadline_time.")


def _check_retry(wish: RetryWish, settings: Settings, findings: Findings) -> None:
    findings.attempts("retry_policy.max_attempts", wish.max_attempts)
    findings.duration("retry_policy.initial_backoff", wish.initial_backoff_us)
    findings.duration("retry_policy.max_backoff", wish.max_backoff_us)
    findings.multiplier("retry_policy.multiplier", wish.multiplier)
    policy = retry_policy(wish, settings)
    if policy.max_backoff_us < policy.initial_backoff_us:
        findings.add("retry_policy.max_backoff", "It must not be shorter than initial_backoff.")
