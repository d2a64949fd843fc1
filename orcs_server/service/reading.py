"""Reading workflows and tasks: one, or a page of them."""

from __future__ import annotations

from msgspec import Struct

from orcs_server.errors import NotFound
from orcs_server.identity import Caller
from orcs_server.service.authorisation import Authorisation, Visit
from orcs_server.service.cursors import WorkflowCursors
from orcs_server.service.pages import REPLY_BYTES, PageBinding, fitting, page_size
from orcs_server.service.requests import TaskWish, WorkflowWish
from orcs_server.service.validation import LABEL_VALUE_LIMIT, Findings
from orcs_server.storage.store import PageKey, Store, StoredTask, WorkflowFilter, WorkflowSummary
from orcs_server.workflow.model import Digest

ROWS_AT_ONCE = 500
"""Tasks read from the store at a time where most of them may not fit."""
FIXED_WEIGHT = 4 * 1024
"""Bytes of a workflow or a task in a reply, beside its labels or dependencies: title, failure, numbers, times."""


class WorkflowTexts(Struct, frozen=True):
    """The texts of a workflow; None where there is none, or where it would not fit into a reply."""

    query: str | None = None
    context: str | None = None
    resource_requirements: str | None = None
    output_schema: str | None = None


class TaskTexts(Struct, frozen=True):
    """The texts of a task; None where there is none, or where it would not fit into a reply."""

    description: str | None = None
    output: bytes | None = None
    output_schema: str | None = None


class WorkflowView(Struct, frozen=True):
    """A workflow as it was at `cursor`; in the full view with its texts and the first page of its tasks."""

    workflow: WorkflowSummary
    cursor: str
    texts: WorkflowTexts = WorkflowTexts()
    tasks: tuple[StoredTask, ...] = ()
    next_page_token: str = ""


class TaskView(Struct, frozen=True):
    """A task of a workflow as it was at `cursor`."""

    workflow: WorkflowSummary
    task: StoredTask
    cursor: str
    texts: TaskTexts = TaskTexts()


class TaskPage(Struct, frozen=True):
    """A page of a workflow's tasks."""

    workflow: WorkflowSummary
    tasks: tuple[StoredTask, ...]
    next_page_token: str


class WorkflowPage(Struct, frozen=True):
    """A page of workflows."""

    workflows: tuple[WorkflowSummary, ...]
    next_page_token: str


