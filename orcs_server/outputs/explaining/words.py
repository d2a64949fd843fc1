"""How the parts of a sentence are put. Texts of people and models are cut, and hold nothing that controls a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from orcs_server.outputs.safe_text import one_line
from orcs_server.workflow.model import StopMode

SYSTEM: Final = "orcs"
"""The actor of what nobody asked for."""
QUOTED = 300
"""Characters of a text that a sentence repeats."""
NAMED = 5
"""Tasks that a sentence names; the others are counted."""
TASKS_NAMED = 100
"""Tasks that a reason names beside its sentence."""

STOPPING: Final = {
    StopMode.DRAIN: "what runs may end by itself",
    StopMode.AFTER_TURN: "each agent stops after its turn",
    StopMode.IMMEDIATE: "what runs is cut off",
}


def person(actor: str) -> str:
    """Return who brought something about, "" where it was the system itself."""
    return "" if actor == SYSTEM else actor


def by(actor: str) -> str:
    """Return ` by ada`, or nothing."""
    return f" by {one_line(actor, 80)}" if person(actor) else ""


def because(text: str) -> str:
    """Return `: the reason.`, or a full stop where there is none."""
    said = one_line(text, QUOTED)
    if not said:
        return "."
    return f": {said}{'' if said[-1] in '.!?…' else '.'}"


def counted(count: int, noun: str) -> str:
    """Return a number and its noun: `1 task`, `3 tasks`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Return the first names and how many more there are: `a, b and c`."""
    shown = list(names[:NAMED])
    if len(names) > NAMED:
        return f"{', '.join(shown)} and {len(names) - NAMED} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
