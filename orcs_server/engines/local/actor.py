"""One active workflow: it takes messages one after the other, stores what they lead to, and only then lets anybody know.

A turn drains the mailbox, decides and evolves provisionally, asks for slots, and writes once. Replies, watchers and effects
wait for the commit. When the store fails, the state is read again from the rows and the reports are delivered again, which
the core's rules make harmless.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Mapping
from contextvars import Context
from typing import TYPE_CHECKING

from orcs_server.engines.base import Command, Receipt
from orcs_server.engines.local.flights import Flights
from orcs_server.engines.local.letters import (
    Draft,
    Letter,
    draining,
    origin_of,
    proposal_audit,
    spent_between,
    unreported,
    write_of,
)
from orcs_server.engines.local.slots import Ticket, Want
from orcs_server.engines.local.trouble import events_between, owed
from orcs_server.engines.local.wants import wants_of
from orcs_server.engines.reconcile import Flight
from orcs_server.errors import OrcsError, Unavailable
from orcs_server.hooks.protocols import Origin
from orcs_server.identity import Caller
from orcs_server.storage.journal import JournalHead
from orcs_server.storage.store import Blob, DuplicateRequest, EventRecord
from orcs_server.workflow import events as e
from orcs_server.workflow import messages as m
from orcs_server.workflow.decide import take
from orcs_server.workflow.model import NO_USAGE
from orcs_server.workflow.state import WorkflowState

if TYPE_CHECKING:
    from orcs_server.engines.local.engine import LocalEngine

_log = logging.getLogger("orcs.engine")

USAGE_PAUSE_S = 0.2
"""Usage waits this long for company, so that it mostly shares a transaction with the attempt's end."""
STORE_RETRY_S = (0.1, 5.0)
"""First and longest pause before the reports are tried again when the store does not answer."""
LONGEST_SLEEP_S = 3600.0


