"""A plan from the shape of a request: look into every item on its own, put figures and code in between where words ask for them,
and join everything in one text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from orcs_server.agents.offline.shapes import Shape, read_shape
from orcs_server.agents.planner import PlannerInput, PlannerOutput, PlannerTask
from orcs_server.workflow.model import PlanningStrategy

MAX_BRANCHES = 12
"""Tasks side by side, at most; more items share a task."""
MAX_BUILT_ON = 50
"""Earlier tasks on which a new one builds, at most."""
_QUOTE = 2_000
_WANTED = "What a person added:"
_TITLE = 80
_ASPECTS = ("the background and the terms", "the options, with examples", "the limits, costs and risks")


def plan_by_rule(asked: PlannerInput) -> PlannerOutput:
    """Return a plan for a planner's input: the same for the same input, within its limit of tasks, with its agents only."""
    return _anew(asked) if asked.stays else _plan(asked, _shape(asked))


def _plan(asked: PlannerInput, shape: Shape) -> PlannerOutput:
    if asked.max_tasks < 2 or (asked.strategy is PlanningStrategy.MINIMAL and not _has_parts(shape)):
        return PlannerOutput(tasks=[_single(shape, asked)])
    if asked.strategy is PlanningStrategy.MINIMAL:
        return PlannerOutput(tasks=[*_tasks(asked, shape, 1), _joining(shape, asked, [0])])
    extras = int(shape.wants_data) + int(shape.wants_code)
    tasks = _tasks(asked, shape, max(1, min(MAX_BRANCHES, asked.max_tasks - 1 - extras)))
    branches = list(range(len(tasks)))
    if shape.wants_data and len(tasks) < asked.max_tasks - 1:
        tasks.append(_task("Put the figures side by side", "data_agent", _data(shape), branches, asked))
    if shape.wants_code and len(tasks) < asked.max_tasks - 1:
        tasks.append(_task("Write the code", "coding_agent", _code(shape), branches, asked))
    tasks.append(_joining(shape, asked, list(range(len(tasks)))))
    if asked.strategy is PlanningStrategy.SEQUENTIAL:
        for position, task in enumerate(tasks[:-1]):
            task.dependencies = [position - 1] if position else []
    return PlannerOutput(tasks=tasks)


def _shape(asked: PlannerInput) -> Shape:
    """Return the shape of the request; what people have added to it counts first."""
    if not asked.instructions:
        return read_shape(asked.query)
    added = read_shape(asked.instructions)
    shape = added if added.items else read_shape(asked.query)
    return replace(shape, text=f"{asked.query[:_QUOTE]}\n\n{_WANTED}\n{asked.instructions}".strip())


def _anew(asked: PlannerInput) -> PlannerOutput:
    """Plan what is still to be done: what was added to the request, then a text that joins it with what is there already."""
    shape = _shape(asked)
    added = read_shape(asked.instructions)
    tasks: list[PlannerTask] = []
    if asked.instructions and asked.max_tasks > 1:
        parts = added.items or (" ".join(asked.instructions.split())[:200],)
        groups = [_joined(group) for group in _grouped(parts, min(MAX_BRANCHES, asked.max_tasks - 1))]
        tasks = [_task(_title_of(one), "research_agent", _research(one, shape), [], asked) for one in groups]
    joining = _joining(shape, asked, list(range(len(tasks))))
    joining.builds_on = list(asked.stays[:MAX_BUILT_ON])
    return PlannerOutput(tasks=[*tasks, joining])


def _has_parts(shape: Shape) -> bool:
    return bool(shape.items) or shape.wants_data or shape.wants_code


def _tasks(asked: PlannerInput, shape: Shape, branches: int) -> list[PlannerTask]:
    """Return the tasks that look into the items, or into the usual aspects where the request names no items."""
    parts = shape.items or _ASPECTS
    groups = [_joined(group) for group in _grouped(parts, branches)]
    return [_task(_title_of(one), "research_agent", _research(one, shape), [], asked) for one in groups]


def _title_of(part: str) -> str:
    return f"Answer: {part}" if part.endswith("?") else f"Look into {part}"


def _grouped(parts: Sequence[str], branches: int) -> list[Sequence[str]]:
    """Spread the parts over at most so many groups, in order and as evenly as can be."""
    count = min(len(parts), branches)
    bounds = [round(index * len(parts) / count) for index in range(count + 1)]
    return [parts[start:end] for start, end in pairwise(bounds)]


def _single(shape: Shape, asked: PlannerInput) -> PlannerTask:
    title = f"Answer: {shape.text.splitlines()[0]}" if shape.text else "Answer an empty request"
    return _task(title, "writing_agent", f"Answer this request in one text.\n\n{_request(shape)}", [], asked)


def _joining(shape: Shape, asked: PlannerInput, dependencies: list[int]) -> PlannerTask:
    questions = any(item.endswith("?") for item in shape.items)
    what = f"the comparison of {_joined(shape.items)}" if shape.items and not questions else "the answer"
    description = (
        f"Join the results of the earlier tasks into one finished text that answers the request. Begin with the outcome, set the "
        f"results side by side in a table, then go through them one by one.\n\n{_request(shape)}"
    )
    return _task(f"Write up {what}", "writing_agent", description, dependencies, asked)


def _task(title: str, agent_id: str, description: str, dependencies: list[int], asked: PlannerInput) -> PlannerTask:
    known = asked.agents
    agent = agent_id if agent_id in known or not known else known[0]
    line = " ".join(title.split())
    short = line if len(line) <= _TITLE else f"{line[: _TITLE - 1]}…"
    return PlannerTask(title=short, description=description, agent_id=agent, dependencies=list(dependencies))


def _research(part: str, shape: Shape) -> str:
    scope = f", {shape.scope}" if shape.scope else ""
    return (
        f"{_title_of(part)}{scope}. Say what it is, what speaks for it, what speaks against it, and what remains open. Leave the other "
        f"parts of the request to others.\n\n{_request(shape)}"
    )


def _data(shape: Shape) -> str:
    return (
        f"Extract the figures from the results of the earlier tasks and set them side by side in a table. Say which are "
        f"missing.\n\n{_request(shape)}"
    )


def _code(shape: Shape) -> str:
    return (
        f"Write the code that the request asks for, building on the results of the earlier tasks.\n\n{_request(shape)}"
    )


def _request(shape: Shape) -> str:
    if not shape.text:
        return "The request is empty."
    text = shape.text if len(shape.text) <= _QUOTE else f"{shape.text[:_QUOTE]}…"
    return f"The whole request:\n{text}"


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
