"""What a workflow waits for right now, as a function of its state and of what the log says of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from orcs_server.identity.quotas import FREED_WHEN, QuotaKind, UsedUp, freed_us
from orcs_server.outputs.explaining.explanation import Reason, ReasonCode
from orcs_server.outputs.explaining.history import History, born_frozen
from orcs_server.outputs.explaining.words import STOPPING, TASKS_NAMED, because, by, counted, listed, person
from orcs_server.storage.store import EventRecord
from orcs_server.workflow import events as e
from orcs_server.workflow.due import parallel_limit
from orcs_server.workflow.model import ResourceStatus
from orcs_server.workflow.people import PendingInput
from orcs_server.workflow.state import TaskState, WorkflowState
from orcs_server.workflow.states import TaskStatus, WorkflowStatus

INPUTS_TOLD: Final = 20
"""Inputs of tasks that the workflow's own reasons name; those of one task are all named with it."""


class Waits:
    """Why a workflow does not go on, or what it does."""

    def __init__(self, state: WorkflowState, history: History, now_us: int, used_up: UsedUp | None = None) -> None:
        self.state = state
        self.history = history
        self.now_us = now_us
        self._used_up = used_up
        self._by_status: dict[TaskStatus, list[TaskState]] = {}
        for task in state.tasks_in_order():
            self._by_status.setdefault(task.status, []).append(task)
        self.outages = {task.spec.agent_id: task for task in self._in(TaskStatus.RETRYING) if _waits_for_model(task)}
        """Agent whose model server is down -> a task that waits for it."""

    def workflow(self) -> tuple[Reason, ...]:
        """Return what the workflow as a whole waits for, or why it ended."""
        if self.state.terminal:
            return tuple(self._ended())
        return (*self.holds(), *self._asked(), *self._planning(), *self._tasks())

    def holds(self) -> list[Reason]:
        """Return what keeps every task from starting, or from going on."""
        state = self.state
        found: list[Reason] = []
        if state.status is WorkflowStatus.CANCELLING:
            found.append(self._stop(ReasonCode.CANCELLING, "It is being cancelled", self.history.cancel))
        if state.progress.frozen:
            found.append(self._stop(ReasonCode.FROZEN, "Its namespace is frozen", self.history.freeze))
        if state.progress.paused:
            found.append(self._stop(ReasonCode.PAUSED, "It is paused", self.history.pause))
        if state.status in (WorkflowStatus.PAUSING, WorkflowStatus.CANCELLING) and state.running_attempts:
            found.append(self._stopping())
        gate = state.gate
        if gate is not None:
            found.append(waiting_for_person(gate))
        if state.progress.planning.replanning:
            found.append(
                Reason(
                    ReasonCode.REPLANNING, "What has not begun is planned anew; nothing new starts until that is done."
                )
            )
        if state.standing is WorkflowStatus.READY and gate is None:
            found.extend(self._not_started())
        if (
            state.standing is WorkflowStatus.RUNNING
            and state.spec.holds_resources
            and state.progress.resources is ResourceStatus.NONE
        ):
            said = "The resources hook has not granted its resources yet; until it does, no task starts."
            found.append(Reason(ReasonCode.RESOURCES, said, time_us=self.history.resources_since_us))
        return found

    def slot(self, agent_id: str) -> list[Reason]:
        """Return why an agent's task that is ready does not run, though nothing holds the workflow."""
        found: list[Reason] = []
        limit, running = parallel_limit(self.state.spec), len(self.state.running)
        outage = self.outages.get(agent_id)
        if outage is not None:
            said = f"The model server of its agent does not answer: {outage.spec.id} waits to try it again, and others start once it answers."
            found.append(
                Reason(
                    ReasonCode.MODEL_OUTAGE,
                    said,
                    (outage.spec.id,),
                    time_us=outage.progress.retry_at_us,
                    failure=outage.progress.failure,
                )
            )
        if running >= limit:
            said = f"{counted(running, 'task')} of the workflow run, as many as may at once."
            found.append(
                Reason(ReasonCode.PARALLEL_LIMIT, said, tuple(name for _, name in self.state.running[:TASKS_NAMED]))
            )
        elif self._used_up is not None:
            found.append(_quota(self._used_up, self.now_us))
        elif outage is None:
            found.append(Reason(ReasonCode.SLOT, "It waits for a slot: it begins once the server has room for it."))
        return found

    # Inside

    def _in(self, status: TaskStatus) -> list[TaskState]:
        return self._by_status.get(status, [])

    def _stop(self, code: ReasonCode, what: str, record: EventRecord | None) -> Reason:
        if record is None or not isinstance(record.event, e.WorkflowPausing | e.WorkflowCancelRequested):
            return Reason(code, f"{what}.")
        actor = "" if born_frozen(self.state, record) else record.actor
        return Reason(
            code, f"{what}{by(actor)}{because(record.event.reason)}", time_us=record.time_us, actor=person(actor)
        )

    def _stopping(self) -> Reason:
        state = self.state
        names = tuple(name for _, name in state.running)
        said = counted(len(names) + state.progress.planning.running, "attempt")
        how = f": {STOPPING[state.progress.stop]}" if state.progress.stop else ""
        return Reason(ReasonCode.STOPPING, f"{said} still under way{how}.", names[:TASKS_NAMED])

    def _not_started(self) -> list[Reason]:
        spec = self.state.spec
        found: list[Reason] = []
        if spec.not_before_us is not None and spec.not_before_us > self.now_us and spec.auto_start:
            found.append(
                Reason(ReasonCode.NOT_BEFORE, "It is not to start before its time.", time_us=spec.not_before_us)
            )
        elif not spec.auto_start:
            found.append(Reason(ReasonCode.NOT_STARTED, "It is planned, and waits for somebody to start it."))
        elif not self.state.progress.planning.replanning:
            found.append(Reason(ReasonCode.NOT_STARTED, "It is planned, and about to start."))
        return found

    def _asked(self) -> list[Reason]:
        gate = self.state.gate
        waiting = [one for one in self.state.waiting() if one is not gate]
        return [waiting_for_person(one) for one in waiting[:INPUTS_TOLD]]

    def _planning(self) -> list[Reason]:
        state = self.state
        planning = state.progress.planning
        if planning.running:
            if state.status is WorkflowStatus.PAUSING or state.status is WorkflowStatus.CANCELLING:
                return []
            return [Reason(ReasonCode.PLANNING, f"Attempt {planning.attempt} of the planner is under way.")]
        if not state.plans or state.waiting_for("") or self.holds_planning():
            return []
        if planning.retry_at_us is not None and planning.retry_at_us > self.now_us:
            return [self._plan_retry(planning.retry_at_us)]
        if self._used_up is not None:
            return [_quota(self._used_up, self.now_us)]
        return [
            Reason(ReasonCode.PLANNING_SLOT, "Planning waits for a slot: it begins once the server has room for it.")
        ]

    def holds_planning(self) -> bool:
        progress = self.state.progress
        return progress.paused or progress.frozen or self.state.gate is not None

    def _plan_retry(self, retry_at_us: int) -> Reason:
        planning, failure = self.state.progress.planning, self.history.plan_failure
        said = "" if failure is None else failure.message
        if failure is not None and failure.spares_budget:
            text = f"The planner's model server does not answer; it is asked again{because(said)}"
            return Reason(ReasonCode.MODEL_OUTAGE, text, time_us=retry_at_us, failure=failure)
        attempts = f"{planning.failures} of {self.state.spec.retry.max_attempts} attempts failed"
        return Reason(
            ReasonCode.PLAN_RETRY,
            f"Planning is tried again ({attempts}){because(said)}",
            (),
            "",
            retry_at_us,
            "",
            failure,
        )

    def _tasks(self) -> list[Reason]:
        if self.state.standing is not WorkflowStatus.RUNNING:
            return []
        found: list[Reason] = []
        running, ready, retrying = (
            self._in(status) for status in (TaskStatus.RUNNING, TaskStatus.READY, TaskStatus.RETRYING)
        )
        if running and self.state.progress.stop is None:
            names = _names(running)
            found.append(
                Reason(
                    ReasonCode.RUNNING, f"{listed(names)} {'run' if len(names) > 1 else 'runs'}.", names[:TASKS_NAMED]
                )
            )
        if ready and not self.holds():
            agents = dict.fromkeys(task.spec.agent_id for task in ready)
            codes = {reason.code: reason for agent_id in agents for reason in self.slot(agent_id)}
            names = _names(ready)
            found.extend(
                _about(reason, names) for reason in codes.values() if reason.code is not ReasonCode.MODEL_OUTAGE
            )
        for code, what, tasks in (
            (
                ReasonCode.MODEL_OUTAGE,
                "for its model server, which does not answer",
                [t for t in retrying if _waits_for_model(t)],
            ),
            (ReasonCode.RETRY, "to be tried again", [t for t in retrying if not _waits_for_model(t)]),
        ):
            if tasks:
                first = min(tasks, key=lambda task: task.progress.retry_at_us or 0)
                verb = "waits" if len(tasks) == 1 else "wait"
                why = first.progress.failure
                text = f"{listed(_names(tasks))} {verb} {what}{because('' if why is None else why.message)}"
                found.append(Reason(code, text, _names(tasks)[:TASKS_NAMED], "", first.progress.retry_at_us, "", why))
        return found

    def _ended(self) -> list[Reason]:
        progress, state = self.state.progress, self.state
        if state.status is WorkflowStatus.CANCELLED:
            found = [self._stop(ReasonCode.WORKFLOW_CANCELLED, "It was cancelled", self.history.cancel)]
        else:
            said = "" if progress.failure is None else progress.failure.message
            completed = state.status is WorkflowStatus.COMPLETED
            code, what = (ReasonCode.COMPLETED, "It completed") if completed else (ReasonCode.FAILED, "It failed")
            found = [Reason(code, f"{what}{because(said)}", time_us=progress.finished_us, failure=progress.failure)]
        if state.owes_resources:
            said = "The resources hook has not taken its resources back yet."
            found.append(Reason(ReasonCode.RESOURCES_RETURN, said, time_us=progress.finished_us))
        return found


