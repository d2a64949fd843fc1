"""Changes of workflows that exist: budget, labels, priority, the plan by edits, or by planning anew."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType

from orcs_server.config import Settings
from orcs_server.errors import InvalidArgument, Violation
from orcs_server.identity import Caller, Clock
from orcs_server.service.approvers import Approvers
from orcs_server.service.commands import Changed, Commands, begin, check_said
from orcs_server.service.plans import check_texts, task_spec
from orcs_server.service.requests import NewTask, PlanChange, TaskChange
from orcs_server.service.validation import Findings, byte_size
from orcs_server.storage.people import InputFilter
from orcs_server.storage.store import Blob, WorkflowSummary, blob_of
from orcs_server.workflow import events as e
from orcs_server.workflow.decide import take
from orcs_server.workflow.edits import EDITS_LIMIT, AddTask, ChangeTask, PlanEdit, RemoveTask
from orcs_server.workflow.messages import EditPlan, Replan, UpdateWorkflow
from orcs_server.workflow.model import Budget, Digest, TaskSpec
from orcs_server.workflow.people import InputKind

_EDIT_FIELD = re.compile(r"(?P<at>edits\[(?P<index>\d+)\])\.(?P<rest>.+)")


class EditedPlan(Struct, frozen=True):
    """What came, or would come, of edits."""

    workflow: WorkflowSummary
    revision: int
    needs_approval: bool
    cursor: str = ""
    added: tuple[TaskSpec, ...] = ()
    changed: tuple[TaskSpec, ...] = ()
    removed: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()


class Texts:
    """The texts of edits, to be stored with them."""

    def __init__(self, max_description_bytes: int) -> None:
        self.max_description_bytes = max_description_bytes
        self.blobs: dict[Digest, Blob] = {}

    def keep(self, text: str) -> Digest:
        """Return the name under which the text is stored."""
        blob = blob_of(text)
        self.blobs[blob.digest] = blob
        return blob.digest


class Amending:
    """Changes workflows. Everything raises NotFound, IllegalTransition and what all commands raise."""

    def __init__(self, commands: Commands, settings: Settings, approvers: Approvers, clock: Clock) -> None:
        self._commands = commands
        self._limits = settings.limits
        self._approvers = approvers
        self._clock = clock

    async def update(
        self,
        caller: Caller,
        workflow_id: str,
        *,
        budget: Budget | None = None,
        labels: tuple[tuple[str, str], ...] | None = None,
        priority: int | None = None,
        request_id: str = "",
        found: Findings | None = None,
    ) -> Changed:
        """Change what is not None. A budget that is raised above what was spent lets the workflow go on."""
        findings = begin(workflow_id, request_id, found)
        if budget is None and labels is None and priority is None:
            findings.add("", "Nothing is to be changed: set the budget, the labels or the priority.")
        if budget is not None:
            findings.budget("budget", budget)
        if labels is not None:
            findings.labels(labels, self._limits.max_labels, "labels.labels")
        if priority is not None:
            findings.priority(priority)
        findings.raise_any()
        visit = await self._commands.authorisation.enter(caller, "workflows.update", workflow_id)
        await self._commands.check_costs(findings, visit.namespace, workflow_id)
        findings.raise_any()
        lifts = await self._approvers.may_lift(visit, workflow_id)
        request = UpdateWorkflow(budget, labels, priority, visit.caller.principal, lifts)
        return await self._commands.change(visit, workflow_id, request, "UpdateWorkflow", request_id)

    async def edit(
        self,
        caller: Caller,
        workflow_id: str,
        changes: Sequence[PlanChange],
        revision: int | None = None,
        request_id: str = "",
        found: Findings | None = None,
    ) -> EditedPlan:
        """Change the plan, all of it or nothing.

        Raises InvalidArgument (PLAN_INVALID, FIELD_INVALID) with every violation; Conflict (STALE_REVISION).
        """
        findings = begin(workflow_id, request_id, found)
        edits, texts = self._read(changes, findings)
        only_edits = all(one.field.startswith("edits[") for one in findings.all)
        findings.raise_any("PLAN_INVALID" if only_edits else "FIELD_INVALID")
        visit = await self._commands.authorisation.enter(caller, "plans.edit", workflow_id)
        await self._commands.check_costs(findings, visit.namespace, workflow_id)
        findings.raise_any("PLAN_INVALID")
        request = EditPlan(edits, revision, await self._approvers.may_lift(visit, workflow_id))
        blobs = tuple(texts.blobs.values())
        try:
            after = await self._commands.change(visit, workflow_id, request, "EditPlan", request_id, blobs)
        except InvalidArgument as error:
            raise InvalidArgument(error.reason, error.message, _placed(error.violations, edits)) from None
        waits = await self._waits(visit.namespace, workflow_id)
        return EditedPlan(after.workflow, after.workflow.progress.plan_revision, waits, after.cursor)

    async def try_edit(
        self,
        caller: Caller,
        workflow_id: str,
        changes: Sequence[PlanChange],
        revision: int | None = None,
        found: Findings | None = None,
    ) -> EditedPlan:
        """Return what would come of the edits, or every rule that they break. Stores nothing."""
        begin(workflow_id, "").raise_any()
        findings = found or Findings()
        edits, _ = self._read(changes, findings)
        visit = await self._commands.authorisation.enter(caller, "plans.edit", workflow_id)
        summary = await self._commands.summary(visit.namespace, workflow_id)
        state = await self._commands.state(visit.namespace, workflow_id)
        before = state.progress.plan_revision
        await self._commands.check_costs(findings, visit.namespace, workflow_id)
        waits = any(one.need.kind is InputKind.PLAN_APPROVAL for one in state.waiting())
        if findings:
            return EditedPlan(summary, before, waits, violations=findings.all)
        try:
            request = EditPlan(edits, revision, await self._approvers.may_lift(visit, workflow_id))
            after, events = take(state, request, self._clock.now_us())
        except InvalidArgument as error:
            violations = _placed(error.violations, edits) or (Violation("edits", error.message),)
            return EditedPlan(summary, before, waits, violations=violations)
        made = next((event for event in events if isinstance(event, e.PlanAmended)), None)
        if made is None or after is None:
            return EditedPlan(summary, before, waits)
        waits = any(one.need.kind is InputKind.PLAN_APPROVAL for one in after.waiting())
        return EditedPlan(summary, made.revision, waits, added=made.added, changed=made.changed, removed=made.removed)

    async def replan(
        self,
        caller: Caller,
        workflow_id: str,
        instructions: str,
        revision: int | None = None,
        request_id: str = "",
    ) -> Changed:
        """Have the planner plan anew what has not begun. Raises Conflict (STALE_REVISION)."""
        findings = begin(workflow_id, request_id)
        limit = self._limits.max_query_bytes
        check_said(findings, "instructions", instructions, limit, "say what the new plan is to bring")
        findings.raise_any()
        visit = await self._commands.authorisation.enter(caller, "plans.replan", workflow_id)
        blob = blob_of(instructions)
        request = Replan(blob.digest, revision, await self._approvers.may_lift(visit, workflow_id))
        return await self._commands.change(visit, workflow_id, request, "Replan", request_id, (blob,))

    def _read(self, changes: Sequence[PlanChange], findings: Findings) -> tuple[tuple[PlanEdit, ...], Texts]:
        texts = Texts(self._limits.max_description_bytes)
        if len(changes) > EDITS_LIMIT or not (changes or findings):
            findings.add("edits", f"There are {len(changes)} edits; give 1 to {EDITS_LIMIT}.")
            return (), texts
        edits = [core_edit(change, f"edits[{at}]", findings, texts) for at, change in enumerate(changes)]
        return tuple(edits), texts

    async def _waits(self, namespace: str, workflow_id: str) -> bool:
        where = InputFilter(kinds=(InputKind.PLAN_APPROVAL,), workflow_id=workflow_id)
        return bool(await self._commands.store.list_inputs(namespace, where, 1))


def core_edit(change: PlanChange, at: str, findings: Findings, texts: Texts) -> PlanEdit:
    """Return an edit as the core takes it; what is wrong with its texts goes into `findings`."""
    if isinstance(change, NewTask):
        return AddTask(_added(change, f"{at}.add.task", findings, texts))
    if not isinstance(change, TaskChange):
        return change
    dot = f"{at}.change." if at else ""
    description: Digest | UnsetType = UNSET
    if change.description is not UNSET:
        limit = texts.max_description_bytes
        check_said(findings, f"{dot}description", change.description, limit, "say what the agent is to do")
        description = texts.keep(change.description) if byte_size(change.description) is not None else Digest("")
    schema: Digest | UnsetType | None = UNSET
    if change.output_schema is not UNSET:
        findings.json_schema(f"{dot}output_schema", change.output_schema)
        encodes = change.output_schema and byte_size(change.output_schema) is not None
        schema = texts.keep(change.output_schema) if encodes else None
    if change.title is not UNSET:
        findings.line(f"{dot}title", change.title, max(len(change.title), 1))
    if change.budget is not UNSET:
        findings.budget(f"{dot}budget", change.budget)
    return ChangeTask(
        change.task_id,
        title=change.title,
        description=description,
        agent_id=change.agent_id,
        priority=change.priority,
        timeout_us=change.timeout_us,
        max_attempts=change.max_attempts,
        optional=change.optional,
        output_schema=schema,
        needs_approval=change.needs_approval,
        budget=change.budget,
    )


def _placed(violations: tuple[Violation, ...], edits: Sequence[PlanEdit]) -> tuple[Violation, ...]:
    """Return violations of the core with the fields as callers know them: the core has no kinds of edits in its paths."""
    return tuple(Violation(_place(one.field, edits), one.description) for one in violations)


def _place(field: str, edits: Sequence[PlanEdit]) -> str:
    match = _EDIT_FIELD.fullmatch(field)
    if match is None:
        return field
    edit = edits[int(match["index"])]
    at, rest = match["at"], match["rest"]
    if isinstance(edit, AddTask):
        return f"{at}.add.task.{rest.removeprefix('task.')}"
    kind = {ChangeTask: "change", RemoveTask: "remove"}.get(type(edit), "set_dependencies")
    name = rest.partition("[")[0]
    # Several edits may change one task; what the last one is told of may have been another's doing.
    known = name in type(edit).__struct_fields__ or (name == "timeout" and isinstance(edit, ChangeTask))
    return f"{at}.{kind}.{rest}" if known else at


def _added(task: NewTask, at: str, findings: Findings, texts: Texts) -> TaskSpec:
    before = len(findings)
    check_texts(task, at, findings, texts.max_description_bytes)
    return task_spec(task.id, task, texts.blobs, storable=len(findings) == before)
