"""Control of single tasks: retry, with a look at what would run again, skip, cancel, update."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, Struct

from orcs_server.config import Settings
from orcs_server.errors import InvalidArgument, Violation
from orcs_server.identity import Caller, Clock
from orcs_server.service.amending import Texts, core_edit
from orcs_server.service.approvers import Approvers
from orcs_server.service.authorisation import Visit
from orcs_server.service.commands import Changed, Commands, begin, check_reason, check_said
from orcs_server.service.reading import no_task
from orcs_server.service.requests import Content, RetryTaskWish, TaskChange
from orcs_server.service.schemas import check_json_output
from orcs_server.service.validation import Findings
from orcs_server.storage.store import Blob, StoredTask, WorkflowSummary, blob_of
from orcs_server.workflow import events as e
from orcs_server.workflow.decide import take
from orcs_server.workflow.messages import CancelTask, Control, EditPlan, RetryTask, SkipTask
from orcs_server.workflow.model import NO_USAGE, Digest, Output, Usage
from orcs_server.workflow.state import WorkflowState
from orcs_server.workflow.states import TaskStatus


class TaskChanged(Struct, frozen=True):
    """A workflow and a task of it after a command, and the cursor of the command's last event."""

    workflow: WorkflowSummary
    task: StoredTask
    cursor: str


class Rerun(Struct, frozen=True):
    """A task that would run again, and why."""

    task_id: str
    title: str
    cause: str
    reason: str
    usage: Usage
    keeps_output: bool = False
    stale_only: bool = False
    """It would only be marked as stale."""


class RetryPreview(Struct, frozen=True):
    """What a retry would do."""

    workflow: WorkflowSummary
    task: StoredTask
    reruns: tuple[Rerun, ...]

    @property
    def usage(self) -> Usage:
        """What the tasks that would run have used so far."""
        return sum((rerun.usage for rerun in self.reruns if not rerun.stale_only), NO_USAGE)


class Tasks:
    """Controls tasks. Everything raises NotFound, IllegalTransition and what all commands raise."""

    def __init__(self, commands: Commands, settings: Settings, approvers: Approvers, clock: Clock) -> None:
        self._commands = commands
        self._approvers = approvers
        self._limits = settings.limits
        self._clock = clock

    async def retry(
        self,
        caller: Caller,
        workflow_id: str,
        wish: RetryTaskWish,
        request_id: str = "",
    ) -> TaskChanged:
        """Carry a task out again."""
        visit, request, blobs = await self._retry(caller, workflow_id, wish, request_id)
        return await self._change(visit, workflow_id, wish.task_id, request, "RetryTask", request_id, blobs)

    async def preview_retry(self, caller: Caller, workflow_id: str, wish: RetryTaskWish) -> RetryPreview:
        """Return what a retry would do. Stores nothing, and raises what the retry would raise."""
        visit, request, _ = await self._retry(caller, workflow_id, wish, "")
        state = await self._commands.state(visit.namespace, workflow_id)
        _, events = take(state, request, self._clock.now_us())
        now = await self._changed(
            visit, Changed(await self._commands.summary(visit.namespace, workflow_id), ""), wish.task_id
        )
        return RetryPreview(now.workflow, now.task, _reruns(state, wish.task_id, events))

    async def skip(
        self,
        caller: Caller,
        workflow_id: str,
        task_id: str,
        reason: str = "",
        substitute: Content | None = None,
        request_id: str = "",
        found: Findings | None = None,
    ) -> TaskChanged:
        """Go on without a task, or with a substitute for its output."""
        findings = _begin(workflow_id, task_id, request_id, found)
        check_reason(findings, reason)
        blob = None if substitute is None else _substitute(substitute, findings, self._limits.max_output_bytes)
        findings.raise_any()
        visit = await self._commands.authorisation.enter(caller, "tasks.skip", f"{workflow_id}/{task_id}")
        output = None
        if blob is not None and substitute is not None:
            await self._check_fits(visit, workflow_id, task_id, substitute, request_id)
            output = Output(blob.digest, _media_type(substitute), len(blob.data))
        blobs = () if blob is None else (blob,)
        request = SkipTask(task_id, reason, output, await self._approvers.may_lift(visit, workflow_id))
        return await self._change(visit, workflow_id, task_id, request, "SkipTask", request_id, blobs)

    async def cancel(
        self, caller: Caller, workflow_id: str, task_id: str, reason: str = "", request_id: str = ""
    ) -> TaskChanged:
        """End one task; what depends on it is skipped."""
        findings = _begin(workflow_id, task_id, request_id)
        check_reason(findings, reason)
        findings.raise_any()
        visit = await self._commands.authorisation.enter(caller, "tasks.cancel", f"{workflow_id}/{task_id}")
        return await self._change(visit, workflow_id, task_id, CancelTask(task_id, reason), "CancelTask", request_id)

    async def update(
        self,
        caller: Caller,
        workflow_id: str,
        change: TaskChange,
        revision: int | None = None,
        request_id: str = "",
        found: Findings | None = None,
    ) -> TaskChanged:
        """Change a task before it begins. Raises Conflict (STALE_REVISION) where the caller saw an older plan."""
        findings = _begin(workflow_id, change.task_id, request_id, found)
        texts = Texts(self._limits.max_description_bytes)
        if change == TaskChange(change.task_id):
            findings.add("", "Nothing is to be changed: set the priority, the description or the timeout.")
        if change.priority is not UNSET:
            findings.priority(change.priority)
        edit = core_edit(change, "", findings, texts)
        findings.raise_any()
        visit = await self._commands.authorisation.enter(caller, "tasks.update", f"{workflow_id}/{change.task_id}")
        request = EditPlan((edit,), revision, await self._approvers.may_lift(visit, workflow_id))
        blobs = tuple(texts.blobs.values())
        try:
            return await self._change(visit, workflow_id, change.task_id, request, "UpdateTask", request_id, blobs)
        except InvalidArgument as error:
            if await self._commands.store.get_task(visit.namespace, workflow_id, change.task_id) is None:
                raise no_task(workflow_id, change.task_id) from None
            known = {"edits[0].task_id": "task_id", "edits[0].timeout": "timeout", "edits[0].priority": "priority"}
            violations = tuple(Violation(known.get(one.field, ""), one.description) for one in error.violations)
            raise InvalidArgument(error.reason, error.message, violations) from None

    # Inside

    async def _retry(
        self, caller: Caller, workflow_id: str, wish: RetryTaskWish, request_id: str
    ) -> tuple[Visit, RetryTask, tuple[Blob, ...]]:
        findings = _begin(workflow_id, wish.task_id, request_id)
        blobs: tuple[Blob, ...] = ()
        description: Digest | None = None
        if wish.description is not None:
            limit = self._limits.max_description_bytes
            check_said(findings, "description", wish.description, limit, "say what the agent is to do")
        findings.raise_any()
        if wish.description is not None:
            blobs = (blob_of(wish.description),)
            description = blobs[0].digest
        visit = await self._commands.authorisation.enter(caller, "tasks.retry", f"{workflow_id}/{wish.task_id}")
        return visit, RetryTask(wish.task_id, description, wish.include_dependants), blobs

    async def _change(
        self,
        visit: Visit,
        workflow_id: str,
        task_id: str,
        request: Control,
        method: str,
        request_id: str,
        blobs: Sequence[Blob] = (),
    ) -> TaskChanged:
        after = await self._commands.change(visit, workflow_id, request, method, request_id, blobs)
        return await self._changed(visit, after, task_id)

    async def _changed(self, visit: Visit, after: Changed, task_id: str) -> TaskChanged:
        task = await self._commands.store.get_task(visit.namespace, after.workflow.id, task_id)
        if task is None:
            raise no_task(after.workflow.id, task_id)
        return TaskChanged(after.workflow, task, after.cursor)

    async def _check_fits(
        self, visit: Visit, workflow_id: str, task_id: str, substitute: Content, request_id: str
    ) -> None:
        store = self._commands.store
        task = await store.get_task(visit.namespace, workflow_id, task_id)
        if task is None:
            await self._commands.refuse_reused(visit, workflow_id, "SkipTask", request_id)
            await self._commands.summary(visit.namespace, workflow_id)
            raise no_task(workflow_id, task_id)
        if task.spec.output_schema is not None:
            schema = await store.blob(visit.namespace, task.spec.output_schema)
            check_json_output(substitute, schema, "substitute")


