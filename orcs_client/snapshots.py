"""How far a watch of many has come, and what of its snapshot: that is held back until it is whole."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from orcs_client.v1 import control_service_pb2, workflow_service_pb2

Item = TypeVar("Item")


class Came(NamedTuple, Generic[Item]):
    """What a watch hands over at a time."""

    items: tuple[Item, ...]
    removed: tuple[str, ...]
    cursor: str
    snapshot: bool


@dataclass(slots=True)
class Progress(Generic[Item]):
    """What is known of a watch, from one connection to the next."""

    cursor: str
    snapshot: bool
    """It begins with a snapshot, which has not come as a whole yet."""
    shown: dict[Hashable, Item] = field(default_factory=dict)

    def begin(self) -> None:
        """Forget parts of a snapshot: a new connection begins with its first one."""
        self.shown.clear()

    def take(
        self,
        reply: workflow_service_pb2.WatchWorkflowsResponse | control_service_pb2.WatchPendingInputsResponse,
        items: Mapping[Hashable, Item],
    ) -> Came[Item] | None:
        """Return what is to be handed over, None for nothing. A part alone does not say what is gone."""
        self.cursor = reply.cursor or self.cursor
        removed = tuple(reply.removed_workflow_ids)
        if not self.snapshot:
            return Came(tuple(items.values()), removed, self.cursor, snapshot=False) if items or removed else None
        self.shown.update(items)
        for gone in removed:
            self.shown.pop(gone, None)
        if not reply.snapshot_complete:
            return None
        self.snapshot = False
        whole, self.shown = tuple(self.shown.values()), {}
        return Came(whole, (), self.cursor, snapshot=True)
