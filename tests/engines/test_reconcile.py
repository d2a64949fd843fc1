"""The diff between what is due and what is under way."""

from __future__ import annotations

from orcs_server.engines.reconcile import Flight, flight_of, reconcile
from orcs_server.workflow.effects import AllocateResources, Effect, MakePlan, RunAttempt, Stop, WakeAt

A1 = RunAttempt("a", 1, 1, "worker")
A2 = RunAttempt("a", 2, 1, "worker")
B1 = RunAttempt("b", 1, 1, "worker")


def test_what_is_missing_is_started_in_the_order_of_due() -> None:
    difference = reconcile([B1, A1, WakeAt(7)], [])
    assert difference.start == [B1, A1]
    assert (difference.cancel, difference.steer, difference.wake_at_us) == ([], [], 7)


def test_what_is_under_way_is_left_alone() -> None:
    due: list[Effect] = [A1, AllocateResources()]
    difference = reconcile(due, [flight_of(effect) for effect in due])
    assert (difference.start, difference.cancel, difference.wake_at_us) == ([], [], None)


def test_an_attempt_that_is_no_longer_due_is_cancelled_and_its_successor_started() -> None:
    difference = reconcile([A2], [flight_of(A1)])
    assert difference.start == [A2]
    assert difference.cancel == [Flight(RunAttempt, "a", 1)]


def test_an_attempt_that_is_to_stop_at_its_turn_is_told_so_and_not_cancelled() -> None:
    stopping = RunAttempt("a", 1, 1, "worker", Stop.AT_TURN)
    difference = reconcile([stopping], [flight_of(A1)])
    assert difference.steer == [stopping]
    assert (difference.start, difference.cancel) == ([], [])


def test_planning_attempts_are_told_apart_by_their_number() -> None:
    assert flight_of(MakePlan(1)) != flight_of(MakePlan(2))
    assert reconcile([MakePlan(2)], [flight_of(MakePlan(1))]).cancel == [Flight(MakePlan, "", 1)]
