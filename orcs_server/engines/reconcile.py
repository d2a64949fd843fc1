"""The pure diff between what ought to be under way and what is. Every stop, restart and change of plan is this one diff."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from orcs_server.workflow.effects import Effect, MakePlan, RunAttempt, WakeAt


class Flight(NamedTuple):
    """What identifies an effect while it is under way. Planning has no task id."""

    kind: type[Effect]
    task_id: str = ""
    attempt: int = 0


class Difference(NamedTuple):
    """What an engine has to do so that what is under way equals what is due."""

    start: list[Effect]
    cancel: list[Flight]
    steer: list[RunAttempt | MakePlan]
    """Attempts under way, with how they are to go on: a stop, messages."""
    wake_at_us: int | None


def flight_of(effect: Effect) -> Flight:
    """Return the identity under which the effect is in flight."""
    match effect:
        case RunAttempt():
            return Flight(RunAttempt, effect.task_id, effect.attempt)
        case MakePlan():
            return Flight(MakePlan, "", effect.attempt)
        case _:
            return Flight(type(effect))


def reconcile(due: Iterable[Effect], in_flight: Collection[Flight]) -> Difference:
    """Return what to start, cancel and signal, in the order of `due`."""
    start: list[Effect] = []
    steer: list[RunAttempt | MakePlan] = []
    wanted: set[Flight] = set()
    wake_at_us: int | None = None
    for effect in due:
        if isinstance(effect, WakeAt):
            wake_at_us = effect.time_us
            continue
        flight = flight_of(effect)
        wanted.add(flight)
        if flight not in in_flight:
            start.append(effect)
        elif isinstance(effect, RunAttempt | MakePlan):
            steer.append(effect)
    cancel = [flight for flight in in_flight if flight not in wanted]
    return Difference(start, cancel, steer, wake_at_us)
