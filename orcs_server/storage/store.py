"""The promises of a store, and the plain types that go in and out of it. Nothing here is particular to one database:
`tests/storage/conformance.py` is the suite that every implementation passes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from msgspec import Struct

from orcs_server.identity import Caller
from orcs_server.storage.agents import AgentStore
from orcs_server.storage.audit import AuditDraft, AuditStore
from orcs_server.storage.journal import JournalStore
from orcs_server.storage.memory import MemoryStore
from orcs_server.storage.people import PeopleStore
from orcs_server.storage.usage import UsageStore
from orcs_server.workflow.events import Event
from orcs_server.workflow.model import NO_USAGE, Digest, TaskProgress, TaskSpec, Usage, WorkflowProgress, WorkflowSpec
from orcs_server.workflow.people import PendingInput, PersonMessage
from orcs_server.workflow.state import WorkflowState
from orcs_server.workflow.states import TaskStatus, WorkflowStatus


class Blob(Struct, frozen=True):
    """A text of any length, named by the SHA-256 of its bytes."""

    digest: Digest
    data: bytes


def blob_of(data: bytes | str) -> Blob:
    """Return the blob of these bytes; text is encoded as UTF-8."""
    if isinstance(data, str):
        data = data.encode()
    return Blob(Digest(hashlib.sha256(data).hexdigest()), data)


class EventRecord(Struct):
    """An event with its place in the log. Not frozen: the commit sets `position`."""

    namespace: str
    workflow_id: str
    seq: int
    """1, 2, 3… within the workflow, without a hole."""
    time_us: int
    actor: str
    cause: str
    """The request id that led to it, or ""."""
    event: Event
    position: int = 0
    """Place among the events of all workflows: grows, may have holes. 0 until committed."""
    wire: bytes | None = None
    """Memo for whoever serialises the record; never stored."""


class RequestKey(NamedTuple):
    """What makes a request the same request."""

    namespace: str
    principal: str
    method: str
    request_id: str


class RequestRecord(Struct, frozen=True):
    """Which command a request carried and the event it led to, so that its repetition gets the same answer."""

    key: RequestKey
    command_hash: str
    workflow_id: str
    seq: int
    """For a change of memory the place in its log instead."""
    created_us: int
    answer: bytes = b""
    """What it was answered, as JSON, where that cannot be read from the event."""


class DuplicateRequest(Exception):
    """The write's request key is stored already and nothing was written; `record` is the first request's.

    Not for a caller's eyes: whoever submitted the write answers from the record, or refuses another command.
    """

    def __init__(self, record: RequestRecord) -> None:
        super().__init__(f"request {record.key.request_id!r} of {record.key.method} was carried out before")
        self.record = record


class Write(Struct, frozen=True):
    """One workflow's new events, with the rows that they changed: all of it is stored, or nothing."""

    namespace: str
    workflow_id: str
    base_seq: int
    """The last seq stored before; 0 creates the workflow."""
    events: list[EventRecord]
    """At least one, numbered from base_seq + 1."""
    state: WorkflowState
    """After the events."""
    touched: tuple[str, ...] | None = ()
    """Ids of the tasks whose rows changed, entered or left the plan; None means all tasks (after PlanAdopted)."""
    blobs: tuple[Blob, ...] = ()
    request: RequestRecord | None = None
    caller: Caller | None = None
    """Stored on create; not looked at later."""
    audit: tuple[AuditDraft, ...] = ()
    """What the audit log says of it, in the same transaction."""
    spent: Usage = NO_USAGE
    """What the workflow has consumed more after the events than before them; counted in the namespace's ledger."""


class StoredTask(NamedTuple):
    """A task's row."""

    ordinal: int
    spec: TaskSpec
    progress: TaskProgress


class StoredWorkflow(Struct, frozen=True):
    """All rows of a workflow: what a restart begins from."""

    spec: WorkflowSpec
    progress: WorkflowProgress
    seq: int
    caller: Caller | None
    tasks: list[StoredTask]
    """By ordinal."""
    inputs: list[PendingInput]
    """All that was ever asked of people, by ordinal."""
    mail: list[PersonMessage]
    """All messages of people, by ordinal."""


