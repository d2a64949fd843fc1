"""Which slots a workflow asks for: those of what is due and has not begun."""

from __future__ import annotations

from collections.abc import Iterable

from orcs_server.agents.definition import PLANNER_ID
from orcs_server.engines.local.slots import Want
from orcs_server.workflow.due import due, is_suspected
from orcs_server.workflow.effects import MakePlan, RunAttempt
from orcs_server.workflow.state import WorkflowState


def wants_of(state: WorkflowState, now_us: int, granted: Iterable[Want]) -> list[Want]:
    """Return what may start now, less what has a slot already, in the order in which it ought to start."""
    held = {(want.task_id, want.attempt) for want in granted}
    wants: list[Want] = []
    for effect in due(state, now_us):
        if isinstance(effect, RunAttempt):
            known = state.tasks[effect.task_id].progress
            if effect.attempt > known.attempt:
                suspected = is_suspected(known.losses, state.spec)
                wants.append(Want(effect.task_id, effect.attempt, effect.agent_id, suspected))
        elif isinstance(effect, MakePlan) and effect.attempt > state.progress.planning.attempt:
            suspected = is_suspected(state.progress.planning.losses, state.spec)
            wants.append(Want("", effect.attempt, PLANNER_ID, suspected))
    return [want for want in wants if (want.task_id, want.attempt) not in held]
