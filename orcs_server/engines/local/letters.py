"""What lies in a workflow's mailbox, and what one turn makes of it before the commit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from orcs_server.engines.base import Command, Receipt
from orcs_server.engines.reconcile import Flight
from orcs_server.errors import InvalidArgument, OrcsError, Unavailable
from orcs_server.hooks.protocols import Origin
from orcs_server.identity import Caller
from orcs_server.storage.audit import AuditDraft, details_of
from orcs_server.storage.journal import JournalHead
from orcs_server.storage.store import Blob, EventRecord, RequestKey, RequestRecord, Write
from orcs_server.workflow import events as e
from orcs_server.workflow import messages as m
from orcs_server.workflow.model import Failure, FailureKind, Usage
from orcs_server.workflow.state import WorkflowState

UNSTORABLE = Failure(FailureKind.INTERNAL, "The server could not store what the attempt came to; its log says why.")


class Letter(NamedTuple):
    """A message in the mailbox, with who sent it and who waits for the answer."""

    message: m.Message
    actor: str
    blobs: tuple[Blob, ...] = ()
    command: Command | None = None
    reply: asyncio.Future[Receipt] | None = None
    flight: Flight | None = None
    """What has landed with this report: it counts as under way until the report is stored."""

    def refuse(self, error: Exception) -> None:
        """Tell the sender, if one waits."""
        if self.reply is not None and not self.reply.done():
            self.reply.set_exception(error)

    def replaced(self) -> Letter:
        """Return what can be stored in place of a report that cannot: the end of its attempt, with a failure."""
        message = self.message
        report: m.Message = m.Tick()
        if isinstance(message, m.AttemptFinished):
            report = m.AttemptFinished(message.task_id, message.attempt, failure=UNSTORABLE)
        elif isinstance(message, m.PlanMade | m.PlanFailed):
            report = m.PlanFailed(message.attempt, UNSTORABLE)
        return self._replace(message=report, blobs=())


class Draft:
    """What one turn has come to so far; nothing of it is true before the commit."""

    __slots__ = ("audit", "blobs", "letters", "receipts", "records", "refusals", "request", "state", "touched_all")

    def __init__(self, state: WorkflowState | None) -> None:
        self.state = state
        self.records: list[EventRecord] = []
        self.audit: list[AuditDraft] = []
        self.blobs: list[Blob] = []
        self.letters: list[Letter] = []
        self.receipts: list[tuple[asyncio.Future[Receipt], Receipt]] = []
        self.refusals: list[tuple[Letter, OrcsError]] = []
        """They wait for the commit too: what they rest on may not come true."""
        self.request: RequestRecord | None = None
        self.touched_all = False

    def accept(self, letter: Letter, workflow_id: str, seq: int, now_us: int) -> None:
        """Keep the receipt for whoever waits for it, with the record by which a repetition will be known."""
        command = letter.command
        if command is None or letter.reply is None:
            return
        self.receipts.append((letter.reply, Receipt(workflow_id, seq)))
        if command.request_id:
            self.request = RequestRecord(request_key(command), command.command_hash, workflow_id, seq, now_us)

    @property
    def deletes(self) -> bool:
        """The workflow is gone after this draft; nothing can follow in it."""
        return bool(self.records) and isinstance(self.records[-1].event, e.WorkflowDeleted)

    @property
    def touched(self) -> tuple[str, ...] | None:
        """Ids of the tasks whose rows change; None for all."""
        return None if self.touched_all else _touched(self.records)


def write_of(draft: Draft, base_seq: int, state: WorkflowState, caller: Caller, spent: Usage) -> Write:
    """Return what is to be stored of a draft that has come to this state."""
    first = draft.records[0]
    return Write(
        first.namespace,
        first.workflow_id,
        base_seq,
        draft.records,
        state,
        touched=draft.touched,
        blobs=tuple(draft.blobs),
        request=draft.request,
        caller=caller if base_seq == 0 else None,
        audit=tuple(draft.audit),
        spent=spent,
    )


def spent_between(stored: WorkflowState | None, state: WorkflowState) -> Usage:
    """Return what a workflow has consumed since what is stored of it."""
    return state.progress.usage if stored is None else state.progress.usage - stored.progress.usage


def origin_of(letter: Letter, before: Origin) -> Origin:
    """Return what sets a workflow in motion that takes this letter; what its own attempts report continues what was."""
    if isinstance(letter.message, m.Tick):
        return Origin.TIMER
    called = letter.command is not None and not isinstance(letter.message, m.TasksProposed)
    return Origin.RPC if called else before


def draining() -> Unavailable:
    return Unavailable("SERVER_DRAINING", "The server is shutting down. Try again with another one, or later.")


def request_key(command: Command) -> RequestKey:
    caller = command.caller
    return RequestKey(caller.namespace, caller.principal, command.method, command.request_id)


def answer_repeated(reply: asyncio.Future[Receipt], command: Command, record: RequestRecord) -> None:
    """Give the first answer again, or refuse another command under the same request id."""
    if reply.done():
        return
    if record.command_hash == command.command_hash:
        reply.set_result(Receipt(record.workflow_id, record.seq, repeated=True))
    else:
        reply.set_exception(reused(record))


def reused(record: RequestRecord) -> InvalidArgument:
    """Return the refusal of another command under the request id of this one."""
    return InvalidArgument(
        "REQUEST_ID_REUSED",
        f"The request id {record.key.request_id!r} belongs to another {record.key.method}. Use a new one.",
    )


def proposal_audit(caller: Caller, workflow_id: str, proposal: m.TasksProposed, actor: str, now_us: int) -> AuditDraft:
    """Return what the audit log says of tasks that an agent adds, for whoever it works for."""
    return AuditDraft(
        now_us,
        "plans.edit",
        "agent",
        caller.principal,
        resource=workflow_id,
        agent=actor.removeprefix("agent:"),
        workflow_id=workflow_id,
        task_id=proposal.proposer,
        details=details_of({"edits": len(proposal.tasks), "attempt": proposal.attempt}),
    )


def unreported(state: WorkflowState, heads: Mapping[str, JournalHead]) -> list[m.Report]:
    """Return what the process before this one did not come to report: usage that its journals know of, and lost attempts."""
    return [*unreported_usage(state, heads), *losses_of(state, heads)]


def unreported_usage(state: WorkflowState, heads: Mapping[str, JournalHead]) -> list[m.UsageRecorded]:
    """Return what attempts had stored as consumed when the process ended, as far as the workflow has not counted it yet."""
    found: list[m.UsageRecorded] = []
    for task_id, head in heads.items():
        task = state.tasks.get(task_id)
        known = state.progress.planning if task is None else task.progress
        if head.attempt == known.attempt and head.spent.calls > known.calls:
            found.append(m.UsageRecorded(head.attempt, head.spent.calls, head.spent.usage, task_id))
    return found


def losses_of(state: WorkflowState, heads: Mapping[str, JournalHead]) -> list[m.AttemptLost]:
    """Return the losses of a workflow that was taken up from its rows: no process but this one could be at its attempts."""
    running = [(task_id, state.tasks[task_id].progress.attempt) for _, task_id in state.running]
    if state.progress.planning.running:
        running.insert(0, ("", state.progress.planning.attempt))
    grown = {task_id: head.grown_in for task_id, head in heads.items()}
    return [m.AttemptLost(attempt, task_id, grown.get(task_id) == attempt) for task_id, attempt in running]


def _touched(records: Sequence[EventRecord]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for record in records:
        event = record.event
        if isinstance(event, e.PlanAmended):
            names.update(dict.fromkeys((*(task.id for task in (*event.added, *event.changed)), *event.removed)))
        else:
            name = getattr(event, "task_id", "")
            if name:
                names[name] = None
    return tuple(names)
