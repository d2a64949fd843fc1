"""How a line of a scenario file is read as a message."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from orcs_server.workflow import messages as m
from orcs_server.workflow.edits import AddTask, ChangeTask, PlanEdit, RemoveTask, SetDependencies
from orcs_server.workflow.model import PlanSource, StopMode, TaskSpec, Usage, WorkflowSpec
from orcs_server.workflow.people import Decision, IfUnanswered, InputKind, MessageMode, Need
from orcs_server.workflow.state import WorkflowState
from tests.workflow.scenario_words import (
    BUDGET_WORDS,
    TASK_WORDS,
    budget_of,
    digest_of,
    failure_of,
    output_of,
    phrases,
    task_of,
    time_of,
)

WORDS = (
    *(
        "ok",
        "failed",
        "jitter",
        "problem",
        "calls",
        "tokens",
        "seeing",
        "progressed",
        "turn",
        "path",
        "read",
        "because",
    ),
    *("freeze", "frozen", "cost", "wall", "priority", "labels", "unlimited", "dependants", "text", "output", "by"),
    *("shared", "edit"),
)


class Line:
    """One message, in words: its name, what comes before the first keyword, and what the keywords say."""

    def __init__(self, line: str) -> None:
        self.name, *words = shlex.split(line)
        self.attempt = next((int(word[1:]) for word in words if word.startswith("#")), 0)
        rest = [word for word in words if not word.startswith("#")]
        at = next((index for index, word in enumerate(rest) if word in WORDS), len(rest))
        self.first = rest[:at]
        self.said = phrases(rest[at:], WORDS)

    @property
    def task_id(self) -> str:
        """`planner` in the place of a task names the planner's attempt."""
        return "" if not self.first or self.first[0] == "planner" else self.first[0]

    def one(self, word: str, otherwise: str = "") -> str:
        return self.said.get(word, [otherwise])[0]

    def number(self, word: str) -> int:
        return int(self.one(word, "0"))

    @property
    def jitter(self) -> float:
        return float(self.one("jitter", "1.0"))

    @property
    def revision(self) -> int | None:
        return int(self.one("seeing").removeprefix("r")) if "seeing" in self.said else None

    @property
    def budget(self) -> Any:
        return budget_of(self.said) if self.said.keys() & {*BUDGET_WORDS, "unlimited"} else None


def message_of(
    line: str,
    spec: WorkflowSpec,
    plan: tuple[TaskSpec, ...],
    block: list[list[str]],
    state: WorkflowState | None,
) -> m.Message:
    """Return the message of a line, with the lines that belong to it."""
    said = Line(line)
    if said.name == "CreateWorkflow":
        return m.CreateWorkflow("tests", "w", spec, plan or None, "frozen" in said.said)
    if said.name == "ResolveApproval":
        return _approval(said, state)
    read = _READERS.get(said.name)
    if read is None:
        raise ValueError(f"there is no message {said.name}")
    return read(said, block)


def _approval(said: Line, state: WorkflowState | None) -> m.ResolveApproval:
    """It repeats what was shown, unless the file says `seeing` something else."""
    assert state is not None
    asked = state.inputs.get(said.first[0])
    shown = None if asked is None else asked.need.shown
    if "seeing" in said.said:
        shown = digest_of(said.one("seeing"))
    edit = digest_of(said.one("edit")) if "edit" in said.said else None
    decision = Decision(said.first[1])
    return m.ResolveApproval(said.first[0], decision, shown, said.one("because"), said.one("by"), edit, said.budget)


def _finished(said: Line, _: list[list[str]]) -> m.Message:
    output = output_of(said.said["ok"]) if "ok" in said.said else None
    failure = failure_of(said.said["failed"]) if "failed" in said.said else None
    return m.AttemptFinished(said.task_id, said.attempt, output, failure, said.jitter, said.number("read"))


def _usage(said: Line, _: list[list[str]]) -> m.Message:
    taken, given = said.one("tokens").split("/")
    calls = said.number("calls")
    usage = Usage(calls, int(taken), 0, int(given), cost_micros=said.number("cost"))
    return m.UsageRecorded(said.attempt, calls, usage, said.task_id)


def _proposed(said: Line, block: list[list[str]]) -> m.Message:
    tasks = tuple(task_of(words) for words in block)
    if said.first[0] == "client":
        return m.TasksProposed(tasks, PlanSource.CLIENT, revision=said.revision)
    return m.TasksProposed(tasks, PlanSource.TASK, said.task_id, said.attempt, said.revision)


def _updated(said: Line, _: list[list[str]]) -> m.Message:
    labels = tuple(tuple(word.split("=")) for word in said.said["labels"]) if "labels" in said.said else None
    priority = said.number("priority") if "priority" in said.said else None
    return m.UpdateWorkflow(said.budget, labels, priority, said.one("by"))  # type: ignore[arg-type]


def _sent(said: Line, _: list[list[str]]) -> m.Message:
    *to, mode = said.first
    return m.SendMessage(digest_of(said.one("text")), MessageMode(mode), to[0] if to else "", said.one("by"))


