"""The words of scenario files: how messages are read, and how events and effects are shown."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from enum import EnumType
from typing import Any, get_type_hints

import msgspec
from msgspec.structs import fields, replace

from orcs_server.workflow import effects as f
from orcs_server.workflow import events as e
from orcs_server.workflow import messages as m
from orcs_server.workflow.model import (
    Digest,
    Failure,
    FailureKind,
    Output,
    PlanSource,
    RetryPolicy,
    TaskSpec,
    Usage,
    WorkflowSpec,
)

TEXT = Digest("ab" * 32)
OUTPUT = Output(TEXT, "text/plain", 1)
UNITS = {"ms": 1_000, "s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000}
UNSAID = frozenset({"spec", "namespace", "output"})


def time_of(word: str) -> int:
    """Return microseconds: `1500ms`, `2s`, `10min`, `1h`."""
    number = word.rstrip("minsh")
    return int(float(number) * UNITS[word[len(number) :]])


def time_shown(us: int) -> str:
    """Return the time in the largest unit that leaves a whole number."""
    for unit in ("h", "min", "s"):
        if us and us % UNITS[unit] == 0:
            return f"{us // UNITS[unit]}{unit}"
    return f"{us / UNITS['ms']:g}ms" if us else "0s"


# What files say


def spec_with(spec: WorkflowSpec, name: str, word: str) -> WorkflowSpec:
    """Return the settings with one field changed; `retry.…` names a field of the retry policy, times end in `_us`."""
    if name.startswith("retry."):
        return replace(spec, retry=_with(spec.retry, RetryPolicy, name.removeprefix("retry."), word))
    changed: WorkflowSpec = _with(spec, WorkflowSpec, name, word)
    return changed


def _with(struct: Any, kind: type[Any], name: str, word: str) -> Any:
    wanted = get_type_hints(kind)[name]
    value: Any
    if name.endswith("_us"):
        value = time_of(word)
    elif isinstance(wanted, EnumType):
        value = wanted(word)
    else:
        value = msgspec.convert({"yes": True, "no": False}.get(word, word), wanted, strict=False)
    return replace(struct, **{name: value})


def task_of(words: list[str]) -> TaskSpec:
    """Return the task of a line such as `task join by writing after left right priority 5 timeout 10s attempts 2 optional`."""
    _, name, *rest = words
    said = _phrases(rest, ("by", "after", "priority", "timeout", "attempts", "optional"))
    return TaskSpec(
        name,
        name.capitalize(),
        TEXT,
        said.get("by", ["research"])[0],
        tuple(said.get("after", ())),
        priority=int(said.get("priority", ["0"])[0]),
        timeout_us=time_of(said["timeout"][0]) if "timeout" in said else None,
        max_attempts=int(said["attempts"][0]) if "attempts" in said else None,
        optional="optional" in said,
    )


def _phrases(words: list[str], keywords: tuple[str, ...]) -> dict[str, list[str]]:
    said: dict[str, list[str]] = {}
    for word in words:
        if word in keywords:
            said[word] = []
        elif said:
            said[list(said)[-1]].append(word)
        else:
            raise ValueError(f"{word!r} is none of {', '.join(keywords)}")
    return said


def message_of(  # noqa: C901, PLR0911, PLR0912
    line: str, spec: WorkflowSpec, plan: tuple[TaskSpec, ...], proposed: tuple[TaskSpec, ...]
) -> m.Message:
    """Return the message of a line. `planner` in the place of a task names the planner's attempt."""
    name, *words = shlex.split(line)
    attempt = next((int(word[1:]) for word in words if word.startswith("#")), 0)
    task_id = "" if not words or words[0] == "planner" else words[0]
    said = (
        _phrases(
            [word for word in words[1:] if not word.startswith("#")],
            ("ok", "failed", "jitter", "problem", "calls", "tokens", "seeing", "progressed", "turn", "path"),
        )
        if name not in ("Tick", "ResourcesRefused")
        else {}
    )
    jitter = float(said.get("jitter", ["1.0"])[0])
    match name:
        case "CreateWorkflow":
            return m.CreateWorkflow("tests", "w", spec, plan or None)
        case "StartWorkflow":
            return m.StartWorkflow()
        case "DeleteWorkflow":
            return m.DeleteWorkflow()
        case "SlotGranted":
            return m.SlotGranted(attempt, task_id)
        case "PlanMade":
            return m.PlanMade(attempt, proposed)
        case "PlanFailed":
            return m.PlanFailed(attempt, _failure(said["failed"]), tuple(said.get("problem", ())), jitter)
        case "AttemptFinished":
            failure = _failure(said["failed"]) if "failed" in said else None
            return m.AttemptFinished(task_id, attempt, OUTPUT if "ok" in said else None, failure, jitter)
        case "AttemptInterrupted":
            return m.AttemptInterrupted(attempt, task_id)
        case "AttemptLost":
            return m.AttemptLost(attempt, task_id, "progressed" in said)
        case "JournalMismatch":
            return m.JournalMismatch(attempt, int(said["turn"][0]), said.get("path", [""])[0], task_id)
        case "UsageRecorded":
            calls = int(said["calls"][0])
            taken, given = said["tokens"][0].split("/")
            return m.UsageRecorded(attempt, calls, Usage(calls, int(taken), 0, int(given)), task_id)
        case "TasksProposed":
            seen = int(said["seeing"][0].removeprefix("r")) if "seeing" in said else None
            if words[0] == "client":
                return m.TasksProposed(proposed, PlanSource.CLIENT, revision=seen)
            return m.TasksProposed(proposed, PlanSource.TASK, task_id, attempt, seen)
        case "ResourcesGranted":
            return m.ResourcesGranted()
        case "ResourcesRefused":
            return m.ResourcesRefused(words[0])
        case "ResourcesReleased":
            return m.ResourcesReleased()
        case "Tick":
            return m.Tick(float(words[1]) if words[:1] == ["jitter"] else 1.0)
        case _:
            raise ValueError(f"there is no message {name}")


