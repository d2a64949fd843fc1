"""The explanation put together from a state and what its log says."""

from __future__ import annotations

from orcs_server.identity.quotas import UsedUp
from orcs_server.outputs.explaining.explanation import Cost, Explanation
from orcs_server.outputs.explaining.history import History
from orcs_server.outputs.explaining.tasks import explain_task
from orcs_server.outputs.explaining.waits import Waits
from orcs_server.workflow.state import WorkflowState


def explain(state: WorkflowState, history: History, now_us: int, used_up: UsedUp | None = None) -> Explanation:
    """Return why the workflow stands where it stands, and each of the tasks that the history was taken down for.

    `used_up` is the quota of its namespace that keeps what is ready from starting.
    """
    waits = Waits(state, history, now_us, used_up)
    tasks = tuple(explain_task(waits, state.tasks[name], task) for name, task in history.tasks.items())
    progress = state.progress
    return Explanation(
        progress.status,
        waits.workflow(),
        history.past(),
        history.attempts.shown(progress.planning.attempt),
        _cost(state, now_us),
        tasks,
    )


def _cost(state: WorkflowState, now_us: int) -> Cost:
    progress = state.progress
    ran_us = progress.ran_us
    if progress.running_since_us is not None:
        ran_us += max(now_us - progress.running_since_us, 0)
    end_us = now_us if progress.finished_us is None else progress.finished_us
    planning = progress.planning.usage
    return Cost(
        progress.usage,
        planning,
        progress.usage - planning,
        ran_us,
        max(end_us - progress.created_us, 0),
        state.spec.budget,
    )
