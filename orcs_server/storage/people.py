"""What waits for people, and which namespaces stand still, as a store keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from msgspec import Struct

from orcs_server.workflow.model import StopMode
from orcs_server.workflow.people import InputKind, PendingInput

if TYPE_CHECKING:
    from orcs_server.storage.audit import AuditDraft
    from orcs_server.storage.store import RequestRecord


class StoredInput(NamedTuple):
    """Something that was asked of people, with what is told about its workflow."""

    workflow_id: str
    title: str
    input: PendingInput


class InputKey(NamedTuple):
    """Where the next page of inputs begins: strictly after this one."""

    created_us: int
    workflow_id: str
    ordinal: int


class InputFilter(Struct, frozen=True):
    """Which inputs to list; what is left out does not restrict."""

    open_only: bool = True
    kinds: tuple[InputKind, ...] = ()
    workflow_id: str = ""
    task_id: str = ""


class Freeze(Struct, frozen=True):
    """A namespace in which everything is paused, or that is being thawed."""

    namespace: str
    mode: StopMode
    reason: str = ""
    thawing: bool = False


class PeopleStore(Protocol):
    """Lists what waits for people over all workflows of a namespace; each workflow's own is loaded with it."""

    async def list_inputs(
        self, namespace: str, where: InputFilter, page_size: int, after: InputKey | None = None
    ) -> list[StoredInput]:
        """Return up to `page_size` inputs after the key, oldest first, by (created_us, workflow, ordinal)."""
        ...

    async def get_input(self, namespace: str, workflow_id: str, input_id: str) -> PendingInput | None:
        """Return one of a workflow's inputs, resolved or not."""
        ...

    async def freezes(self) -> list[Freeze]:
        """Return the namespaces that are frozen, or being thawed."""
        ...

    async def put_freeze(
        self, freeze: Freeze, request: RequestRecord | None = None, audit: AuditDraft | None = None
    ) -> None:
        """Note that a namespace is frozen, or being thawed, by which request, and what the audit log says of it.

        Raises DuplicateRequest when the request was carried out before.
        """
        ...

    async def end_freeze(self, namespace: str) -> None:
        """Note that a namespace is not frozen any more."""
        ...
