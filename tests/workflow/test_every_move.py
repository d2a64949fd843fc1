"""Nothing in the tables is left out: the scenarios make every move, and use every message, event and effect there is."""

from __future__ import annotations

from types import UnionType
from typing import get_args

import pytest

from orcs_server.workflow import effects, events, messages
from orcs_server.workflow.states import TASK_MOVES, WORKFLOW_MOVES
from tests.workflow.scenario import Scenario, play_all


@pytest.fixture(scope="module")
def played() -> list[Scenario]:
    return play_all()


def names_of(union: UnionType) -> set[str]:
    return {kind.__name__ for kind in get_args(union)}


def test_every_move_of_a_workflow_is_made(played: list[Scenario]) -> None:
    moves = {(name, str(a), str(b)) for name, row in WORKFLOW_MOVES.items() for a, after in row.items() for b in after}
    assert moves - {move for scenario in played for move in scenario.workflow_moves} == set()


def test_every_move_of_a_task_is_made(played: list[Scenario]) -> None:
    moves = {(name, str(a), str(b)) for name, row in TASK_MOVES.items() for a, b in row.items()}
    assert moves - {move for scenario in played for move in scenario.task_moves} == set()


def test_no_other_event_changes_a_status(played: list[Scenario]) -> None:
    changes = {(name, a, b) for scenario in played for name, a, b in scenario.workflow_moves if a != b}
    changes |= {(name, a, b) for scenario in played for name, a, b in scenario.task_moves if a != b}
    assert {name for name, _, _ in changes} <= {*WORKFLOW_MOVES, *TASK_MOVES}


def test_every_event_happens(played: list[Scenario]) -> None:
    assert names_of(events.Event) - {name for scenario in played for name in scenario.events} == set()


def test_every_message_is_said(played: list[Scenario]) -> None:
    assert names_of(messages.Message) - {name for scenario in played for name in scenario.messages} == set()


def test_every_effect_is_due_somewhere(played: list[Scenario]) -> None:
    assert names_of(effects.Effect) - {name for scenario in played for name in scenario.effects} == set()