def _failure(words: list[str]) -> Failure:
    """`KIND "message"`, then perhaps `retryable` or `retryable-after 10s`, then perhaps `at-no-cost`."""
    kind, message, *rest = words
    after = time_of(rest[1]) if rest[:1] == ["retryable-after"] else None
    return Failure(FailureKind(kind), message, bool(rest), after, "at-no-cost" in rest)


# What the core answers


def shown(event: e.Event) -> Iterator[str]:
    """The event in a line, and one more for each problem of a rejected plan."""
    words = [type(event).__name__]
    below: list[str] = []
    names = sorted((field.name for field in fields(event)), key=lambda name: name != "task_id")
    for name in names:
        value = getattr(event, name)
        if name in UNSAID or value is None or value is False or value in ("", ()):
            continue
        if name == "problems":
            below.extend(f"  {problem}" for problem in value)
        else:
            words.append(_field_shown(name, value))
    yield " ".join(words)
    yield from below


def _field_shown(name: str, value: Any) -> str:  # noqa: PLR0911
    match value:
        case Failure():
            patience = "" if value.retry_after_us is None else f", asks for {time_shown(value.retry_after_us)}"
            cost = ", at no cost" if value.spares_budget else ""
            return f"({value.kind}{', retryable' if value.retryable else ''}{patience}{cost}: {value.message})"
        case Usage():
            return f"(tokens: {value.input_tokens} in, {value.output_tokens} out)"
        case tuple():
            return f"{name}: {', '.join(task.id for task in value)}"
        case _:
            pass
    match name:
        case "task_id" | "workflow_id":
            return str(value)
        case "attempt":
            return f"#{value}"
        case "revision":
            return f"r{value}"
        case "deadline_us" | "retry_at_us":
            return f"{name.removesuffix('_us').replace('_', ' ')} {time_shown(value)}"
        case "progressed":
            return "progressed"
        case _:
            return f"{name} {value}"


def shown_effect(effect: f.Effect) -> str:
    match effect:
        case f.MakePlan():
            return f"MakePlan #{effect.attempt}"
        case f.RunAttempt():
            return f"RunAttempt {effect.task_id} #{effect.attempt}"
        case f.WakeAt():
            return f"WakeAt {time_shown(effect.time_us)}"
        case f.AllocateResources() | f.ReleaseResources():
            return type(effect).__name__
