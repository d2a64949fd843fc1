"""What a workflow has produced, as one document, and its plan as a drawing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from orcs_server.errors import IllegalTransition, InvalidArgument, Violation
from orcs_server.identity import Caller
from orcs_server.outputs.compose import FinishedTask, Rendered, compose, final_tasks
from orcs_server.outputs.graph import GraphFormat, GraphTask, render_graph
from orcs_server.service.authorisation import Authorisation, Visit
from orcs_server.service.pages import REPLY_BYTES, fitting
from orcs_server.service.reading import no_workflow
from orcs_server.service.validation import Findings
from orcs_server.storage.store import Snapshot, Store, StoredTask
from orcs_server.workflow.model import OutputFormat
from orcs_server.workflow.states import WORKFLOW_TERMINAL, TaskStatus, WorkflowStatus

CONTENT_BYTES: Final = 640 * 1024
"""Of the document; the list of the tasks' outputs gets what is left of a reply."""
TASK_OUTPUT_WEIGHT: Final = 1200
"""Bytes of an entry in that list."""
_TRIES: Final = ((640 * 1024, 1000), (320 * 1024, 300), (96 * 1024, 100), (16 * 1024, 30), (0, 10))
"""(bytes of outputs, unfinished tasks) that go into the document; the next where the one before came out too long."""


class WorkflowOutput(Struct, frozen=True):
    """What a workflow has produced so far, or in the end."""

    content: Rendered
    complete: bool
    truncated: bool
    """Outputs or unfinished tasks were left out, because a reply would have become too long."""
    tasks: Sequence[StoredTask]
    """As many as fit into a reply, in the order of the plan."""
    final: frozenset[str]
    """Ids of the tasks whose outputs make up the content."""


class Results:
    """Puts together what clients get to see of a workflow's outcome."""

    def __init__(self, *, store: Store, authorisation: Authorisation) -> None:
        self._store = store
        self._authorisation = authorisation

    async def output(self, caller: Caller, workflow_id: str, wanted: OutputFormat | None = None) -> WorkflowOutput:
        """Return the output, in the workflow's own format unless another is wanted.

        Raises NotFound, and IllegalTransition (OUTPUT_NOT_READY) while there is nothing.
        """
        visit, snapshot = await self._snapshot(caller, "workflows.output", workflow_id)
        status = snapshot.summary.progress.status
        if not _completed(snapshot) and (status not in WORKFLOW_TERMINAL or not snapshot.tasks):
            raise _nothing_yet(snapshot)
        output_format = wanted or snapshot.summary.spec.output_format
        content, truncated, final = await self.compose(visit, snapshot, output_format)
        shown = fitting(snapshot.tasks, lambda _: TASK_OUTPUT_WEIGHT, REPLY_BYTES + 128 * 1024 - len(content.content))
        complete = status is WorkflowStatus.COMPLETED
        return WorkflowOutput(content, complete, truncated, snapshot.tasks[:shown], final)

    async def graph(self, caller: Caller, workflow_id: str, form: GraphFormat) -> Rendered:
        """Return the drawing. Raises NotFound, and InvalidArgument for a plan that is too large for the form."""
        _, snapshot = await self._snapshot(caller, "workflows.graph", workflow_id)
        tasks = [
            GraphTask(task.spec.id, task.spec.title, task.spec.agent_id, task.progress.status, task.spec.dependencies)
            for task in snapshot.tasks
        ]
        drawing = await asyncio.to_thread(render_graph, snapshot.summary.spec.title, tasks, form)
        if len(drawing.content) > REPLY_BYTES:
            violation = Violation(
                "format", f"The drawing of {len(tasks)} tasks is too large for a reply: read them with ListTasks."
            )
            raise InvalidArgument("FIELD_INVALID", f"format: {violation.description}", (violation,))
        return drawing

    async def compose(
        self, visit: Visit, snapshot: Snapshot, output_format: OutputFormat
    ) -> tuple[Rendered, bool, frozenset[str]]:
        """Return the document, whether something was left out, and the ids of the tasks whose outputs it is made of.

        Formats blow texts up differently, hence the tries.
        """
        final = final_tasks({task.spec.id: task.spec.dependencies for task in snapshot.tasks}, _completed(snapshot))
        for room, unfinished in _TRIES[:-1]:
            tasks, whole = await self._finished(visit, snapshot, final, room, unfinished)
            document = await asyncio.to_thread(compose, snapshot.summary.spec.title, tasks, output_format)
            if len(document.content) <= CONTENT_BYTES:
                return document, not whole, final
        tasks, _ = await self._finished(visit, snapshot, final, *_TRIES[-1])
        return await asyncio.to_thread(compose, snapshot.summary.spec.title, tasks, output_format), True, final

    async def _snapshot(self, caller: Caller, operation: str, workflow_id: str) -> tuple[Visit, Snapshot]:
        findings = Findings()
        findings.workflow_id("workflow_id", workflow_id)
        findings.raise_any()
        visit = await self._authorisation.enter(caller, operation, workflow_id)
        snapshot = await self._store.snapshot(visit.namespace, workflow_id)
        if snapshot is None:
            raise no_workflow(workflow_id)
        return visit, snapshot

    async def _finished(
        self, visit: Visit, snapshot: Snapshot, final: frozenset[str], room: int, unfinished: int
    ) -> tuple[list[FinishedTask], bool]:
        """Return what goes into the document, within `room` bytes of outputs, and whether that is everything."""
        tasks: list[FinishedTask] = []
        whole = True
        for task in snapshot.tasks:
            spec, progress = task.spec, task.progress
            output = progress.output
            if output is None:
                unfinished -= 1
                whole = whole and unfinished >= 0
                if unfinished >= 0:
                    why = "" if progress.failure is None else progress.failure.message
                    tasks.append(FinishedTask(spec.id, spec.title, progress.status, failure=why, is_sink=False))
            elif spec.id in final and output.size <= room:
                room -= output.size
                content = await self._store.blob(visit.namespace, output.digest)
                tasks.append(FinishedTask(spec.id, spec.title, TaskStatus.COMPLETED, output.media_type, content))
            elif spec.id in final:
                whole = False
                note = f"({output.size} bytes are left out here: read the task {spec.id} by itself.)"
                if room > len(note):
                    room -= len(note)
                    tasks.append(FinishedTask(spec.id, spec.title, TaskStatus.COMPLETED, "text/plain", note.encode()))
        return tasks, whole


def _completed(snapshot: Snapshot) -> list[str]:
    """Return the ids of the tasks with an output. A substitute for a task that was skipped counts as its output."""
    return [task.spec.id for task in snapshot.tasks if task.progress.output is not None]


def _nothing_yet(snapshot: Snapshot) -> IllegalTransition:
    progress = snapshot.summary.progress
    if progress.failure is not None:
        return IllegalTransition(
            "OUTPUT_NOT_READY", f"The workflow failed without any output. {progress.failure.message}"
        )
    return IllegalTransition(
        "OUTPUT_NOT_READY", f"There is no output yet, the workflow is {progress.status}: watch it to its end."
    )
