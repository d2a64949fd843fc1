"""What makes a plan, and a workflow's settings, good ones. Every violation is reported, not the first; limits bound what is
said about each.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from orcs_server.errors import Violation
from orcs_server.identity import TASK_ID
from orcs_server.workflow.model import TITLE_LIMIT, Budget, TaskSpec, WorkflowSpec

VIOLATION_LIMIT = 100
"""Violations that one answer lists; the rest is counted."""
PRIORITY_LIMIT = 1000
ATTEMPTS_LIMIT = 100
TIMEOUT_LIMIT_US = 30 * 86_400_000_000
MULTIPLIER_LIMIT = 10.0
_SHOWN = 80
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line separators, overrides of the writing direction, lone surrogates."""


def check_plan(
    tasks: Sequence[TaskSpec],
    *,
    agents: Collection[str],
    max_tasks: int,
    existing: Collection[str] = (),
    where: str = "plan.tasks",
) -> tuple[Violation, ...]:
    """Return everything that is wrong with these tasks, given the ids that the plan has already; () if nothing is."""
    if not tasks:
        return (Violation(where, "A plan needs at least one task."),)
    if len(tasks) + len(existing) > max_tasks:
        total = len(tasks) + len(existing)
        return (Violation(where, f"A plan may have {max_tasks} tasks at most, this one would have {total}."),)
    found: list[Violation] = []
    ids: dict[str, int] = {}
    for index, task in enumerate(tasks):
        at = f"{where}[{index}]"
        if not TASK_ID.fullmatch(task.id):
            found.append(Violation(f"{at}.id", f"{quote(task.id)} is no task id: use [a-z][a-z0-9_-]{{0,62}}."))
        if task.id in existing or task.id in ids:
            found.append(Violation(f"{at}.id", f"{quote(task.id)} is taken: every task needs an id of its own."))
        ids.setdefault(task.id, index)
        found.extend(check_fields(task, at, agents))
    for index, task in enumerate(tasks):
        found.extend(check_dependencies(task, f"{where}[{index}].dependencies", ids, existing))
    found.extend(check_cycles(tasks, ids, where))
    return limited(found, where)


def limited(found: Sequence[Violation], where: str) -> tuple[Violation, ...]:
    """Return the first of the violations, and how many more there are."""
    if len(found) <= VIOLATION_LIMIT:
        return tuple(found)
    rest = len(found) - VIOLATION_LIMIT
    return (*found[:VIOLATION_LIMIT], Violation(where, f"{rest} more violations are not listed."))


def check_spec(spec: WorkflowSpec) -> tuple[Violation, ...]:
    """Return everything that is wrong with a workflow's settings: with these it could get stuck or never end."""
    retry = spec.retry
    rules = (
        ("title", _is_title(spec.title), f"1 to {TITLE_LIMIT} characters, no control characters"),
        ("priority", abs(spec.priority) <= PRIORITY_LIMIT, f"-{PRIORITY_LIMIT} to {PRIORITY_LIMIT}"),
        ("max_parallel_tasks", spec.max_parallel_tasks >= 1, "at least 1"),
        ("max_tasks", spec.max_tasks >= 1, "at least 1"),
        ("max_plan_repairs", spec.max_plan_repairs >= 0, "at least 0"),
        ("max_losses", spec.max_losses >= 0, "at least 0"),
        ("task_timeout", 0 < spec.task_timeout_us <= TIMEOUT_LIMIT_US, "more than zero, at most 30 days"),
        ("max_proposed_tasks", spec.max_proposed_tasks >= 0, "at least 0"),
        ("max_proposal_depth", spec.max_proposal_depth >= 0, "at least 0"),
        ("approval_expires", spec.approval_expires_us is None or spec.approval_expires_us > 0, "more than zero"),
        ("retry_policy.max_attempts", 1 <= retry.max_attempts <= ATTEMPTS_LIMIT, f"1 to {ATTEMPTS_LIMIT}"),
        ("retry_policy.initial_backoff", 0 <= retry.initial_backoff_us <= TIMEOUT_LIMIT_US, "0 to 30 days"),
        ("retry_policy.max_backoff", 0 <= retry.max_backoff_us <= TIMEOUT_LIMIT_US, "0 to 30 days"),
        ("retry_policy.multiplier", 1 <= retry.multiplier <= MULTIPLIER_LIMIT, f"1 to {MULTIPLIER_LIMIT:g}"),
    )
    wrong = tuple(Violation(field, f"It must be {bounds}.") for field, holds, bounds in rules if not holds)
    return wrong + check_budget(spec.budget, "budget")


