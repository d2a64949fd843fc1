"""What is to be approved, as people read it: the tasks of a plan, or one, with the texts that the server shows by their hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from orcs_client.messages import Budget, PendingInput, PendingInputKind, SubjectTask, value_named
from orcs_server.cli.wording import budget_words
from orcs_server.outputs.safe_text import one_line, safe_text


def tasks_of(asked: PendingInput) -> list[dict[str, Any]]:
    """Return the tasks that are to be approved, as the server shows them; none where something else is."""
    if not asked.subject.json:
        return []
    if asked.kind == value_named(PendingInputKind, "plan-approval"):
        return list(json.loads(asked.subject.json))
    if asked.kind == value_named(PendingInputKind, "task-approval"):
        return [json.loads(asked.subject.json)]
    return []


def subject_lines(asked: PendingInput) -> Iterator[str]:
    """Yield the tasks that are to be approved in lines, with an empty line before each."""
    texts = {task.task_id: task for task in asked.subject_tasks}
    for shown in tasks_of(asked):
        yield ""
        yield from _task_lines(shown, texts.get(shown["id"]), asked.workflow_id)


def incomplete_words(asked: PendingInput) -> str:
    """Return what is said of something that a reply does not show as a whole, so that a mere yes would approve it unseen."""
    place = f"{asked.workflow_id} {asked.id}"
    return (
        f"It is not shown as a whole. Read it (orcs show {asked.workflow_id} TASK), then say what you have seen: orcs approve "
        f"{place} --sha256 {asked.subject_sha256}; or approve it whatever it is: --yes"
    )


def _task_lines(shown: dict[str, Any], task: SubjectTask | None, workflow_id: str) -> Iterator[str]:
    notes = [one_line(shown["agent_id"])]
    if shown["dependencies"]:
        notes.append(f"after {one_line(', '.join(shown['dependencies']), 400)}")
    notes.extend(note for key, note in (("optional", "optional"), ("needs_approval", "needs approval")) if shown[key])
    limits = {key: value for key, value in (shown["budget"] or {}).items() if value is not None}
    if limits:
        notes.append(f"at most {_limits_words(limits)}")
    title = "" if task is None else f"  {one_line(task.title)}"
    yield f"{one_line(shown['id'])}{title}  ({', '.join(notes)})"
    if task is None:
        yield f"    its text: orcs show {workflow_id} {shown['id']}"
    elif _sha256(task.description) != shown["description_sha256"]:
        yield "    its text is not the one that is asked about: ask again"
    else:
        for line in safe_text(task.description).splitlines():
            yield f"    {line}".rstrip()
        if _sha256(task.output_schema) == shown.get("output_schema_sha256"):
            yield f"    its output fits {one_line(task.output_schema, 2_000)}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _limits_words(limits: dict[str, Any]) -> str:
    budget = Budget(**{key: value for key, value in limits.items() if key in {"tokens", "cost_micros"}})
    if "wall_time_us" in limits:
        budget.wall_time.FromMicroseconds(limits["wall_time_us"])
    return budget_words(budget)
