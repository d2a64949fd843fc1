"""What a running attempt says to its workflow, and what its workflow lets it know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcs_server.executor.steering import Steering
from orcs_server.storage.store import Blob
from orcs_server.workflow import messages as m
from orcs_server.workflow.effects import MakePlan, RunAttempt, Stop
from orcs_server.workflow.model import NO_BUDGET, PlanSource, TaskSpec, Usage
from orcs_server.workflow.state import WorkflowState

if TYPE_CHECKING:
    from orcs_server.engines.local.actor import WorkflowActor


class Observer:
    """Hears what an attempt says while it runs, and passes it on to the workflow."""

    __slots__ = ("_actor", "_agent_id", "_attempt", "_task_id", "muted")

    def __init__(self, actor: WorkflowActor, task_id: str, attempt: int, agent_id: str) -> None:
        self._actor = actor
        self._task_id = task_id
        self._attempt = attempt
        self._agent_id = agent_id
        self.muted = False
        """The attempt is over: what it still says is not heard. What it spent still counts."""

    def delta(self, text: str) -> None:
        """Text that the model produced."""
        if not self.muted:
            self._actor.feed.add_text(self._task_id, self._attempt, text)

    def usage(self, calls: int, usage: Usage) -> None:
        """What the attempt has consumed so far."""
        report = m.UsageRecorded(self._attempt, calls, usage, self._task_id)
        self._actor.tell_usage(report, actor=f"agent:{self._agent_id}")

    def mismatch(self, path: str, turn: int) -> None:
        """The attempt left the course of its journal."""
        report = m.JournalMismatch(self._attempt, turn, path, self._task_id)
        self._actor.tell(report, actor=f"agent:{self._agent_id}")


def steering_of(actor: WorkflowActor, effect: RunAttempt | MakePlan, state: WorkflowState, agent_id: str) -> Steering:
    """Return what an attempt that begins now knows of people, and the ways in which it asks its workflow."""
    task_id = effect.task_id if isinstance(effect, RunAttempt) else ""

    async def settled() -> None:
        current = actor.state
        if current is not None and (_has_budget(current, task_id) or actor.engine.spending.limits(actor.namespace)):
            await actor.idle()

    async def propose(tasks: tuple[TaskSpec, ...], blobs: tuple[Blob, ...]) -> None:
        proposal = m.TasksProposed(tasks, PlanSource.TASK, task_id, effect.attempt)
        await actor.propose(proposal, blobs, actor=f"agent:{agent_id}")

    asked = [one for one in state.inputs.values() if one.task_id == task_id or one.shared]
    asked.sort(key=lambda one: one.ordinal)
    steering = Steering(
        mail=state.mail_for(task_id), inputs=asked, settled=settled, propose=propose if task_id else None
    )
    if effect.stop is not Stop.NONE or actor.engine.spending.holds(actor.namespace):
        steering.request_stop()
    return steering


def _has_budget(state: WorkflowState, task_id: str) -> bool:
    task = state.tasks.get(task_id)
    return state.spec.budget != NO_BUDGET or (task is not None and task.spec.budget != NO_BUDGET)