def check_budget(budget: Budget, at: str) -> tuple[Violation, ...]:
    """Return what is wrong with a budget: a limit that is reached before anything is spent."""
    return tuple(
        Violation(f"{at}.{name.removesuffix('_us')}", "A limit is at least 1; without one, leave it out.")
        for name in Budget.__struct_fields__
        if (limit := getattr(budget, name)) is not None and limit < 1
    )


def _is_title(text: str) -> bool:
    return bool(text.strip()) and len(text) <= TITLE_LIMIT and not _UNPRINTABLE.search(text)


def check_fields(task: TaskSpec, at: str, agents: Collection[str]) -> list[Violation]:
    found: list[Violation] = []
    if not _is_title(task.title):
        bounds = f"1 to {TITLE_LIMIT} characters, without control characters"
        found.append(Violation(f"{at}.title", f"A task needs a title of {bounds}."))
    if task.agent_id not in agents:
        known = ", ".join(sorted(agents)[:20])
        found.append(Violation(f"{at}.agent_id", f"There is no agent {quote(task.agent_id)}; there are: {known}."))
    if abs(task.priority) > PRIORITY_LIMIT:
        found.append(Violation(f"{at}.priority", f"A priority lies between -{PRIORITY_LIMIT} and {PRIORITY_LIMIT}."))
    if task.timeout_us is not None and not 0 < task.timeout_us <= TIMEOUT_LIMIT_US:
        found.append(Violation(f"{at}.timeout", "A timeout is more than zero and at most 30 days."))
    if task.max_attempts is not None and not 1 <= task.max_attempts <= ATTEMPTS_LIMIT:
        found.append(Violation(f"{at}.max_attempts", f"A task has 1 to {ATTEMPTS_LIMIT} attempts."))
    found.extend(check_budget(task.budget, f"{at}.budget"))
    return found


def check_dependencies(task: TaskSpec, at: str, ids: Collection[str], existing: Collection[str]) -> list[Violation]:
    found: list[Violation] = []
    seen: set[str] = set()
    for place, dependency in enumerate(task.dependencies):
        if dependency == task.id:
            found.append(Violation(f"{at}[{place}]", f"Task {quote(task.id)} depends on itself."))
        elif dependency in seen:
            found.append(Violation(f"{at}[{place}]", f"{quote(dependency)} is named twice."))
        elif dependency not in ids and dependency not in existing:
            found.append(Violation(f"{at}[{place}]", f"There is no task {quote(dependency)} to depend on."))
        seen.add(dependency)
    return found


def check_cycles(tasks: Sequence[TaskSpec], ids: dict[str, int], where: str) -> list[Violation]:
    """Take away tasks that wait for nothing; whenever none is left, a cycle is: report it, open it, go on."""
    waits_for = [[ids[name] for name in task.dependencies if name in ids and name != task.id] for task in tasks]
    dependants: list[list[int]] = [[] for _ in tasks]
    for index, awaited in enumerate(waits_for):
        for dependency in awaited:
            dependants[dependency].append(index)
    unmet = [len(awaited) for awaited in waits_for]
    free = [index for index, count in enumerate(unmet) if count == 0]
    found: list[Violation] = []
    start = 0
    while len(found) <= VIOLATION_LIMIT:
        while free:
            for dependant in dependants[free.pop()]:
                unmet[dependant] -= 1
                if unmet[dependant] == 0:
                    free.append(dependant)
        start = next((index for index in range(start, len(tasks)) if unmet[index] > 0), len(tasks))
        if start == len(tasks):
            break
        cycle = _one_cycle(start, waits_for, unmet)
        names = [tasks[index].id for index in cycle]
        shown = " -> ".join(names[:10]) + (" -> …" if len(names) > 10 else f" -> {names[0]}")
        found.append(Violation(where, f"The dependencies run in a circle: {shown}. Remove one of them."))
        unmet[cycle[0]] = 0
        free.append(cycle[0])
    return found


def _one_cycle(start: int, waits_for: list[list[int]], unmet: list[int]) -> list[int]:
    """Walk dependencies that are still unmet: each such task has one, so the walk must come back on itself."""
    at = start
    path: dict[int, None] = {}
    while at not in path:
        path[at] = None
        at = next(index for index in waits_for[at] if unmet[index] > 0)
    trail = list(path)
    return trail[trail.index(at) :]


def quote(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
