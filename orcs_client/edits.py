"""Edits of a plan: put together in Python, or read from a JSON file."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from orcs_client.plans import invalid, plan, read_file, read_json
from orcs_client.requests import seconds
from orcs_client.v1 import plan_edit_pb2, workflow_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Unpack

    from orcs_client.plans import PlanTaskFields
    from orcs_client.v1 import workflow_pb2

PlanEdit = plan_edit_pb2.PlanEdit


class TaskChanges(TypedDict, total=False):
    """What can be changed of a task that has not begun, each field as in `orcs.v1.ChangeTask`; `timeout` is in seconds."""

    title: str
    description: str
    agent_id: str
    priority: int
    timeout: float
    max_attempts: int
    optional: bool
    output_schema: str
    needs_approval: bool
    budget: workflow_pb2.Budget


def add_task(**fields: Unpack[PlanTaskFields]) -> PlanEdit:
    """Return the edit that adds a task; its `id` must be given. Raises `InvalidArgument` as `plan` does."""
    return PlanEdit(add=plan_edit_pb2.AddTask(task=plan([fields]).tasks[0]))


def change_task(task_id: str, **changes: Unpack[TaskChanges]) -> PlanEdit:
    """Return the edit that changes a task: what is given is changed, the rest stays.

    A `timeout` of 0, `max_attempts` of 0, an empty `output_schema` and an empty budget take back what was set.
    """
    fields = dict(changes)
    timeout = fields.pop("timeout", None)
    try:
        change = plan_edit_pb2.ChangeTask(task_id=task_id, **fields)  # type: ignore[arg-type] # protobuf checks them
        if timeout is not None:
            change.timeout.CopyFrom(seconds("timeout", timeout))  # type: ignore[arg-type] # so does this
    except (TypeError, ValueError) as error:
        raise invalid("change_task", str(error)) from error
    return PlanEdit(change=change)


def remove_task(task_id: str) -> PlanEdit:
    """Return the edit that takes a task out of the plan."""
    return PlanEdit(remove=plan_edit_pb2.RemoveTask(task_id=task_id))


def set_dependencies(task_id: str, dependencies: Iterable[str]) -> PlanEdit:
    """Return the edit that sets what a task waits for."""
    edit = plan_edit_pb2.SetDependencies(task_id=task_id, dependencies=tuple(dependencies))
    return PlanEdit(set_dependencies=edit)


def load_edits(path: str | Path) -> tuple[PlanEdit, ...]:
    """Return the edits in a file, as `parse_edits` reads them. Raises `InvalidArgument` also if the file cannot be read."""
    return parse_edits(read_file(path), str(path))


def parse_edits(text: str, name: str = "edits") -> tuple[PlanEdit, ...]:
    """Return the edits that `text` holds in protojson: `{"edits": [{"add": {"task": {…}}}, {"change": {"task_id": "b", …}},
    {"remove": {"task_id": "c"}}, {"set_dependencies": {"task_id": "d", "dependencies": ["b"]}}]}`.

    Raises `InvalidArgument`, naming the place, for what is not JSON, an unknown or repeated field, a wrong type, and for
    no edits at all. `name` says in the message where the text came from.
    """
    made = workflow_service_pb2.EditPlanRequest()
    request = read_json(text, made, name, "these are no edits", '{"edits": […]}')
    others = [field.name for field, _ in request.ListFields() if field.name != "edits"]
    if others:
        raise invalid(name, f"it holds {others[0]!r}: only the edits belong here")
    if not request.edits:
        raise invalid(name, 'it holds no edits: {"edits": […]} must have at least one')
    return tuple(request.edits)