def waiting_for_person(asked: PendingInput) -> Reason:
    """Return the reason that something waits for a person."""
    whose = f"{asked.task_id} waits" if asked.task_id else "It waits"
    text = f"{whose} for a person, {asked.id}{because(asked.need.prompt)}"
    tasks = (asked.task_id,) if asked.task_id else ()
    return Reason(ReasonCode[asked.need.kind.name], text, tasks, asked.id, asked.created_us)


def _about(reason: Reason, names: Sequence[str]) -> Reason:
    verb = "is" if len(names) == 1 else "are"
    if reason.code in (ReasonCode.PARALLEL_LIMIT, ReasonCode.QUOTA):
        text = f"{listed(names)} {verb} ready. {reason.text}"
        return Reason(reason.code, text, tuple(names[:TASKS_NAMED]), time_us=reason.time_us)
    begin = "begins" if len(names) == 1 else "begin"
    return Reason(
        reason.code, f"{listed(names)} {verb} ready, and {begin} once the server has room.", tuple(names[:TASKS_NAMED])
    )


def _names(tasks: Sequence[TaskState]) -> tuple[str, ...]:
    return tuple(task.spec.id for task in tasks)


def _waits_for_model(task: TaskState) -> bool:
    return task.progress.failure is not None and task.progress.failure.spares_budget


_CONSUMED: Final = {
    QuotaKind.TOKENS_PER_DAY: "has used {} tokens today",
    QuotaKind.COST_PER_DAY: "has used {} millionths of the currency unit today",
    QuotaKind.RUNNING_TASKS: "has {} of its attempts running",
}


def _quota(used_up: UsedUp, now_us: int) -> Reason:
    """Return what a quota of the namespace keeps waiting."""
    kind, limit, in_use = used_up
    said = f"Its namespace {_CONSUMED[kind].format(in_use)}, and its quota {kind.value} is {limit}: it goes on {FREED_WHEN[kind]}."
    return Reason(ReasonCode.QUOTA, said, time_us=freed_us(kind, now_us))
