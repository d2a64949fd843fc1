"""What every engine promises to the service, and the plain types that go in and out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from msgspec import Struct

from orcs_server.engines.feed import NamespaceWatch, WorkflowWatch
from orcs_server.identity import Caller
from orcs_server.identity.quotas import UsedUp
from orcs_server.storage.audit import AuditDraft
from orcs_server.storage.store import Blob
from orcs_server.workflow.messages import Request
from orcs_server.workflow.model import StopMode, Usage
from orcs_server.workflow.state import WorkflowState


class Command(Struct, frozen=True):
    """A request to one workflow, by a caller, validated and authorised."""

    caller: Caller
    """Its namespace is the workflow's."""
    workflow_id: str
    request: Request
    method: str
    """The RPC's name: with namespace and principal it is the room in which `request_id` is unique."""
    request_id: str = ""
    """Empty: not idempotent."""
    command_hash: str = ""
    """Of the validated command; tells a repetition from another command under the same request id."""
    blobs: tuple[Blob, ...] = ()
    """Texts that the request refers to; stored in the same transaction."""
    audit: AuditDraft | None = None
    """What the audit log says of it, if it changes anything; stored in the same transaction."""


class Receipt(Struct, frozen=True):
    """What a command led to. A repetition gets the first one's receipt."""

    workflow_id: str
    seq: int
    """Of the last event that the command caused: a watch after it sees all that followed."""
    repeated: bool = False


class Standing(NamedTuple):
    """How a namespace stands to those of its quotas that hold attempts."""

    running: int
    """Attempts that run."""
    used_up: UsedUp | None = None
    """What it has used up for today, so that nothing starts."""


class Engine(Protocol):
    """Drives workflows by the rules of the core. All methods are for one event loop."""

    async def start(self) -> int:
        """Take up every live workflow where it stood; return how many. New commands are accepted from then on."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Stop taking commands, let attempts end for up to `grace_s` seconds, store the rest as interrupted. Loses nothing."""
        ...

    async def submit(self, command: Command) -> Receipt:
        """Carry out a command; returns once its events are stored.

        Raises IllegalTransition, InvalidArgument, AlreadyExists, NotFound; InvalidArgument (REQUEST_ID_REUSED) when the
        request id belongs to another command; Unavailable while draining or when the store does not answer;
        ResourceExhausted when too much is queued; QuotaExceeded when the namespace has used up what it may.
        """
        ...

    async def spend(self, namespace: str, usage: Usage) -> None:
        """Count what was consumed without a workflow in the namespace's ledger. Raises Unavailable."""
        ...

    def standing(self, namespace: str) -> Standing:
        """Return how a namespace stands to those of its quotas that hold attempts."""
        ...

    async def freeze(
        self,
        caller: Caller,
        mode: StopMode,
        reason: str,
        request_id: str = "",
        command_hash: str = "",
        audit: AuditDraft | None = None,
    ) -> int:
        """Pause everything in the caller's namespace, and what is created there from now on; return how many were paused.

        A repetition does not freeze again what was thawed since: 0. Raises InvalidArgument (REQUEST_ID_REUSED); Unavailable, and
        then, as after a crash, the rest is paused at the next start.
        """
        ...

    async def thaw(
        self, caller: Caller, request_id: str = "", command_hash: str = "", audit: AuditDraft | None = None
    ) -> int:
        """Take the freeze of the caller's namespace back; return how many workflows go on, or stay paused by a person.

        A repetition does not take back another freeze: 0. Raises InvalidArgument (REQUEST_ID_REUSED), Unavailable.
        """
        ...

    @property
    def states(self) -> Iterator[WorkflowState]:
        """The committed states of the workflows that are in memory at this moment."""
        ...

    def state(self, namespace: str, workflow_id: str) -> WorkflowState | None:
        """Return the committed state of a workflow that is in memory, else None: then read the store."""
        ...

    def watch(self, namespace: str, workflow_id: str, *, deltas: bool) -> WorkflowWatch:
        """Watch one workflow. The caller closes the watch."""
        ...

    def watch_namespace(self, namespace: str) -> NamespaceWatch:
        """Watch the commits of a whole namespace. The caller closes the watch."""
        ...
