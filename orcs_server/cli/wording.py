"""What the command line calls things: durations, counts, states, and one line of plain text for each event."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from orcs_client import Event
from orcs_client.messages import Budget, InputResolution, short_name
from orcs_server.cli.progress import Progress
from orcs_server.outputs.safe_text import one_line

SYMBOLS = {
    "PLANNING": "◌",
    "PENDING": "·",
    "READY": "○",
    "RUNNING": "●",
    "PAUSING": "◍",
    "PAUSED": "‖",
    "CANCELLING": "◍",
    "INPUT_REQUIRED": "?",
    "EVALUATING": "◔",
    "RETRYING": "↻",
    "COMPLETED": "✔",
    "FAILED": "✘",
    "CANCELLED": "⊘",
    "SKIPPED": "–",
}
"""State of a workflow or a task -> how it is drawn."""
IDS_SHOWN = 3


def state_words(state: str) -> str:
    """Return a state as people write it, such as `input required`."""
    return state.lower().replace("_", " ")


def duration_words(us: int | None) -> str:
    """Return a length of time in two units at most, such as `4.2 s`, `3 min 05 s`, `2 h 10 min`; nothing for None."""
    if us is None:
        return ""
    seconds = max(0, us) / 1_000_000
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes = round(seconds) // 60
    if minutes < 60:
        return f"{minutes} min {round(seconds) % 60:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def count_words(count: int, noun: str) -> str:
    """Return a number and its noun, such as `1 task`, `1,204 tokens`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def cost_words(micros: int) -> str:
    """Return a cost in whole units of its currency; nothing where there is none."""
    return f"cost {micros / 1_000_000:,.4f}" if micros else ""


def budget_words(limits: Budget) -> str:
    """Return limits, such as `1,000 tokens, cost 2.5000, 2 h 00 min`."""
    parts = (
        count_words(limits.tokens, "token") if limits.HasField("tokens") else "",
        cost_words(limits.cost_micros),
        duration_words(limits.wall_time.ToMicroseconds()) if limits.HasField("wall_time") else "",
    )
    return ", ".join(part for part in parts if part)


def ids_words(ids: tuple[str, ...]) -> str:
    """Return some of the ids and how many more there are."""
    shown = ", ".join(ids[:IDS_SHOWN])
    return shown if len(ids) <= IDS_SHOWN else f"{shown} and {len(ids) - IDS_SHOWN} more"


