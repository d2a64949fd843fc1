"""Scenario files: what is said to a workflow, and what it answers, in lines that anybody can read.

    # A line of prose.
    set failure_policy FAIL_FAST            a field of the workflow's settings
    task join after left right  optional    a task of the client's plan
    > SlotGranted join #1                   a message; below it stand the events that it causes, and what is due
    | task more after join                  a line that belongs to the message above: a task, an edit, a need
    + 5s                                    time passes
    ! restart                               the server starts anew from the stored rows

Everything indented is the answer. `UPDATE_SCENARIOS=1 pytest tests/workflow` writes the answers anew: then read the diff.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from orcs_server.errors import InvalidArgument, OrcsError
from orcs_server.workflow import events as e
from orcs_server.workflow import messages as m
from orcs_server.workflow.decide import decide
from orcs_server.workflow.due import due
from orcs_server.workflow.evolve import evolve
from orcs_server.workflow.model import TaskSpec, WorkflowSpec
from orcs_server.workflow.state import WorkflowState
from tests.workflow.rows import through_rows
from tests.workflow.scenario_messages import message_of
from tests.workflow.scenario_shown import shown, shown_effect
from tests.workflow.scenario_words import spec_with, task_of, time_of

FOLDER = Path(__file__).parent / "scenarios"


class Scenario:
    """One file, played. `seen` holds what the run touched, for the test that nothing in the tables is left out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state: WorkflowState | None = None
        self.now_us = 0
        self.spec = WorkflowSpec(path.stem, agents=(("research", "1"), ("writing", "1")))
        self.tasks: list[TaskSpec] = []
        self.due = ""
        self.events: set[str] = set()
        self.messages: set[str] = set()
        self.effects: set[str] = set()
        self.task_moves: set[tuple[str, str, str]] = set()
        self.workflow_moves: set[tuple[str, str, str]] = set()

    def transcript(self) -> str:
        """Return the file as it ought to be: its own lines, each followed by the core's answer."""
        told = [line.rstrip() for line in self.path.read_text(encoding="utf-8").splitlines()]
        lines: list[str] = []
        own = [line for line in told if not line.startswith(" ")]
        for number, line in enumerate(own):
            lines.append(line)
            if line.startswith("|"):
                continue
            block = [words[1:] for words in _block(own, number)]
            try:
                lines.extend(self._answer(line, block))
            except (ValueError, KeyError, IndexError) as wrong:
                raise ValueError(f"{self.path.name}: cannot make sense of {line!r}: {wrong}") from wrong
        return "\n".join(_answers_after_blocks(lines)) + "\n"

    def _answer(self, line: str, block: list[list[str]]) -> Iterator[str]:
        words = line.split()
        match words[:1]:
            case [] | ["#"]:
                return
            case ["set"]:
                self.spec = spec_with(self.spec, words[1], words[2])
            case ["task"]:
                self.tasks.append(task_of(words))
            case ["+"]:
                self.now_us += time_of(words[1])
                yield from self._due_now()
            case ["!"] if words[1:] == ["restart"] and self.state is not None:
                restored = through_rows(self.state)
                assert restored == self.state
                self.state = restored
                yield from self._due_now()
            case [">"]:
                message = message_of(line[1:], self.spec, tuple(self.tasks), block, self.state)
                self.messages.add(type(message).__name__)
                yield from self._said(message)
                yield from self._due_now()
            case _:
                raise ValueError("a line begins with #, set, task, >, |, + or !")

    def _said(self, message: m.Message) -> Iterator[str]:
        try:
            events = decide(self.state, message, self.now_us)
        except OrcsError as refused:
            yield f"  refused: {type(refused).__name__} {refused.reason}: {refused}"
            if isinstance(refused, InvalidArgument):
                for violation in refused.violations:
                    yield f"    {violation.field}: {violation.description}"
            return
        for event in events:
            yield from (f"  {line}" for line in shown(event))
            self._move(event)
        if not events:
            yield "  nothing happens"

    def _move(self, event: e.Event) -> None:
        name = type(event).__name__
        before, self.state = self.state, evolve(self.state, event, self.now_us)
        self.events.add(name)
        if before is None:
            return
        self.workflow_moves.add((name, before.status, self.state.status))
        if task_id := getattr(event, "task_id", ""):
            self.task_moves.add((name, before.tasks[task_id].status, self.state.tasks[task_id].status))

    def _due_now(self) -> Iterator[str]:
        if self.state is None:
            return
        assert through_rows(self.state) == self.state
        effects = due(self.state, self.now_us)
        self.effects.update(type(effect).__name__ for effect in effects)
        shown_now = f"  due: {', '.join(map(shown_effect, effects)) or 'nothing'}"
        if shown_now != self.due:
            self.due = shown_now
            yield shown_now


def _block(lines: list[str], number: int) -> Iterator[list[str]]:
    """The lines that belong to the message in this line: tasks, edits, what an attempt needs."""
    for line in lines[number + 1 :]:
        if not line.startswith("|"):
            return
        yield shlex.split(line)


def _answers_after_blocks(lines: list[str]) -> list[str]:
    """A message's answer stands below the tasks that belong to the message."""
    ordered: list[str] = []
    held: list[str] = []
    for line in lines:
        if line.startswith("  "):
            held.append(line)
            continue
        if not line.startswith("|"):
            ordered.extend(held)
            held.clear()
        ordered.append(line)
    return ordered + held


def scenarios() -> list[Path]:
    return sorted(FOLDER.glob("*.txt"))


def play_all() -> list[Scenario]:
    played = [Scenario(path) for path in scenarios()]
    for scenario in played:
        scenario.transcript()
    return played
