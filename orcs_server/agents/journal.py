"""The call journal of one attempt: what earlier attempts of its run have called is given back instead of called again, and what
the attempt calls itself is stored before anybody acts on it. Nothing else of a run is stored: the Agents SDK's state comes about
anew by replaying it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from openai.types.responses import Response

from orcs_server.agents.cancellation import to_its_end
from orcs_server.agents.conversation import Conversation, Turn
from orcs_server.agents.failures import course_left, tool_in_doubt, unseen_call
from orcs_server.agents.needs import InputRequired, Needs
from orcs_server.agents.notes import Notes, answers_for
from orcs_server.agents.paths import ROOT, below, current_path, is_within
from orcs_server.agents.reading import MemoryNote, Reading
from orcs_server.agents.responses import is_acted_on, pack_response, unpack_response, unseen_kind
from orcs_server.agents.steering import Steering
from orcs_server.agents.tool_results import pack_result
from orcs_server.errors import Conflict, Unavailable
from orcs_server.storage.journal import (
    NOTHING_SPENT,
    CutOff,
    JournalEntry,
    JournalKey,
    JournalRows,
    ModelCall,
    Spent,
    ToolCall,
)
from orcs_server.storage.store import Blob, Store, blob_of
from orcs_server.workflow.model import Digest, Failure, FailureKind
from orcs_server.workflow.people import PendingInput

_log = logging.getLogger("orcs.journal")

STORE_RETRY_S = (0.1, 5.0)
"""First and longest pause before a call is tried to be stored again while the store does not answer."""


class JournalStopped(Exception):
    """The run cannot go on: `RunJournal.failure` says why, or `halted` that the next attempt can. The SDK may turn it into text for
    a model, so it is kept there.
    """


class RunJournal:
    """One per attempt. Its methods may run concurrently for different paths, as parallel tools do."""

    def __init__(
        self,
        store: Store,
        key: JournalKey,
        attempt: int,
        rows: JournalRows | None = None,
        on_mismatch: Callable[[str, int], None] | None = None,
        steering: Steering | None = None,
        approvals_expire_us: int | None = None,
        reading: Reading | None = None,
    ) -> None:
        """Go on from these rows. `on_mismatch` is told the path and the turn where the run takes another course."""
        self._store = store
        self._key = key
        self._attempt = attempt
        self._on_mismatch = on_mismatch
        self.steering = steering or Steering()
        self.approvals_expire_us = approvals_expire_us
        """How long a tool may wait for its approval; None: without end."""
        self.reading = reading or Reading()
        """What the run has read."""
        rows = rows or JournalRows([], [])
        self._model_calls = {(call.path, call.turn): call for call in rows.model_calls}
        self._tool_calls = {(call.path, call.call_id): call for call in rows.tool_calls}
        self._conversations: dict[str, Conversation] = {}
        inputs = self.steering.inputs
        self.notes = Notes(self.steering, rows.messages, answers_for(key.task_id, inputs), self.reading)
        self.needs = Needs(key, attempt, inputs)
        self._held: tuple[Turn, Response] | None = None
        """An answer that asked for nothing more: it is stored only if another call follows after all."""
        self._latest: tuple[Turn, list[str]] | None = None
        """The last model call, and the tool calls that it asked for."""
        self.spent: Spent = NOTHING_SPENT
        """What the attempt has consumed up to now: the next entry takes it along."""
        self._stored_calls = 0
        """Up to how many calls that is stored."""
        self.holds_answers = True
        """A final answer is the run's last act: what follows is the transaction that ends the attempt, which stores it."""
        self.failure: Failure | None = None
        """Why the run must not go on, whatever the SDK makes of it."""
        self.halted = False
        """The run stops before its next model call, and the next attempt goes on from there."""
        self._halts: set[str] = set()
        """Paths on which a call came to nothing: no model is to see what the SDK makes of that."""
        self._waiting: set[tuple[str, str]] = set()
        """Tool calls that came to nothing."""

    @classmethod
    async def open(
        cls,
        store: Store,
        key: JournalKey,
        attempt: int,
        on_mismatch: Callable[[str, int], None] | None = None,
        steering: Steering | None = None,
        approvals_expire_us: int | None = None,
        reading: Reading | None = None,
    ) -> RunJournal:
        """Return the journal for an attempt. Raises Unavailable; Conflict when a later attempt has taken over."""
        rows = None if attempt == 1 else await store.open_journal(key, attempt)
        return cls(store, key, attempt, rows, on_mismatch, steering, approvals_expire_us, reading)

    @property
    def call_ids(self) -> frozenset[str]:
        """Ids of tool calls that the run has used, those of a course that it left included."""
        return frozenset(call_id for _, call_id in self._tool_calls)

    async def text(self, digest: Digest) -> str:
        """Return a stored text. Raises JournalStopped."""
        return (await self._blob(digest)).decode("utf-8", "replace")

    # Model calls

    async def begin(self, shown: str | Sequence[Any]) -> Turn:
        """Take note that the agent has come to its next model call. Raises JournalStopped."""
        self.check()
        await self.keep_answer()
        path = current_path()
        conversation = self._conversations.setdefault(path, Conversation())
        number = conversation.turns
        conversation.turns += 1
        items: list[Any] = [{"role": "user", "content": shown}] if isinstance(shown, str) else list(shown)
        if path == ROOT:
            items = await self.notes.place(number, items, self.text)
        new = conversation.show(items)
        await self._settle(path, new)
        if self.steering.stop or path in self._halts:
            self._halt(path)
        return Turn(path, number, conversation.hash.hexdigest(), items)

    async def replayed(self, turn: Turn, offered: Container[str]) -> Response | None:
        """Return the response of a finished call, or None: then the model is to be asked. `offered` are the names of its tools.

        Raises JournalStopped.
        """
        call = self._model_calls.get((turn.path, turn.number))
        if call is None:
            return None
        response = await self._read(call)
        if call.input_hash != turn.input_hash or response is None:
            await self._leave_course(turn)
            return None
        unseen = unseen_kind(response)
        if unseen is not None:
            self._stop(unseen_call(unseen))
        for item in response.output:
            tool = self._tool_calls.get((turn.path, getattr(item, "call_id", "")))
            if tool is not None and self._in_doubt(tool, repeatable=False) and tool.tool not in offered:
                self._stop(tool_in_doubt(tool.tool))
        self._note(turn, response)
        return response

    async def live(self, turn: Turn) -> Turn:
        """Get ready to ask the model, now or once more: wait until what was spent is counted, and show what people said meanwhile.

        Raises JournalStopped, where the run is to stop first.
        """
        if self.steering.settled is not None and not self.halted:
            await self.steering.settled()
        self.check()
        if self.halted or self.steering.stop:
            self._halt(turn.path)
        if turn.path != ROOT:
            return turn
        memory = await self._from_memory(turn.number)
        new = await self.notes.show(turn.number, len(turn.shown), self._tells, self.text, memory)
        if not new:
            return turn
        conversation = self._conversations[ROOT]
        conversation.extend(new)
        conversation.shown = [*turn.shown, *new]
        return Turn(ROOT, turn.number, conversation.hash.hexdigest(), conversation.shown)

    async def keep(self, turn: Turn, response: Response) -> None:
        """Store a response, before anybody acts on it. Raises JournalStopped.

        A final answer is not stored here, unless somebody looks at it first: it becomes the task's output in the transaction that
        ends the attempt.
        """
        self._note(turn, response)
        if self.holds_answers and turn.path == ROOT and not is_acted_on(response):
            self._held = (turn, response)
        else:
            await self._store_call(turn, response)

    # Tool calls

    async def result(self, call_id: str) -> bytes | None:
        """Return the result of a finished call; None if it is not finished. Raises JournalStopped."""
        self.check()
        known = self._tool_calls.get((current_path(), call_id))
        if known is None or known.result is None:
            return None
        return self.reading.replay_result(await self._blob(known.result))

    def in_doubt(self, call_id: str, *, repeatable: bool) -> bool:
        """Whether the call was cut off, and may not be made again without leave."""
        known = self._tool_calls.get((current_path(), call_id))
        return known is not None and self._in_doubt(known, repeatable=repeatable)

    async def start_tool(self, call_id: str, tool: str, *, repeatable: bool) -> None:
        """Store that a call starts. Raises JournalStopped."""
        self.check()
        path = current_path()
        if (path, call_id) not in self._tool_calls:
            call = ToolCall(path, call_id, tool, repeatable)
            await self._append([call])
            self._tool_calls[path, call_id] = call

    async def finish_tool(self, call_id: str, tool: str, result: bytes, *, repeatable: bool) -> None:
        """Store what a call came to, before anybody acts on it; nothing, if the run stopped within it. Raises JournalStopped."""
        path = current_path()
        if any(is_within(halt, below(path, call_id)) for halt in self._halts):
            self.wait(call_id)
            self.check()
            return
        blob = blob_of(result)
        started = self._tool_calls.get((path, call_id), ToolCall(path, call_id, tool, repeatable))
        call = ToolCall(path, call_id, started.tool, started.repeatable, blob.digest)
        await self._append([call], [blob])
        self._tool_calls[path, call_id] = call

    def wait(self, call_id: str, asked: InputRequired | None = None) -> None:
        """Take note that a call came to nothing in this attempt, and what it needs of people."""
        path = current_path()
        self._waiting.add((path, call_id))
        self._halts.add(path)
        if asked is not None:
            self.needs.ask(below(path, call_id), asked)
            self.halted = True

    # The end

    async def keep_answer(self) -> None:
        """Store an answer that is still held, since it was not the run's last act after all. Raises JournalStopped."""
        held, self._held = self._held, None
        if held is not None:
            await self._store_call(*held)

    async def drop_offender(self) -> None:
        """Take the last response out of the run, since its form was bad: the next attempt asks again. Raises JournalStopped.

        One whose tools have begun to act stays: asked again they might act twice.
        """
        held, self._held = self._held, None
        if held is not None or self._latest is None:
            return
        turn, call_ids = self._latest
        if not any((turn.path, call_id) in self._tool_calls for call_id in call_ids):
            await self._append([CutOff(turn.path, turn.number)])

    def end(self, failure: Failure) -> None:
        """Let the run not go on, whatever the SDK makes of the failure: in a nested agent it would become a tool's result."""
        self.failure = self.failure or failure
        self._halts.add(current_path())

    def check(self) -> None:
        """Raise JournalStopped when the run must not go on."""
        if self.failure is not None:
            raise JournalStopped(self.failure.message)

    # Inside

    def _halt(self, path: str) -> NoReturn:
        """Stop here. From now on no path asks its model; others may still go through what is stored."""
        self._halts.add(path)
        self.halted = True
        raise JournalStopped("The run stops here for now.")

    def _tells(self, asked: PendingInput) -> bool:
        """Whether a tool call of this run returns the answer to what was asked."""
        return self.needs.tells(
            asked, (below(path, call.call_id) for (path, _), call in self._tool_calls.items() if not call.dropped)
        )

    def _in_doubt(self, call: ToolCall, *, repeatable: bool) -> bool:
        return call.result is None and not call.dropped and not repeatable

    async def _from_memory(self, turn: int) -> list[MemoryNote]:
        """Return what memory holds for the model at this turn."""
        try:
            return await self.reading.next(first=turn == 0 and not self.notes.has_memory)
        except Unavailable as error:
            self._stop(Failure(FailureKind.INTERNAL, error.message, retryable=True))

    async def _store_call(self, turn: Turn, response: Response) -> None:
        blob = blob_of(pack_response(response))
        call = ModelCall(turn.path, turn.number, turn.input_hash, blob.digest)
        first_shown, texts = self.notes.unstored(turn.number) if turn.path == ROOT else ([], [])
        await self._append([call, *first_shown], [blob, *texts])
        self._model_calls[turn.path, turn.number] = call

    def _note(self, turn: Turn, response: Response) -> None:
        self.reading.hosted(item.type for item in response.output)
        call_ids = [str(getattr(item, "call_id", "")) for item in response.output]
        self._latest = (turn, call_ids)
        self._conversations[turn.path].call_ids.update(call_ids)

    async def _settle(self, path: str, shown: Iterable[Any]) -> None:
        """Store the results of calls that ended without one of their own, such as by their time limit, as the model sees them."""
        entries: list[JournalEntry] = []
        blobs: list[Blob] = []
        for item in shown:
            if not isinstance(item, Mapping) or item.get("type") != "function_call_output":
                continue
            call = self._tool_calls.get((path, str(item.get("call_id"))))
            if (
                call is not None
                and self._in_doubt(call, repeatable=False)
                and (path, call.call_id) not in self._waiting
            ):
                blob = blob_of(pack_result(item.get("output")))
                done = ToolCall(path, call.call_id, call.tool, call.repeatable, blob.digest)
                self._tool_calls[path, call.call_id] = done
                entries.append(done)
                blobs.append(blob)
        if entries:
            await self._append(entries, blobs)

    async def _leave_course(self, turn: Turn) -> None:
        """Go on live from this turn, unless something has acted in the course that is left: it might act again."""
        _log.warning("%s: the journal does not match from turn %d of path %r on", self._key, turn.number, turn.path)
        if self._on_mismatch is not None:
            self._on_mismatch(turn.path, turn.number)
        past = [
            call for (path, number), call in self._model_calls.items() if path == turn.path and number >= turn.number
        ]
        for call in past:
            response = await self._read(call)
            if response is None or unseen_kind(response) is not None:
                self._stop(course_left("a tool"))
        known = self._conversations[turn.path].call_ids
        left = [call for (path, _), call in self._tool_calls.items() if path == turn.path and call.call_id not in known]
        roots = tuple(below(turn.path, call.call_id) for call in left)
        nested = [call for (path, _), call in self._tool_calls.items() if any(is_within(path, root) for root in roots)]
        dropped: list[ToolCall] = []
        for tool in (*left, *nested):
            if not tool.repeatable and not tool.dropped:
                self._stop(course_left(f'the tool "{tool.tool}"'))
            dropped.append(ToolCall(tool.path, tool.call_id, tool.tool, tool.repeatable, tool.result, dropped=True))
        await self._append([CutOff(turn.path, turn.number), *dropped])
        if turn.path == ROOT:
            self.notes.leave(turn.number)
        for call in past:
            del self._model_calls[call.path, call.turn]
        self._tool_calls.update({(tool.path, tool.call_id): tool for tool in dropped})

    async def _append(self, entries: Sequence[JournalEntry], blobs: Sequence[Blob] = ()) -> None:
        """Store entries; wait for the store where it does not answer, as long as the attempt's time allows.

        What is finished is stored even if the attempt is cancelled meanwhile.
        """
        pause_s = STORE_RETRY_S[0]
        while True:
            spent = self.spent if self.spent.calls > self._stored_calls else NOTHING_SPENT
            try:
                await to_its_end(self._store.append_journal(self._key, self._attempt, entries, blobs, spent))
            except Unavailable as error:
                _log.error("a call could not be stored, will try again: %s", error)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, STORE_RETRY_S[1])
            except Conflict as error:
                self._stop(Failure(FailureKind.INTERNAL, error.message))
            else:
                self._stored_calls = max(self._stored_calls, spent.calls)
                return

    async def _read(self, call: ModelCall) -> Response | None:
        """Return a stored response; None when this version of the program cannot make sense of it."""
        stored = await self._blob(call.response)
        try:
            return unpack_response(stored)
        except ValueError as error:
            _log.warning("%s: the response of turn %d cannot be read any more: %s", self._key, call.turn, error)
            return None

    async def _blob(self, digest: Digest) -> bytes:
        try:
            return await self._store.blob(self._key.namespace, digest)
        except Unavailable as error:
            self._stop(Failure(FailureKind.INTERNAL, error.message, retryable=True))

    def _stop(self, failure: Failure) -> NoReturn:
        self.end(failure)
        raise JournalStopped(failure.message)