def _begin(workflow_id: str, task_id: str, request_id: str, found: Findings | None = None) -> Findings:
    findings = begin(workflow_id, request_id, found)
    findings.task_id("task_id", task_id)
    return findings


def _substitute(content: Content, findings: Findings, limit: int) -> Blob | None:
    if content.data is not None:
        findings.between("substitute", len(content.data), 0, limit)
        return blob_of(content.data)
    before = len(findings)
    findings.text("substitute", content.text, limit)
    findings.line("substitute.media_type", content.media_type, 200)
    if content.is_json:
        findings.json_value("substitute", content.text, limit)
    return blob_of(content.text) if len(findings) == before else None


def _media_type(content: Content) -> str:
    default = "application/json" if content.is_json else "text/plain"
    return content.media_type or ("application/octet-stream" if content.data is not None else default)


def _reruns(state: WorkflowState, task_id: str, events: Sequence[e.Event]) -> tuple[Rerun, ...]:
    """Return what the events have run again: the task itself first, then the others in the order of the plan."""
    found: dict[str, Rerun] = {}
    for event in events:
        match event:
            case e.TaskReopened():
                found[event.task_id] = _rerun(state, event)
            case e.TaskReady() if event.task_id == task_id and task_id not in found:
                task = state.tasks[task_id]
                why = "It is tried again at once, in its conversation: nothing that finished is repeated."
                found[task_id] = Rerun(task_id, task.spec.title, "", why, task.progress.usage)
            case e.TaskStale():
                task = state.tasks[event.task_id]
                why = f"It rests on {event.cause}: its output stays, marked as stale."
                found[event.task_id] = Rerun(
                    event.task_id, task.spec.title, event.cause, why, task.progress.usage, stale_only=True
                )
            case _:
                pass
    return tuple(sorted(found.values(), key=lambda one: (one.task_id != task_id, state.tasks[one.task_id].ordinal)))


def _rerun(state: WorkflowState, event: e.TaskReopened) -> Rerun:
    task = state.tasks[event.task_id]
    if event.keeps_output and task.progress.output is not None:
        why = f"It rests on {event.cause}; its output is kept if all that it rests on comes out the same again."
    elif event.cause and task.status is TaskStatus.SKIPPED:
        why = f"It was skipped because {event.cause} did not complete, and runs after all."
    elif event.cause:
        why = f"It rests on {event.cause}, and waits for it again."
    elif event.run == task.progress.run:
        why = "It goes on in its conversation: nothing that finished is repeated."
    else:
        why = "It begins a new conversation."
    keeps = event.keeps_output and task.progress.output is not None
    return Rerun(event.task_id, task.spec.title, event.cause, why, task.progress.usage, keeps_output=keeps)