class LiveWorkflow(NamedTuple):
    """A workflow that a restarted server has to look after."""

    namespace: str
    workflow_id: str
    wake_at_us: int | None
    """Its first timer."""
    idle: bool
    """True when it only waits for a person: it need not be loaded before its wake-up time or the next request."""


class WorkflowSummary(Struct, frozen=True):
    """A workflow's row, without its tasks."""

    namespace: str
    id: str
    spec: WorkflowSpec
    progress: WorkflowProgress
    seq: int
    updated_us: int
    """Time of its last event."""
    caller: Caller | None


class WorkflowFilter(Struct, frozen=True):
    """Which workflows to list; what is left out does not restrict."""

    statuses: tuple[WorkflowStatus, ...] = ()
    """Any of these."""
    labels: tuple[tuple[str, str], ...] = ()
    """All of these."""
    title_prefix: str = ""
    """Compared letter by letter, case included."""
    created_from_us: int | None = None
    """Inclusive."""
    created_before_us: int | None = None
    """Exclusive."""


class PageKey(NamedTuple):
    """Where the next page of workflows begins: strictly after this row."""

    created_us: int
    workflow_id: str


class FinishedWorkflow(NamedTuple):
    """A workflow that has ended and holds nothing, in the order in which they are gone over."""

    namespace: str
    created_us: int
    workflow_id: str


class Snapshot(Struct, frozen=True):
    """A workflow and all its tasks as of `summary.seq`, read in one transaction."""

    summary: WorkflowSummary
    tasks: list[StoredTask]
    """By ordinal."""
    inputs: list[PendingInput]
    """All that was ever asked of people, by ordinal."""
    mail: list[PersonMessage]
    """All messages of people, by ordinal."""


ROOM_WANTED: Final = 64 * 1024 * 1024
"""Bytes that should be free beside the data file: with less, its disk counts as full."""


class Fault(NamedTuple):
    """What keeps the storage from taking writes."""

    full: bool
    """There is no room on the disk."""
    text: str
    """As callers are told."""
    since_us: int = 0
    """0: not known."""


class Disk(Protocol):
    """How the storage is, for those who watch over it."""

    on_batch: Callable[[int, float], None] | None
    """Is told of each transaction that became durable: its writes, and the seconds that it took. Set it before the store opens."""

    @property
    def fault(self) -> Fault | None:
        """What keeps the storage from taking writes now; None if nothing is known to."""

    @property
    def failures(self) -> int:
        """Transactions that did not go through."""

    async def free_bytes(self) -> int:
        """Return what is free on the disk of the data file. Raises OSError."""