def need_of(words: list[str]) -> Need:
    """`QUESTION "Which?" at ask default apples within 1min fails schema s`."""
    kind, prompt, *rest = words
    said = phrases(rest, ("at", "shows", "default", "within", "fails", "schema"))
    return Need(
        InputKind(kind),
        prompt,
        said.get("at", [""])[0],
        digest_of(said["shows"][0]) if "shows" in said else None,
        digest_of(said["schema"][0]) if "schema" in said else None,
        digest_of(said["default"][0]) if "default" in said else None,
        time_of(said["within"][0]) if "within" in said else None,
        IfUnanswered.FAIL if "fails" in said else IfUnanswered.GO_ON,
    )


def edit_of(words: list[str]) -> PlanEdit:
    """`add task x after y`, `change x priority 5 title "X"`, `remove x`, `rewire x after y`."""
    what, name, *rest = words
    match what:
        case "add":
            return AddTask(task_of(words[1:]))
        case "remove":
            return RemoveTask(name)
        case "rewire":
            return SetDependencies(name, tuple(rest[1:]))
        case "change":
            said = phrases(rest, (*TASK_WORDS, "title", "at-once"))
            task = task_of(
                ["task", name, *[word for key, got in said.items() if key in TASK_WORDS for word in (key, *got)]]
            )
            fields: dict[str, Any] = {
                "title": lambda: said["title"][0],
                "description": lambda: task.description,
                "agent_id": lambda: task.agent_id,
                "priority": lambda: task.priority,
                "timeout_us": lambda: task.timeout_us,
                "max_attempts": lambda: task.max_attempts,
                "optional": lambda: True,
                "needs_approval": lambda: "at-once" not in said,
                "budget": lambda: task.budget,
            }
            return ChangeTask(name, **{_FIELD[word]: fields[_FIELD[word]]() for word in said})
        case _:
            raise ValueError(f"there is no edit {what}")


_FIELD = {
    "title": "title",
    "text": "description",
    "by": "agent_id",
    "priority": "priority",
    "timeout": "timeout_us",
    "attempts": "max_attempts",
    "optional": "optional",
    "approval": "needs_approval",
    "at-once": "needs_approval",
    **dict.fromkeys(BUDGET_WORDS, "budget"),
}


def _description(said: Line) -> Any:
    return digest_of(said.one("text")) if "text" in said.said else None


_READERS: dict[str, Callable[[Line, list[list[str]]], m.Message]] = {
    "StartWorkflow": lambda _, __: m.StartWorkflow(),
    "DeleteWorkflow": lambda _, __: m.DeleteWorkflow(),
    "PauseWorkflow": lambda s, _: m.PauseWorkflow(StopMode(s.first[0]), s.one("because"), "freeze" in s.said),
    "ResumeWorkflow": lambda s, _: m.ResumeWorkflow("freeze" in s.said),
    "CancelWorkflow": lambda s, _: m.CancelWorkflow(StopMode(s.first[0]), s.one("because")),
    "UpdateWorkflow": _updated,
    "RetryTask": lambda s, _: m.RetryTask(s.task_id, _description(s), "dependants" in s.said),
    "SkipTask": lambda s, _: m.SkipTask(
        s.task_id, s.one("because"), output_of(s.said["output"]) if "output" in s.said else None
    ),
    "CancelTask": lambda s, _: m.CancelTask(s.task_id, s.one("because")),
    "EditPlan": lambda s, block: m.EditPlan(tuple(edit_of(words) for words in block), s.revision),
    "Replan": lambda s, _: m.Replan(digest_of(s.one("text")), s.revision),
    "SendMessage": _sent,
    "AnswerInput": lambda s, _: m.AnswerInput(s.first[0], digest_of(s.first[1]), s.one("by"), "shared" in s.said),
    "TasksProposed": _proposed,
    "SlotGranted": lambda s, _: m.SlotGranted(s.attempt, s.task_id),
    "PlanMade": lambda s, block: m.PlanMade(s.attempt, tuple(task_of(words) for words in block), s.number("read")),
    "PlanFailed": lambda s, _: m.PlanFailed(
        s.attempt, failure_of(s.said["failed"]), tuple(s.said.get("problem", ())), s.jitter
    ),
    "AttemptFinished": _finished,
    "AttemptSuspended": lambda s, block: m.AttemptSuspended(
        s.attempt, tuple(need_of(words) for words in block), s.task_id
    ),
    "AttemptInterrupted": lambda s, _: m.AttemptInterrupted(s.attempt, s.task_id),
    "AttemptLost": lambda s, _: m.AttemptLost(s.attempt, s.task_id, "progressed" in s.said),
    "JournalMismatch": lambda s, _: m.JournalMismatch(s.attempt, s.number("turn"), s.one("path"), s.task_id),
    "UsageRecorded": _usage,
    "ResourcesGranted": lambda _, __: m.ResourcesGranted(),
    "ResourcesRefused": lambda s, _: m.ResourcesRefused(s.first[0]),
    "ResourcesReleased": lambda _, __: m.ResourcesReleased(),
    "Tick": lambda s, _: m.Tick(s.jitter),
}
