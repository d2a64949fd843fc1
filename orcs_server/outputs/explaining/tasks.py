"""Why a task stands where it stands."""

from __future__ import annotations

from typing import Final

from orcs_server.outputs.explaining.explanation import ReadMessage, Reason, ReasonCode, TaskExplanation
from orcs_server.outputs.explaining.history import TaskHistory
from orcs_server.outputs.explaining.waits import Waits, waiting_for_person
from orcs_server.outputs.explaining.words import TASKS_NAMED, because, counted, listed, person
from orcs_server.workflow.due import is_suspected
from orcs_server.workflow.evolve_tasks import is_dead, is_met
from orcs_server.workflow.model import Failure, FailureKind
from orcs_server.workflow.reruns import NO_REASON
from orcs_server.workflow.state import TaskState
from orcs_server.workflow.states import TaskStatus, WorkflowStatus

CHAIN_LIMIT: Final = 100
"""Tasks that the cause of a skipped one is followed over."""
MESSAGES_LIMIT: Final = 20

_FAILED: Final = {
    FailureKind.LOST: ReasonCode.LOST_TOO_OFTEN,
    FailureKind.REJECTED: ReasonCode.REJECTED,
    FailureKind.INPUT_EXPIRED: ReasonCode.INPUT_EXPIRED,
    FailureKind.BUDGET_EXCEEDED: ReasonCode.BUDGET_REFUSED,
}


def explain_task(waits: Waits, task: TaskState, history: TaskHistory) -> TaskExplanation:
    """Return why the task stands where it stands, how it came there and what it has cost."""
    progress, spec = task.progress, task.spec
    ran_us = progress.ran_us
    if task.status is TaskStatus.RUNNING and progress.attempt_started_us is not None:
        ran_us += max(waits.now_us - progress.attempt_started_us, 0)
    return TaskExplanation(
        task_id=spec.id,
        title=spec.title,
        ordinal=task.ordinal,
        status=task.status,
        why=tuple(_why(waits, task, history)),
        past=history.past(),
        attempts=history.attempts.shown(progress.attempt),
        failed_attempts=progress.failures,
        max_attempts=_attempts(waits, task),
        lost_attempts=progress.losses,
        usage=progress.usage,
        ran_us=ran_us,
        messages=_messages(waits, task, history),
    )


def _attempts(waits: Waits, task: TaskState) -> int:
    return waits.state.spec.retry.max_attempts if task.spec.max_attempts is None else task.spec.max_attempts


def _why(waits: Waits, task: TaskState, history: TaskHistory) -> list[Reason]:  # noqa: C901, PLR0911 - one branch for each status
    match task.status:
        case TaskStatus.PENDING:
            return _pending(waits, task)
        case TaskStatus.READY:
            return [*(waits.holds() or waits.slot(task.spec.agent_id)), *_losses(waits, task)]
        case TaskStatus.RUNNING:
            return [*_running(waits, task), *_losses(waits, task)]
        case TaskStatus.INPUT_REQUIRED:
            return [waiting_for_person(one) for one in waits.state.waiting_for(task.spec.id)]
        case TaskStatus.RETRYING:
            return [*waits.holds(), _retrying(waits, task)]
        case TaskStatus.COMPLETED:
            return _completed(task, history)
        case TaskStatus.FAILED:
            return [_failed(waits, task)]
        case TaskStatus.SKIPPED:
            return [_skipped(waits, task)]
        case TaskStatus.CANCELLED:
            return [_cancelled(waits, task)]
        case TaskStatus.EVALUATING:
            return []  # No rule leads there.


# What it waits for


def _pending(waits: Waits, task: TaskState) -> list[Reason]:
    tasks = waits.state.tasks
    unmet = [name for name in task.spec.dependencies if not is_met(tasks.get(name))]
    found: list[Reason] = []
    if unmet:
        told = [f"{name} ({tasks[name].status.lower().replace('_', ' ')})" for name in unmet if name in tasks]
        text = f"It waits for {listed(told)}."
        found.append(Reason(ReasonCode.DEPENDENCIES, text, tuple(unmet[:TASKS_NAMED])))
    if waits.state.standing is not WorkflowStatus.RUNNING or not unmet:
        found.extend(waits.holds())
    if not found:
        found.append(Reason(ReasonCode.NOT_STARTED, "Its workflow has not started yet."))
    return found


def _running(waits: Waits, task: TaskState) -> list[Reason]:
    state, progress = waits.state, task.progress
    text = f"Attempt {progress.attempt} is under way."
    found = [Reason(ReasonCode.RUNNING, text, time_us=progress.attempt_started_us)]
    # They stop it, too, at its next turn at the latest.
    found.extend(waiting_for_person(one) for one in state.waiting_for(task.spec.id))
    if state.over_budget or state.progress.stop is not None:
        found.extend(reason for reason in waits.holds() if reason.code is not ReasonCode.STOPPING)
    return found


def _retrying(waits: Waits, task: TaskState) -> Reason:
    progress = task.progress
    why = progress.failure
    said = because("" if why is None else why.message)
    if why is not None and why.spares_budget:
        text = f"Its model server does not answer; it is asked again, however often that takes{said}"
        return Reason(ReasonCode.MODEL_OUTAGE, text, time_us=progress.retry_at_us, failure=why)
    text = f"It is tried again ({progress.failures} of {counted(_attempts(waits, task), 'attempt')} failed){said}"
    return Reason(ReasonCode.RETRY, text, time_us=progress.retry_at_us, failure=why)


