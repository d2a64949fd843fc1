"""The call journal as a store keeps it: for each agent run the model calls that are finished and the tool calls that were started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from msgspec import Struct

from orcs_server.workflow.model import NO_USAGE, Digest, Usage

if TYPE_CHECKING:
    from orcs_server.storage.store import Blob


class JournalKey(NamedTuple):
    """One agent run: the conversation that the attempts of a task continue."""

    namespace: str
    workflow_id: str
    task_id: str
    """Empty: the planner's."""
    run: int


class ModelCall(Struct, frozen=True):
    """A finished model call."""

    path: str
    """The ids of the tool calls within which the call was made, from the outside in, parted by `/`; "" for the run's own agent."""
    turn: int
    """0, 1, 2… within the path."""
    input_hash: str
    """Of everything that the model was shown, chained over the turns."""
    response: Digest


class ToolCall(Struct, frozen=True):
    """A tool call that was started."""

    path: str
    """Like a model call's."""
    call_id: str
    """Unique within the run."""
    tool: str
    repeatable: bool
    """It was declared when it was started that it may run again."""
    result: Digest | None = None
    """None: started, and whether it has acted is not known."""
    dropped: bool = False
    """The model call that asked for it is no longer part of the run. The row keeps its id from being given again."""


class MessageRead(Struct, frozen=True):
    """A message of a person that was put before the model."""

    path: str
    """Like a model call's."""
    turn: int
    """The model call that was the first to show it."""
    position: int
    """Its index in what that call showed: unique within the turn."""
    message_id: str


class CutOff(Struct, frozen=True):
    """The model calls of a path, from a turn on, and the messages first shown in them, are no longer part of the run."""

    path: str
    turn: int


JournalEntry = ModelCall | ToolCall | MessageRead | CutOff


class JournalRows(Struct, frozen=True):
    """What is stored of a run."""

    model_calls: list[ModelCall]
    tool_calls: list[ToolCall]
    messages: list[MessageRead] = []
    """By path, turn and position."""


class Spent(NamedTuple):
    """What an attempt has consumed so far, failed calls included."""

    calls: int = 0
    """Model calls."""
    usage: Usage = NO_USAGE


NOTHING_SPENT = Spent()


class JournalHead(NamedTuple):
    """What is known of a task's journals without reading them."""

    attempt: int
    """The last one that wrote, or continued a run."""
    spent: Spent
    """By that attempt, when it last stored something."""
    grown_in: int
    """The last attempt that stored a finished call; 0 when none did."""


class JournalStore(Protocol):
    """Keeps the journals. They go with their workflow when it is deleted."""

    async def open_journal(self, key: JournalKey, attempt: int) -> JournalRows:
        """Return what is stored of a run, for an attempt that continues it: no earlier attempt can write from now on."""
        ...

    async def append_journal(
        self,
        key: JournalKey,
        attempt: int,
        entries: Sequence[JournalEntry],
        blobs: Sequence[Blob] = (),
        spent: Spent = NOTHING_SPENT,
    ) -> None:
        """Store entries, in their order, with the texts that they refer to; those of the same place are replaced.

        `spent` is what the attempt has consumed up to these entries; with fewer calls than are known of it, it is passed over.
        Raises Conflict (STALE_WRITE) when a later attempt has taken the journal over or the workflow is gone.
        """
        ...

    async def journal_heads(self, namespace: str, workflow_id: str) -> dict[str, JournalHead]:
        """Return how far the journals of a workflow have come, by task id."""
        ...