class Store(JournalStore, PeopleStore, UsageStore, Disk, Protocol):
    """Durable rows, events and blobs. Every method but `open`, `close`, `live` and those by position sees one namespace.

    Any method raises Unavailable (STORAGE_UNAVAILABLE) when the storage does not answer or holds damaged rows. A write
    that was handed over goes through even when the caller is cancelled meanwhile.
    """

    @property
    def epoch(self) -> str:
        """The log's identity: 16 hex digits, drawn when the storage was created. Known once open."""
        ...

    @property
    def memory(self) -> MemoryStore:
        """What agents remember."""
        ...

    @property
    def audit(self) -> AuditStore:
        """Who did what."""
        ...

    @property
    def agents(self) -> AgentStore:
        """The agents that are registered for namespaces."""
        ...

    async def open(self) -> None:
        """Open, create or migrate the storage. Raises StartupError when that is not possible."""
        ...

    async def close(self) -> None:
        """Wait for the writes under way and let go of the storage; later calls raise Unavailable. May be repeated."""
        ...

    async def check(self) -> None:
        """Return when the storage answers; raise Unavailable when it does not. Cheap: for health."""
        ...

    # Workflows

    async def commit(self, write: Write) -> None:
        """Store the write durably, all or nothing, and set `position` on its records.

        Raises AlreadyExists (WORKFLOW_ALREADY_EXISTS) when a new workflow's id is taken, or was before a deletion;
        Conflict when the stored seq is not `base_seq`; DuplicateRequest when the request was carried out before;
        QuotaExceeded when the namespace may not create this workflow.
        """
        ...

    async def delete(self, write: Write) -> None:
        """Like `commit`, for a write whose last event is WorkflowDeleted: of the workflow only that event stays, as a
        tombstone. Its rows, other events and the blobs that nothing else in the namespace refers to are erased.
        """
        ...

    async def load(self, namespace: str, workflow_id: str) -> StoredWorkflow | None:
        """Return all rows of a workflow, read in one transaction."""
        ...

    async def live(self) -> list[LiveWorkflow]:
        """Return the workflows of all namespaces that have not ended or still hold resources, oldest first."""
        ...

    async def finished_before(
        self, before_us: int, limit: int, after: FinishedWorkflow | None = None
    ) -> list[FinishedWorkflow]:
        """Return up to `limit` settled workflows of all namespaces whose last event lies before that time."""
        ...

    async def get_summary(self, namespace: str, workflow_id: str) -> WorkflowSummary | None:
        """Return a workflow's row."""
        ...

    async def list_summaries(
        self, namespace: str, where: WorkflowFilter, page_size: int, after: PageKey | None = None
    ) -> list[WorkflowSummary]:
        """Return up to `page_size` workflows after the key, newest first, by (created_us, id)."""
        ...

    async def snapshot(self, namespace: str, workflow_id: str) -> Snapshot | None:
        """Return a workflow's row and all its tasks, read in one transaction."""
        ...

    async def get_task(self, namespace: str, workflow_id: str, task_id: str) -> StoredTask | None:
        """Return a task's row."""
        ...

    async def list_tasks(
        self,
        namespace: str,
        workflow_id: str,
        after_ordinal: int = -1,
        limit: int = 100,
        statuses: Sequence[TaskStatus] = (),
    ) -> list[StoredTask]:
        """Return up to `limit` tasks after the ordinal, by ordinal; only those in one of `statuses`, if given."""
        ...

    # Events

    async def events(self, namespace: str, workflow_id: str, after_seq: int, limit: int) -> list[EventRecord]:
        """Return up to `limit` events of a workflow after the seq, by seq."""
        ...

    async def events_after_position(self, namespace: str, position: int, limit: int) -> list[EventRecord]:
        """Return up to `limit` events of all workflows of the namespace after the position, by position."""
        ...

    async def last_position(self) -> int:
        """Return the position of the last committed event of all namespaces; 0 when there is none."""
        ...

    async def oldest_seq(self, namespace: str, workflow_id: str) -> int | None:
        """Return the seq of the oldest event that is still kept; None when there is none."""
        ...

    # Blobs

    async def blob(self, namespace: str, digest: Digest) -> bytes:
        """Return a blob's bytes. A missing one is damage, not absence: raises Unavailable."""
        ...

    async def put_blobs(self, namespace: str, blobs: Sequence[Blob]) -> None:
        """Store blobs ahead of the write that will refer to them; those stored already are left alone.

        That write carries them again: until then a deletion may erase a blob that nothing refers to yet.
        """
        ...

    async def prune_blobs(self, after: tuple[str, str], limit: int) -> tuple[str, str] | None:
        """Look at up to `limit` blobs after a place, by (namespace, digest), and erase those to which nothing refers.

        Returns the place up to which it looked, None at the end; ("", "") is the beginning.
        """
        ...

    # Requests

    async def find_request(self, key: RequestKey) -> RequestRecord | None:
        """Return what a request led to, if it was carried out before."""
        ...

    async def prune_requests(self, before_us: int, limit: int) -> int:
        """Forget up to `limit` of the requests created before that time, in all namespaces; return how many."""
        ...
