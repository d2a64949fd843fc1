"""From a client's tasks to a plan as the core takes it: ids filled in, texts as blobs, everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct

from orcs_server.service.requests import NewTask
from orcs_server.service.validation import Findings
from orcs_server.storage.store import Blob, blob_of
from orcs_server.workflow.model import TITLE_LIMIT, Digest, TaskSpec
from orcs_server.workflow.plan import check_plan


class CheckedPlan(Struct, frozen=True):
    """A plan and its texts. Usable only where nothing was found."""

    tasks: tuple[TaskSpec, ...]
    blobs: tuple[Blob, ...]


def with_ids(tasks: Sequence[NewTask]) -> tuple[str, ...]:
    """Return the tasks' ids: their own, or `t1`, `t2`… by their place."""
    return tuple(task.id or f"t{place}" for place, task in enumerate(tasks, 1))


def read_plan(
    tasks: Sequence[NewTask],
    findings: Findings,
    *,
    agents: Collection[str],
    max_tasks: int,
    max_description_bytes: int,
    where: str = "plan.tasks",
) -> CheckedPlan:
    """Return the plan; what is wrong with it goes into `findings`."""
    blobs: dict[Digest, Blob] = {}
    specs = []
    # The texts of a plan that is far too large are not looked at: its refusal must cost little.
    acceptable = len(tasks) <= max_tasks
    for index, (task_id, task) in enumerate(zip(with_ids(tasks), tasks, strict=True)):
        before = len(findings)
        if acceptable:
            check_texts(task, f"{where}[{index}]", findings, max_description_bytes)
        specs.append(task_spec(task_id, task, blobs, storable=acceptable and len(findings) == before))
    findings.extend(check_plan(specs, agents=agents, max_tasks=max_tasks, where=where))
    return CheckedPlan(tuple(specs), tuple(blobs.values()))


def check_texts(task: NewTask, at: str, findings: Findings, max_description_bytes: int) -> None:
    """Check the texts of a client's task, and its budget."""
    # Its length is the plan's own rule, which says so itself.
    findings.line(f"{at}.title", task.title, max(len(task.title), TITLE_LIMIT))
    if not task.description.strip():
        findings.add(f"{at}.description", "A task needs a description: say what the agent is to do.")
    findings.text(f"{at}.description", task.description, max_description_bytes)
    findings.json_schema(f"{at}.output_schema", task.output_schema)
    findings.budget(f"{at}.budget", task.budget)


def task_spec(task_id: str, task: NewTask, blobs: dict[Digest, Blob], *, storable: bool) -> TaskSpec:
    """Return a client's task as the core takes it, its texts in `blobs` if they are fit to be stored."""

    def keep(text: str) -> Digest:
        blob = blob_of(text)
        blobs[blob.digest] = blob
        return blob.digest

    return TaskSpec(
        id=task_id,
        title=task.title,
        description=keep(task.description) if storable else Digest(""),
        agent_id=task.agent_id,
        dependencies=task.dependencies,
        priority=task.priority,
        timeout_us=task.timeout_us,
        max_attempts=task.max_attempts,
        optional=task.optional,
        output_schema=keep(task.output_schema) if task.output_schema and storable else None,
        needs_approval=task.needs_approval,
        budget=task.budget,
    )