def local_time(time_us: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return a time in this machine's zone."""
    return time.strftime(form, time.localtime(time_us / 1_000_000))


def event_line(event: Event, progress: Progress) -> str | None:
    """Return an event as a line, `progress` having taken it in already; None for those that only programs want."""
    name = event.message.WhichOneof("body")
    words = None if name is None else _WORDS.get(name)
    if words is None:
        return None
    sentence = words(event.body, progress)
    return f"{local_time(event.message.time.ToMicroseconds(), '%H:%M:%S')} {one_line(sentence, 400)}"


def ending_words(progress: Progress) -> str:
    """Return how a workflow has ended, and what it took."""
    took = None
    if progress.created_us is not None and progress.ended_us is not None:
        took = progress.ended_us - progress.created_us
    parts = [f"{state_words(progress.state)}{f' in {duration_words(took)}' if took is not None else ''}"]
    if progress.whole:
        parts.append(count_words(progress.tokens, "token"))
    return ", ".join(parts) + (f": {progress.failure}" if progress.failure else "")


def _task(body: Any, progress: Progress) -> str:
    task = progress.tasks.get(body.task_id)
    return body.task_id if task is None or not task.title else f"{body.task_id} ({task.title})"


def _task_completed(body: Any, progress: Progress) -> str:
    task = progress.tasks[body.task_id]
    took_us = task.took_us(task.ended_us or 0)
    took = "" if took_us is None else f" in {duration_words(took_us)}"
    return f"{_task(body, progress)} completed{took}, {count_words(task.tokens, 'token')}"


def _attempt_started(body: Any, progress: Progress) -> str:
    again = f", attempt {body.attempt}" if body.attempt > 1 else ""
    agent = progress.tasks[body.task_id].agent_id
    return f"{_task(body, progress)} started{f' by {agent}' if agent else ''}{again}"


def _plan_rejected(body: Any, _: Progress) -> str:
    problems = "; ".join(problem for problem in body.problems if problem not in body.failure.message)
    return f"no usable plan: {body.failure.message}{f' ({problems})' if problems else ''}"


def _task_failed(body: Any, progress: Progress) -> str:
    """Say why only where the line of the last attempt has not."""
    said = progress.tasks[body.task_id].attempt_failure
    why = body.failure.message
    return f"{_task(body, progress)} failed{f': {why}' if why and why != said else ''}"


def _failing(verb: str) -> Callable[[Any, Progress], str]:
    def words(body: Any, progress: Progress) -> str:
        why = body.failure.message
        return f"{_task(body, progress)} {verb}{f': {why}' if why else ''}"

    return words


def _saying(sentence: str) -> Callable[[Any, Progress], str]:
    return lambda _body, _progress: sentence


def _of_task(verb: str) -> Callable[[Any, Progress], str]:
    return lambda body, progress: f"{_task(body, progress) if body.task_id else 'the planner'} {verb}"


def _settled(body: Any, _: Progress) -> str:
    how = state_words(short_name(InputResolution, body.resolution))
    who = f" by {body.principal}" if body.principal else ""
    return f"{body.input_id} is settled: {how}{who}{f', {body.reason}' if body.reason else ''}"


def _ending(_: Any, progress: Progress) -> str:
    return f"workflow {ending_words(progress)}"


_WORDS: dict[str, Callable[[Any, Progress], str]] = {
    "workflow_created": lambda _, progress: f"workflow {progress.workflow_id} created: {progress.title}",
    "workflow_started": _saying("workflow started"),
    "workflow_pausing": _saying("workflow is pausing"),
    "workflow_paused": _saying("workflow is paused"),
    "workflow_resumed": _saying("workflow resumed"),
    "workflow_cancel_requested": _saying("workflow is being cancelled"),
    "workflow_updated": _saying("the workflow's budget, labels or priority were changed"),
    "replan_requested": _saying("what has not begun is planned anew"),
    "task_reopened": _of_task("is to be carried out again"),
    "task_stale": _of_task("rests on an output that has changed since"),
    "task_held": _of_task("waits for approval"),
    "workflow_reopened": _saying("workflow goes on"),
    "workflow_deleted": _saying("workflow deleted"),
    "workflow_completed": _ending,
    "workflow_failed": _ending,
    "workflow_cancelled": _ending,
    "planning_started": lambda body, _: f"planning{f', attempt {body.attempt}' if body.attempt > 1 else ''}",
    "plan_adopted": lambda body, _: f"plan of {count_words(body.task_count, 'task')} adopted",
    "plan_rejected": _plan_rejected,
    "plan_amended": lambda body, _: (
        f"plan changed, it has {count_words(body.task_count, 'task')} now" if body.task_count else "plan changed"
    ),
    "attempt_started": _attempt_started,
    "attempt_failed": _failing("failed in this attempt"),
    "attempt_timed_out": _failing("took too long"),
    "attempt_suspended": _of_task("waits for a person"),
    "attempt_interrupted": _of_task("was interrupted and goes on later"),
    "attempt_lost": _of_task("was lost with the server and goes on"),
    "journal_mismatch": _of_task("took another course than before and does its calls anew from there"),
    "task_retry_scheduled": lambda body, progress: (
        f"{_task(body, progress)} will be tried again at {local_time(body.retry_time.ToMicroseconds(), '%H:%M:%S')}"
    ),
    "task_completed": _task_completed,
    "task_failed": _task_failed,
    "task_skipped": _failing("skipped"),
    "task_cancelled": _failing("cancelled"),
    "task_updated": lambda body, _: f"{body.task.id} was changed",
    "input_requested": lambda body, _: f"a person is asked ({body.input.id}): {body.input.prompt}",
    "input_resolved": _settled,
    "message_received": _saying("a message came in"),
    "budget_exceeded": _saying("the budget is used up"),
}