class WorkflowActor:
    """Drives one workflow. Lives while something is under way or due."""

    def __init__(
        self,
        engine: LocalEngine,
        namespace: str,
        workflow_id: str,
        state: WorkflowState | None,
        seq: int,
        caller: Caller,
    ) -> None:
        self._engine = engine
        self.namespace = namespace
        self.workflow_id = workflow_id
        self.state = state
        self.seq = seq
        self.caller = caller
        self.origin = Origin.RPC
        """What has set the workflow in motion last, for the hooks: a call, a time that came, or that it was taken up."""
        self._mailbox: deque[Letter] = deque()
        self._draining: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._nudge: asyncio.TimerHandle | None = None
        self._granted: list[Want] = []
        self._in_turn = False
        self._left = False
        self._once_more = False
        """Another turn is owed though nothing is in the mailbox: the last one could not be stored."""
        self._alone = 0
        """So many letters get a turn of their own: with one of them something is wrong."""
        self._store_pause = STORE_RETRY_S[0]
        self._flights = Flights(self)
        self._ticket = Ticket(namespace, self._on_grant)
        self.feed = engine.feeds.activate(namespace, workflow_id)

    @property
    def engine(self) -> LocalEngine:
        return self._engine

    @property
    def flights(self) -> Flights:
        return self._flights

    @property
    def busy(self) -> bool:
        """Something is under way, in the mailbox or being stored."""
        return bool(self._mailbox) or bool(self._flights) or self._draining is not None

    @property
    def at_rest(self) -> bool:
        """Nothing is under way or wanted: the actor may leave memory."""
        return not self.busy and not self._ticket.wants

    # Messages in

    def ask(self, command: Command) -> asyncio.Future[Receipt]:
        """Carry out a request; the future is done once it is stored or refused."""
        reply: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        letter = Letter(command.request, command.caller.principal, command.blobs, command, reply)
        self._deliver(letter)
        return reply

    async def propose(self, proposal: m.TasksProposed, blobs: tuple[Blob, ...], *, actor: str) -> None:
        """Add tasks that a running attempt wants. Raises what the core raises, and Unavailable."""
        reply: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        audit = proposal_audit(self.caller, self.workflow_id, proposal, actor, self._engine.clock.now_us())
        command = Command(self.caller, self.workflow_id, proposal, "ProposeTasks", audit=audit)
        self._deliver(Letter(proposal, actor, blobs, command, reply))
        await asyncio.shield(reply)

    def tell(
        self,
        message: m.Report,
        *,
        actor: str = "orcs",
        blobs: tuple[Blob, ...] = (),
        flight: Flight | None = None,
    ) -> None:
        """Deliver a report."""
        self._deliver(Letter(message, actor, blobs, flight=flight))

    def tell_usage(self, message: m.UsageRecorded, *, actor: str) -> None:
        """Deliver a usage report with the next turn, or soon."""
        if self._left:
            return  # The workflow has ended: the core would drop it, too.
        self._mailbox.append(Letter(message, actor))
        if self._draining is None and self._nudge is None:
            self._nudge = asyncio.get_running_loop().call_later(USAGE_PAUSE_S, self.wake)

    def wake(self) -> None:
        """Take a turn now."""
        if self._nudge is not None:
            self._nudge.cancel()
            self._nudge = None
        if self._draining is None and not self._left:
            # Not in the context of whoever wakes it: an attempt's span is not the workflow's.
            self._draining = asyncio.create_task(self._drain(), name=f"workflow {self.workflow_id}", context=Context())

    async def idle(self) -> None:
        """Work off the mailbox, and wait until that is done."""
        if self._mailbox:
            self.wake()
        while self._draining is not None:
            await asyncio.wait((self._draining,))

    def leave(self) -> None:
        """Leave memory: nothing is taken any more."""
        self._left = True
        for handle in (self._timer, self._nudge):
            if handle is not None:
                handle.cancel()
        if self._draining is not None:
            self._draining.cancel()
        while self._mailbox:
            self._mailbox.popleft().refuse(draining())
        self._engine.slots.ask(self._ticket, ())

    def _deliver(self, letter: Letter) -> None:
        if self._left:
            letter.refuse(draining())
            return
        self._mailbox.append(letter)
        self.wake()

    def _on_grant(self, want: Want) -> None:
        self._granted.append(want)
        if not self._in_turn:
            self.wake()

    # Turns

    async def _drain(self) -> None:
        try:
            while True:
                try:
                    await self._turn()
                except Exception:  # noqa: BLE001 - without its actor the workflow would stand still
                    _log.exception("workflow %s could not act on its state and will try again", self.workflow_id)
                    await self._pause()
                    self._once_more = True
                if not self._mailbox and not self._granted and not self._once_more:
                    return
        finally:
            self._draining = None
            self._engine.rest(self)

    async def _turn(self) -> None:
        self._once_more = False
        draft = Draft(self.state)
        now_us = self._engine.clock.now_us()
        try:
            self._read_mail(draft, now_us)
            if draft.state is not None and not draft.deletes:
                self._use_slots(draft, draft.state, now_us)
            if draft.records and draft.state is not None:
                await self._commit(draft, draft.state)
        except asyncio.CancelledError:
            for letter in draft.letters:
                letter.refuse(draining())
            raise
        except Exception as error:  # noqa: BLE001 - whoever asked is told, and no report is lost
            await self._uncommitted(draft, error)
            return
        self._answer(draft)
        if self.state is not None:
            self._act(self.state, now_us)

    def _answer(self, draft: Draft) -> None:
        for letter in draft.letters:
            if letter.flight is not None:
                self._flights.settle(letter.flight)
        for reply, receipt in draft.receipts:
            if not reply.done():
                reply.set_result(receipt)
        for letter, error in draft.refusals:
            letter.refuse(error)

    def _read_mail(self, draft: Draft, now_us: int) -> None:
        room = 1 if self._alone else len(self._mailbox)
        self._alone = max(self._alone - 1, 0)
        while self._mailbox and len(draft.letters) < room and not draft.deletes:
            if self._mailbox[0].command is not None and draft.request is not None:
                return  # One idempotency record a write: the next request takes the next turn.
            letter = self._mailbox.popleft()
            draft.letters.append(letter)
            self._take(draft, letter, now_us)

    def _take(self, draft: Draft, letter: Letter, now_us: int) -> None:
        if draft.state is None and letter.command is None:
            return  # The workflow has been deleted; its last reports are about nothing.
        try:
            state, events = take(draft.state, letter.message, now_us)
        except OrcsError as error:
            if letter.command is None:
                _log.error("workflow %s refused a report: %s", self.workflow_id, error)
            draft.refusals.append((letter, error))
            return
        if events:
            self.origin = origin_of(letter, self.origin)
        if self.state is None and isinstance(letter.message, m.CreateWorkflow) and letter.command is not None:
            self.caller = letter.command.caller
        cause = "" if letter.command is None else letter.command.request_id
        self._record(draft, events, now_us, letter.actor, cause)
        draft.state = state
        freeze = self._engine.freezing.pause_of(self.namespace, events)
        if freeze is not None and state is not None and not state.terminal:
            draft.state, events_of_freeze = take(state, freeze, now_us)
            self._record(draft, events_of_freeze, now_us, "orcs", cause)
        if events:
            draft.blobs.extend(letter.blobs)
            if letter.command is not None and letter.command.audit is not None:
                draft.audit.append(letter.command.audit)
        draft.accept(letter, self.workflow_id, self.seq + len(draft.records), now_us)

    def _record(self, draft: Draft, events: list[e.Event], now_us: int, actor: str, cause: str) -> None:
        for event in events:
            seq = self.seq + len(draft.records) + 1
            draft.records.append(EventRecord(self.namespace, self.workflow_id, seq, now_us, actor, cause, event))
            if isinstance(event, e.PlanAdopted):
                draft.touched_all = True

    def _use_slots(self, draft: Draft, state: WorkflowState, now_us: int) -> None:
        """Ask for slots for what may start, and let start, in this same transaction, what gets one."""
        stopping = self._engine.draining
        held = self._engine.spending.expect(self.namespace, spent_between(self.state, state))
        self._in_turn = True
        try:
            wants = [] if stopping else wants_of(state, now_us, self._granted)
            if wants or self._ticket.wants:
                self._engine.slots.ask(self._ticket, wants, state.spec.priority)
        finally:
            self._in_turn = False
        granted, self._granted = self._granted, []
        self._flights.hold(granted)
        moved: WorkflowState | None = state
        for want in granted:
            events: list[e.Event] = []
            if held:
                self._once_more = True  # What was granted before asks again, and waits.
            elif not stopping:
                moved, events = take(moved, m.SlotGranted(want.attempt, want.task_id), now_us)
            self._record(draft, events, now_us, "orcs", "")
            if not any(isinstance(event, e.AttemptStarted | e.PlanningStarted) for event in events):
                self._flights.drop(want)
        draft.state = moved

    async def _commit(self, draft: Draft, state: WorkflowState) -> None:
        write = write_of(draft, self.seq, state, self.caller, spent_between(self.state, state))
        store = self._engine.store
        await (store.delete(write) if draft.deletes else store.commit(write))
        if write.spent != NO_USAGE:
            await self._engine.spending.refresh(self.namespace)
        self._store_pause = STORE_RETRY_S[0]
        self.state, self.seq = None if draft.deletes else state, draft.records[-1].seq
        self._publish(draft.records)

    def _publish(self, records: list[EventRecord]) -> None:
        self.feed.publish(records)
        self._engine.committed(self, records)

    # Trouble

    async def _uncommitted(self, draft: Draft, error: Exception) -> None:
        """Nothing was stored: answer who asked, give slots back, and deliver reports again once the store answers."""
        self._flights.drop_held()
        known = isinstance(error, OrcsError | DuplicateRequest)
        if not known:
            _log.error("workflow %s could not take a turn", self.workflow_id, exc_info=error)
            error = Unavailable("STORAGE_UNAVAILABLE", "The server could not store this; its log says why. Try again.")
        hopeless = not known and len(draft.letters) == 1
        if not hopeless and not known:
            self._alone = len(draft.letters)
        self._mailbox.extendleft(reversed(owed(draft, error, hopeless=hopeless)))
        if self.state is not None:
            self._once_more = True
            if not isinstance(error, DuplicateRequest):
                _log.error("workflow %s could not store its progress, will try again: %s", self.workflow_id, error)
        elif not self._mailbox and not isinstance(error, Unavailable):
            self._want_nothing()
            return
        if isinstance(error, Unavailable):
            await self._pause()
        await self._reload()
        if self.state is None:
            self._want_nothing()

    def _want_nothing(self) -> None:
        """There is no workflow: take back what the turn that was to create it asked for, and give back what it got."""
        self._engine.slots.ask(self._ticket, ())
        granted, self._granted = self._granted, []
        self._flights.hold(granted)
        self._flights.drop_held()

    async def _pause(self) -> None:
        pause_s, self._store_pause = self._store_pause, min(self._store_pause * 2, STORE_RETRY_S[1])
        await asyncio.sleep(pause_s)

    async def _reload(self) -> None:
        """Take what the rows say: a commit whose answer was lost may have gone through."""
        missed: list[EventRecord] = []
        try:
            loaded = await self._engine.load_state(self.namespace, self.workflow_id)
            if loaded is not None and self.seq:
                store, key = self._engine.store, (self.namespace, self.workflow_id)
                missed = await events_between(store, *key, self.seq, loaded.seq)
            await self._engine.spending.refresh(self.namespace)
        except Unavailable:
            return
        if loaded is None:
            self.state = None
            return
        self.state, self.seq, self.caller = loaded
        self._once_more = True
        if missed:
            self._publish(missed)

    # Effects

    def _act(self, state: WorkflowState, now_us: int) -> None:
        wake_at_us = self._flights.follow(state, now_us)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wake_at_us is not None:
            delay = min(max(wake_at_us - self._engine.clock.now_us(), 0) / 1e6, LONGEST_SLEEP_S)
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self.tell(m.Tick(random.random()))  # noqa: S311 - jitter needs no secrecy

    def recover(self, heads: Mapping[str, JournalHead]) -> None:
        """Report what the process before this one did not come to report. `heads` has the journals' state by task id."""
        self.origin = Origin.RECOVERY
        if self.state is not None:
            for report in unreported(self.state, heads):
                self.tell(report)
            self.wake()
