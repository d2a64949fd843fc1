"""The texts behind what is shown for approval: a plan or a task names its descriptions by their SHA-256 alone."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from orcs_client.messages import PendingInput, Task

TASKS_SHOWN = 50
"""Tasks of one plan whose descriptions are shown."""


class Described(NamedTuple):
    """A task that is to be approved, and the hash of its description as it is asked about."""

    task_id: str
    description_sha256: str


def described(asked: PendingInput) -> list[Described]:
    """Return the tasks that a pending input shows for approval; none where it is about something else."""
    from orcs_client.messages import PendingInputKind

    kinds = (PendingInputKind.PENDING_INPUT_KIND_PLAN_APPROVAL, PendingInputKind.PENDING_INPUT_KIND_TASK_APPROVAL)
    if asked.kind not in kinds or not asked.subject.json:
        return []
    shown = json.loads(asked.subject.json)
    return [
        Described(task["id"], task["description_sha256"]) for task in (shown if isinstance(shown, list) else [shown])
    ]


def text_of(task: Task, wanted: Described) -> str:
    """Return the description if it is the one that is asked about."""
    text = task.description.text
    if hashlib.sha256(text.encode()).hexdigest() == wanted.description_sha256:
        return text
    return "(It is another one by now, or too long to be shown here: read it again before you approve it.)"
