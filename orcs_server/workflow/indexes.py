"""Ordered tuples, the indexes of a workflow's state: changed by copying, so that a state never changes under its reader."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, TypeVar

from orcs_server.workflow.model import STATUS_INDEX
from orcs_server.workflow.state import TimerKind
from orcs_server.workflow.states import TaskStatus

Timer = tuple[int, TimerKind, str]
Item = TypeVar("Item", bound=tuple[Any, ...])


def inserted(items: tuple[Item, ...], item: Item) -> tuple[Item, ...]:
    """Return the sorted items with one more."""
    at = bisect_left(items, item)
    # Concatenation copies each side once, and an empty one not at all; unpacking goes by way of a list.
    return items[:at] + (item,) + items[at:]  # noqa: RUF005


def removed(items: tuple[Item, ...], item: Item) -> tuple[Item, ...]:
    """Return the sorted items less one that is among them."""
    at = bisect_left(items, item)
    return items[:at] + items[at + 1 :]


def among(items: tuple[Item, ...], item: Item) -> bool:
    """Whether the item is among the sorted ones."""
    at = bisect_left(items, item)
    return at < len(items) and items[at] == item


def without(timers: tuple[Timer, ...], kind: TimerKind, name: str = "") -> tuple[Timer, ...]:
    """Return the timers less those of this kind and name."""
    if not any(timer[1] is kind and timer[2] == name for timer in timers):
        return timers
    return tuple(timer for timer in timers if timer[1] is not kind or timer[2] != name)


def moved_timer(
    timers: tuple[Timer, ...], kind: TimerKind, name: str, before_us: int | None, after_us: int | None
) -> tuple[Timer, ...]:
    """Return the timers with one that was set, changed or taken away."""
    if before_us == after_us:
        return timers
    if before_us is not None:
        timers = removed(timers, (before_us, kind, name))
    return timers if after_us is None else inserted(timers, (after_us, kind, name))


def recounted(counts: tuple[int, ...], before: TaskStatus | None, after: TaskStatus | None, by: int) -> tuple[int, ...]:
    """Return how many tasks are in each status after `by` of them moved, came (no `before`) or left (no `after`)."""
    changed = list(counts)
    if before is not None:
        changed[STATUS_INDEX[before]] -= by
    if after is not None:
        changed[STATUS_INDEX[after]] += by
    return tuple(changed)