class Reading:
    """Reads what is stored. Everything raises NotFound for what the caller's namespace does not hold."""

    def __init__(self, *, store: Store, authorisation: Authorisation, max_page_size: int) -> None:
        self._store = store
        self._authorisation = authorisation
        self._max_page_size = max_page_size

    async def workflow(self, caller: Caller, workflow_id: str, *, full: bool = False, tasks: int = 0) -> WorkflowView:
        """Return a workflow; in the full view with up to `tasks` of its tasks (0: the default page)."""
        size = page_size(tasks, self._max_page_size)
        visit = await self._enter(caller, "workflows.get", workflow_id)
        summary = await summary_of(self._store, visit.namespace, workflow_id)
        cursor = self._cursors(visit, workflow_id).at(summary.seq)
        if not full:
            return WorkflowView(summary, cursor)
        texts, room = await self._workflow_texts(visit, summary)
        page = await self._task_page(visit, summary, TaskWish(), size, None, room)
        return WorkflowView(summary, cursor, texts, page.tasks, page.next_page_token)

    async def workflows(self, caller: Caller, which: WorkflowWish, size: int = 0, token: str = "") -> WorkflowPage:
        """Return a page of the workflows that fit, newest first. Those that the caller may not see are left out."""
        check_wish(which)
        size = page_size(size, self._max_page_size)
        visit = await self._authorisation.enter(caller, "workflows.list")
        binding = PageBinding("ListWorkflows", visit.namespace, which)
        after = binding.key(token, PageKey)
        where = WorkflowFilter(which.statuses, which.labels)
        rows = await self._store.list_summaries(visit.namespace, where, size + 1, after)
        shown = fitting(rows[:size], weigh_workflow)
        more = len(rows) > shown
        last = rows[shown - 1] if more else None
        next_token = binding.token(PageKey(last.progress.created_us, last.id)) if last is not None else ""
        ids = [row.id for row in rows[:shown]]
        visible = await self._authorisation.permitted(visit, "workflows.get", ids)
        return WorkflowPage(tuple(row for row in rows[:shown] if row.id in visible), next_token)

    async def task(self, caller: Caller, workflow_id: str, task_id: str, *, full: bool = False) -> TaskView:
        """Return a task."""
        findings = Findings()
        findings.workflow_id("workflow_id", workflow_id)
        findings.task_id("task_id", task_id)
        findings.raise_any()
        visit = await self._authorisation.enter(caller, "tasks.get", f"{workflow_id}/{task_id}")
        summary = await summary_of(self._store, visit.namespace, workflow_id)
        task = await self._store.get_task(visit.namespace, workflow_id, task_id)
        if task is None:
            raise no_task(workflow_id, task_id)
        texts = await self._task_texts(visit, task) if full else TaskTexts()
        return TaskView(summary, task, self._cursors(visit, workflow_id).at(summary.seq), texts)

    async def tasks(
        self, caller: Caller, workflow_id: str, which: TaskWish, size: int = 0, token: str = ""
    ) -> TaskPage:
        """Return a page of a workflow's tasks, in the order in which they came into the plan."""
        size = page_size(size, self._max_page_size)
        visit = await self._enter(caller, "tasks.list", workflow_id)
        summary = await summary_of(self._store, visit.namespace, workflow_id)
        after = _task_binding(visit, workflow_id, which).key(token, int)
        return await self._task_page(visit, summary, which, size, after, REPLY_BYTES)

    # Inside

    async def _enter(self, caller: Caller, operation: str, workflow_id: str) -> Visit:
        findings = Findings()
        findings.workflow_id("workflow_id", workflow_id)
        findings.raise_any()
        return await self._authorisation.enter(caller, operation, workflow_id)

    def _cursors(self, visit: Visit, workflow_id: str) -> WorkflowCursors:
        return WorkflowCursors(self._store.epoch, visit.namespace, workflow_id)

    async def _task_page(
        self, visit: Visit, summary: WorkflowSummary, which: TaskWish, size: int, after: int | None, room: int
    ) -> TaskPage:
        rows = await self._tasks_after(visit, summary.id, which, -1 if after is None else after, size + 1)
        shown = fitting(rows[:size], weigh_task, room)
        token = ""
        if len(rows) > shown:
            token = _task_binding(visit, summary.id, which).token(rows[shown - 1].ordinal)
        return TaskPage(summary, tuple(rows[:shown]), token)

    async def _tasks_after(
        self, visit: Visit, workflow_id: str, which: TaskWish, after: int, wanted: int
    ) -> list[StoredTask]:
        found: list[StoredTask] = []
        # The store knows nothing of agents: with few of an agent's tasks among many, small reads would take thousands.
        at_once = max(wanted, ROWS_AT_ONCE) if which.agent_id else wanted
        while len(found) < wanted:
            rows = await self._store.list_tasks(visit.namespace, workflow_id, after, at_once, which.statuses)
            found.extend(row for row in rows if which.agent_id in ("", row.spec.agent_id))
            if len(rows) < at_once:
                break
            after = rows[-1].ordinal
        return found[:wanted]

    async def _workflow_texts(self, visit: Visit, summary: WorkflowSummary) -> tuple[WorkflowTexts, int]:
        spec = summary.spec
        room = REPLY_BYTES - weigh_workflow(summary)
        texts = []
        for digest in (spec.query, spec.context, spec.resource_requirements, spec.output_schema):
            data = await self._text(visit, digest, room)
            room -= len(data or b"")
            texts.append(None if data is None else data.decode())
        return WorkflowTexts(*texts), room

    async def _task_texts(self, visit: Visit, task: StoredTask) -> TaskTexts:
        room = REPLY_BYTES - weigh_task(task)
        output = task.progress.output
        description = await self._text(visit, task.spec.description, room)
        room -= len(description or b"")
        schema = await self._text(visit, task.spec.output_schema, room)
        room -= len(schema or b"")
        content = None
        if output is not None and output.size <= room:
            content = await self._store.blob(visit.namespace, output.digest)
        return TaskTexts(
            None if description is None else description.decode(), content, None if schema is None else schema.decode()
        )

    async def _text(self, visit: Visit, digest: Digest | None, room: int) -> bytes | None:
        if digest is None:
            return None
        data = await self._store.blob(visit.namespace, digest)
        return data if len(data) <= room else None


async def summary_of(store: Store, namespace: str, workflow_id: str) -> WorkflowSummary:
    """Return a workflow's row. Raises NotFound."""
    summary = await store.get_summary(namespace, workflow_id)
    if summary is None:
        raise no_workflow(workflow_id)
    return summary


def no_workflow(workflow_id: str) -> NotFound:
    """Return the error for a workflow that the caller's namespace does not hold."""
    return NotFound("WORKFLOW_NOT_FOUND", f"There is no workflow {workflow_id!r}.")


def no_task(workflow_id: str, task_id: str) -> NotFound:
    """Return the error for a task that its workflow does not have."""
    return NotFound("TASK_NOT_FOUND", f"The workflow {workflow_id!r} has no task {task_id!r}.")


def check_wish(which: WorkflowWish) -> None:
    """Raise InvalidArgument for a filter that nothing could ever fit."""
    findings = Findings()
    for key, value in which.labels:
        if len(key) > LABEL_VALUE_LIMIT or len(value) > LABEL_VALUE_LIMIT:
            findings.add("filter.labels", f"A label's value has at most {LABEL_VALUE_LIMIT} characters.")
    findings.between("filter.labels", len(which.labels), 0, 64)
    findings.raise_any()


def weigh_workflow(summary: WorkflowSummary) -> int:
    """Return about how many bytes a workflow takes in a reply, not less than it does."""
    return FIXED_WEIGHT + sum(4 * (len(key) + len(value)) + 16 for key, value in summary.spec.labels)


def weigh_task(task: StoredTask) -> int:
    """Return about how many bytes a task takes in a reply, not less than it does."""
    return FIXED_WEIGHT + sum(len(name) + 3 for name in task.spec.dependencies)


def _task_binding(visit: Visit, workflow_id: str, which: TaskWish) -> PageBinding:
    return PageBinding("ListTasks", visit.namespace, (workflow_id, which))
