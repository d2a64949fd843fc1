"""What an attempt or a planning came to, for the engine to report, and who listens while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from orcs_server.storage.store import Blob
from orcs_server.workflow.model import Failure, Output, TaskSpec, Usage
from orcs_server.workflow.people import Need


@dataclass(frozen=True, slots=True)
class AttemptOutcome:
    """An output, or a failure, or where the attempt stopped; `blobs` holds the texts to store with the report."""

    output: Output | None = None
    failure: Failure | None = None
    blobs: tuple[Blob, ...] = ()
    needs: tuple[Need, ...] = ()
    """What people have to give before it can go on; then it has stopped, too."""
    stopped: bool = False
    """It stopped at a turn, and the next attempt goes on from there."""
    read: int = 0
    """Messages that its agent has read."""


@dataclass(frozen=True, slots=True)
class PlanOutcome:
    """A well-formed plan, or a failure, with what a repair has to mend if the answer was unusable."""

    tasks: tuple[TaskSpec, ...] | None = None
    failure: Failure | None = None
    problems: tuple[str, ...] = ()
    blobs: tuple[Blob, ...] = ()
    needs: tuple[Need, ...] = ()
    """What people have to give before it can go on; then it has stopped, too."""
    stopped: bool = False
    """It stopped at a turn, and the next attempt goes on from there."""
    read: int = 0
    """Messages that its agent has read."""


class AttemptObserver(Protocol):
    """Hears what an attempt says while it runs. Called from the event loop; must not block."""

    def delta(self, text: str) -> None:
        """Take text that the model has just produced."""
        ...

    def usage(self, calls: int, usage: Usage) -> None:
        """Take what the attempt has consumed so far, over so many model calls."""
        ...

    def mismatch(self, path: str, turn: int) -> None:
        """Take note that the attempt left the course of its journal with this model call."""
        ...
