"""Tasks that need approval are gates: who may not approve may not take one away, nor lead what rests on it around it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from orcs_server.errors import PermissionDenied
from orcs_server.workflow.edits import Amendment
from orcs_server.workflow.evolve_tasks import is_met
from orcs_server.workflow.fingerprints import plan_shown, shown_digest
from orcs_server.workflow.model import ApprovalPolicy
from orcs_server.workflow.state import TaskState, WorkflowState


def is_gate(task: TaskState) -> bool:
    """Whether the task needs approval and holds up what rests on it."""
    return task.spec.needs_approval and not is_met(task)


def refuse_to_lift(names: Iterable[str]) -> None:
    """Raise PermissionDenied for the first of these gates."""
    for name in names:
        raise PermissionDenied(
            "PERMISSION_DENIED",
            f"Task {name} needs approval, and this would take that away: ask somebody who may approve it.",
        )


def refuse_unapproved(state: WorkflowState) -> None:
    """Raise PermissionDenied while the plan has to be approved yet: what is shown of it does not tell what is skipped."""
    if state.spec.approval_policy is not ApprovalPolicy.PLAN:
        return
    if state.progress.approved != shown_digest(plan_shown(state)):
        raise PermissionDenied(
            "PERMISSION_DENIED",
            "The plan is not approved yet, and would not show what is skipped: change the plan instead, wait for its approval, or "
            "ask somebody who may approve it.",
        )


def gates_before(state: WorkflowState, task_id: str) -> list[str]:
    """Return the gates that hold a task up: itself, and those that it rests on by way of what is not done either."""
    found = [task_id]
    known = {task_id}
    for name in found:  # It grows on the way.
        for below in state.tasks[name].spec.dependencies:
            if below not in known and not is_met(state.tasks[below]):
                known.add(below)
                found.append(below)
    return [name for name in found if is_gate(state.tasks[name])]


def lifted_by(state: WorkflowState, change: Amendment) -> list[str]:
    """Return the gates that a change of the plan takes away. None where the plan itself is asked for anew."""
    gates = [name for name in sorted(state.tasks) if is_gate(state.tasks[name])]
    if not gates or state.spec.approval_policy is ApprovalPolicy.PLAN:
        return []
    before = {name: task.spec for name, task in state.tasks.items()}
    after = {name: spec for name, spec in before.items() if name not in change.removed}
    after.update((spec.id, spec) for spec in (*change.changed, *change.added))
    resting_before = _dependants({name: spec.dependencies for name, spec in before.items()})
    resting_after = _dependants({name: spec.dependencies for name, spec in after.items()})
    # What has become optional can be cancelled without holding anything up.
    loosened = {spec.id for spec in change.changed if spec.optional and not before[spec.id].optional}
    lifted = []
    for name in gates:
        kept = after.get(name)
        held = {name, *_resting_on(name, resting_before).intersection(after)}
        around = held - {name} - _resting_on(name, resting_after)
        if kept is None or not kept.needs_approval or around or not held.isdisjoint(loosened):
            lifted.append(name)
    return lifted


def _dependants(dependencies: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, rests_on in dependencies.items():
        for dependency in rests_on:
            found[dependency].append(name)
    return found


def _resting_on(gate: str, dependants: Mapping[str, Sequence[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [gate]
    while waiting:
        fresh = [name for name in dependants.get(waiting.pop(), ()) if name not in found]
        found.update(fresh)
        waiting += fresh
    return found
