"""From the planner's answer to tasks: positions become ids, texts become blobs. Whether the plan holds together is the core's
to say; what cannot even be written as tasks is told here, in the planner's own terms, so that it can repair it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from orcs_server.agents.planner import PlannerOutput, PlannerTask
from orcs_server.agents.structured import schema_problems
from orcs_server.storage.store import Blob, blob_of
from orcs_server.workflow.model import TITLE_LIMIT, Digest, Planning, TaskSpec
from orcs_server.workflow.plan import TIMEOUT_LIMIT_US

DESCRIPTION_LIMIT = 65_536
"""Bytes of a description that a planner may write."""

_NUMBERED = re.compile(r"t[1-9][0-9]{0,8}")


class PlanTexts:
    """Collects a plan's texts as blobs, each once."""

    def __init__(self) -> None:
        self._blobs: dict[Digest, Blob] = {}

    @property
    def blobs(self) -> tuple[Blob, ...]:
        return tuple(self._blobs.values())

    def add(self, text: str) -> Digest:
        """Keep a text and return the digest that stands for it."""
        blob = blob_of(text.encode("utf-8", "replace"))
        self._blobs[blob.digest] = blob
        return blob.digest


def problems_of(answer: PlannerOutput, stays: Sequence[str] = ()) -> tuple[str, ...]:
    """Return why the answer cannot be written as tasks; () when it can. On the tasks that stay, others may build."""
    if not answer.tasks:
        return ("tasks: a plan needs at least one task",)
    found = [problem for index, task in enumerate(answer.tasks) for problem in _problems(index, task, answer.tasks)]
    known = f"the tasks that stay are {', '.join(stays[:20])}" if stays else "no task stays"
    found += (
        f"tasks[{index}].builds_on: {name[:80]!r} is none of the tasks that stay; {known}"
        for index, task in enumerate(answer.tasks)
        for name in task.builds_on or ()
        if name not in stays
    )
    return tuple(found)


def to_tasks(
    answer: PlannerOutput, texts: PlanTexts, taken: Iterable[str] = (), *, untrusted: bool = False
) -> tuple[TaskSpec, ...]:
    """Return the tasks `t1`, `t2`… of an answer that has no problems. They are numbered on from the ids that are taken.

    They are `untrusted` where the planner had read what comes from outside.
    """
    numbers = (int(name[1:]) for name in taken if _NUMBERED.fullmatch(name))
    first = max(numbers, default=0) + 1
    return tuple(_to_task(index, task, texts, first, untrusted=untrusted) for index, task in enumerate(answer.tasks))


def planning_run(planning: Planning) -> int:
    """Return the number of the conversation: a repair asks something else, and so does planning anew.

    No two pairs of counts have the same one, for repairs are far fewer than a million.
    """
    return planning.replans * 1_000_000 + planning.rejected + 1


def _to_task(index: int, task: PlannerTask, texts: PlanTexts, first: int, *, untrusted: bool) -> TaskSpec:
    positions = (f"t{first + position}" for position in task.dependencies)
    return TaskSpec(
        id=f"t{first + index}",
        title=_title(task.title),
        description=texts.add(task.description),
        agent_id=task.agent_id,
        dependencies=tuple(dict.fromkeys([*(task.builds_on or ()), *positions])),
        priority=task.priority or 0,
        timeout_us=None if task.timeout_seconds is None else round(task.timeout_seconds * 1e6),
        max_attempts=task.max_attempts,
        optional=bool(task.optional),
        output_schema=texts.add(task.output_schema) if task.output_schema else None,
        untrusted=untrusted,
    )


def _problems(index: int, task: PlannerTask, tasks: Sequence[PlannerTask]) -> list[str]:
    at = f"tasks[{index}]"
    found = [
        f"{at}.dependencies: {position} is not the position of a task; the positions are 0 to {len(tasks) - 1}"
        for position in task.dependencies
        if not 0 <= position < len(tasks)
    ]
    if index in task.dependencies:
        found.append(f"{at}.dependencies: a task cannot depend on itself")
    if not task.title.strip():
        found.append(f"{at}.title: a task needs a title")
    if not task.description.strip():
        found.append(f"{at}.description: a task needs a description")
    if len(task.description.encode("utf-8", "replace")) > DESCRIPTION_LIMIT:
        found.append(f"{at}.description: a description has at most {DESCRIPTION_LIMIT} bytes")
    if task.timeout_seconds is not None and not 0 < task.timeout_seconds <= TIMEOUT_LIMIT_US / 1e6:
        found.append(f"{at}.timeout_seconds: a timeout is more than zero and at most 30 days")
    if task.output_schema:
        found += (f"{at}.output_schema: {problem}" for problem in _schema_problems(task.output_schema))
    return found


def _schema_problems(text: str) -> tuple[str, ...]:
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError):
        return ("this is no JSON schema: write a JSON object as a string, or leave it out",)
    return schema_problems(schema)


def _title(text: str) -> str:
    """Planners are wordy: a long title is cut, not refused."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_LIMIT else line[: TITLE_LIMIT - 1] + "…"