def _losses(waits: Waits, task: TaskState) -> list[Reason]:
    losses, spec = task.progress.losses, waits.state.spec
    if not losses:
        return []
    alone = " Its attempts run one at a time with others like it." if is_suspected(losses, spec) else ""
    text = (
        f"Its attempts were lost {counted(losses, 'time')} in a row together with their server, without getting any further; "
        f"more than {spec.max_losses} fail it.{alone}"
    )
    return [Reason(ReasonCode.LOSSES, text)]


# How it ended


def _completed(task: TaskState, history: TaskHistory) -> list[Reason]:
    progress = task.progress
    if history.reused:
        text = "It completed; when it was reopened its old output was reused, for it rests on the same again."
        found = [Reason(ReasonCode.OUTPUT_REUSED, text, time_us=progress.finished_us)]
    else:
        text = f"It completed with attempt {progress.attempt}."
        found = [Reason(ReasonCode.COMPLETED, text, time_us=progress.finished_us)]
    if progress.stale:
        found.append(Reason(ReasonCode.STALE, "Its output is stale: one that it rests on has been made anew since."))
    return found


def _failed(waits: Waits, task: TaskState) -> Reason:
    progress = task.progress
    why = progress.failure
    said = because("" if why is None else why.message)
    attempts = _attempts(waits, task)
    code = ReasonCode.NOT_RETRYABLE if why is None else _FAILED.get(why.kind, ReasonCode.NOT_RETRYABLE)
    if code is not ReasonCode.NOT_RETRYABLE:
        text = f"It failed{said}"
    elif why is not None and why.retryable:
        code = ReasonCode.ATTEMPTS_USED_UP
        text = f"It failed, and its {counted(attempts, 'attempt')} {'is' if attempts == 1 else 'are'} used up{said}"
    else:
        text = f"It failed, in a way that another attempt would not mend{said}"
    return Reason(code, text, time_us=progress.finished_us, failure=why)


def _skipped(waits: Waits, task: TaskState) -> Reason:
    progress = task.progress
    if progress.waived:
        reason = "" if progress.failure is None else progress.failure.message
        said = because("" if reason == NO_REASON else reason)
        rest = "without its output" if progress.output is None else "with a substitute for its output"
        text = f"A person skipped it, and what depends on it goes on {rest}{said}"
        return Reason(ReasonCode.SKIPPED_BY_PERSON, text, time_us=progress.finished_us, failure=progress.failure)
    chain = _chain(waits, task)
    tasks = waits.state.tasks
    root = tasks[chain[-1]] if chain else task
    how = {TaskStatus.FAILED: "failed", TaskStatus.CANCELLED: "was cancelled", TaskStatus.SKIPPED: "was skipped"}
    ended = f"{root.spec.id} {how.get(root.status, 'did not complete')}"
    between = chain[:-1]
    over = f", by way of {listed(between)}" if between else ""
    why = root.progress.failure if chain else progress.failure
    text = f"It was skipped, for it rests on what did not complete{over}: {ended}{because('' if why is None else why.message)}"
    return Reason(ReasonCode.DEPENDENCY_FAILED, text, tuple(chain), time_us=progress.finished_us, failure=why)


def _chain(waits: Waits, task: TaskState) -> list[str]:
    """Return the tasks that lead from the one that was skipped to the one that began it."""
    tasks = waits.state.tasks
    chain: list[str] = []
    at = task
    while at.status is TaskStatus.SKIPPED and not at.progress.waived and len(chain) < CHAIN_LIMIT:
        name = waits.history.causes.get(at.spec.id, "")
        if name not in tasks:
            # The log does not go back so far, or the task has left the plan.
            name = next((one for one in at.spec.dependencies if one in tasks and is_dead(tasks[one])), "")
        if not name or name in chain:
            break
        chain.append(name)
        at = tasks[name]
    return chain


def _cancelled(waits: Waits, task: TaskState) -> Reason:
    progress, whole = task.progress, waits.state.progress
    why: Failure | None = progress.failure
    kind = None if why is None else why.kind
    with_workflow = whole.finished_us is not None and progress.finished_us == whole.finished_us
    if kind is FailureKind.CANCELLED and with_workflow and waits.state.status is WorkflowStatus.CANCELLED:
        code, text = ReasonCode.WORKFLOW_CANCELLED, "It was cancelled together with its workflow."
    elif kind is FailureKind.CANCELLED:
        code, text = ReasonCode.CANCELLED_BY_PERSON, because(why.message if why else "").removeprefix(": ")
    else:
        said = "" if whole.failure is None else whole.failure.message
        code, text = ReasonCode.WORKFLOW_FAILED, f"Its workflow ended before it did{because(said)}"
        why = whole.failure or why
    return Reason(code, text, time_us=progress.finished_us, failure=why)


def _messages(waits: Waits, task: TaskState, history: TaskHistory) -> tuple[ReadMessage, ...]:
    """Return the messages for its agent. An output counts only if it knows of all that were stored before it."""
    ended_us = None if task.status is not TaskStatus.COMPLETED else history.output_us
    return tuple(
        ReadMessage(
            one.id, one.mode, one.time_us, person(one.principal), ended_us is not None and one.time_us <= ended_us
        )
        for one in waits.state.mail_for(task.spec.id)[-MESSAGES_LIMIT:]
    )
