"""The call journal of one attempt: what earlier attempts of its run have called is given back instead of called again, and what
the attempt calls itself is stored before anybody acts on it. Nothing else of a run is stored: the Agents SDK's state comes about
anew by replaying it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote

from openai.types.responses import Response
from pydantic import ValidationError

from orcs_server.agents.failures import course_left, tool_in_doubt, unseen_call
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

_log = logging.getLogger("orcs.journal")

ROOT = ""
"""The path of the run's own agent, and of those it hands over to."""
STORE_RETRY_S = (0.1, 5.0)
"""First and longest pause before a call is tried to be stored again while the store does not answer."""

_KEPT_OF_RESPONSE = {"id", "created_at", "model", "object", "status", "output", "usage"}
"""The rest repeats the request: settings, instructions and tools."""
_LEFT_OUT = {"parallel_tool_calls": False, "tool_choice": "auto", "tools": []}
_UNJOURNALED = frozenset(
    {"computer_call", "local_shell_call", "shell_call", "apply_patch_call", "custom_tool_call", "mcp_approval_request"}
)
"""Calls that the Agents SDK carries out on this machine out of the journal's sight."""
_ACTED_ON = _UNJOURNALED | {"function_call"}

_path: ContextVar[str] = ContextVar("_path", default=ROOT)
"""The tool calls within which this asyncio task works."""


class JournalStopped(Exception):
    """The run cannot go on; `RunJournal.failure` says why. The SDK may turn it into text for a model, so it is kept there."""


class Turn(NamedTuple):
    """One model call's place in the journal."""

    path: str
    number: int
    input_hash: str


class _Conversation:
    """How far the conversation on one path has come."""

    __slots__ = ("call_ids", "chain", "shown", "turns")

    def __init__(self) -> None:
        self.turns = 0
        self.chain = ""
        self.shown: list[Any] = []
        self.call_ids: set[str] = set()


class RunJournal:
    """One per attempt. Its methods may run concurrently for different paths, as parallel tools do."""

    def __init__(
        self,
        store: Store,
        key: JournalKey,
        attempt: int,
        rows: JournalRows | None = None,
        on_mismatch: Callable[[str, int], None] | None = None,
    ) -> None:
        """Go on from these rows. `on_mismatch` is told the path and the turn where the run takes another course."""
        self._store = store
        self._key = key
        self._attempt = attempt
        self._on_mismatch = on_mismatch
        rows = rows or JournalRows([], [])
        self._model_calls = {(call.path, call.turn): call for call in rows.model_calls}
        self._tool_calls = {(call.path, call.call_id): call for call in rows.tool_calls}
        self._conversations: dict[str, _Conversation] = {}
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

    @classmethod
    async def open(
        cls, store: Store, key: JournalKey, attempt: int, on_mismatch: Callable[[str, int], None] | None = None
    ) -> RunJournal:
        """Return the journal for an attempt. Raises Unavailable; Conflict when a later attempt has taken over."""
        rows = None if attempt == 1 else await store.open_journal(key, attempt)
        return cls(store, key, attempt, rows, on_mismatch)

    @property
    def call_ids(self) -> frozenset[str]:
        """Ids of tool calls that the run has used, those of a course that it left included."""
        return frozenset(call_id for _, call_id in self._tool_calls)

    # Model calls

    async def begin(self, shown: str | Sequence[Any]) -> Turn:
        """Take note that the model is about to be asked. Raises JournalStopped."""
        self.check()
        await self.keep_answer()
        path = _path.get()
        conversation = self._conversations.setdefault(path, _Conversation())
        items = [shown] if isinstance(shown, str) else list(shown)
        known = len(conversation.shown)
        if items[:known] != conversation.shown:
            known, conversation.chain = 0, ""
        chain = hashlib.sha256(conversation.chain.encode())
        for item in items[known:]:
            chain.update(_canonical(item))
        conversation.shown, conversation.chain = items, chain.hexdigest()
        turn = Turn(path, conversation.turns, conversation.chain)
        conversation.turns += 1
        await self._settle(path, items[known:])
        return turn

    async def replayed(self, turn: Turn, repeatable: Callable[[str], bool]) -> Response | None:
        """Return the response of a finished call, or None: then the model is to be asked.

        `repeatable` says of a tool, by its name, whether it may run again after it was cut off. Raises JournalStopped.
        """
        call = self._model_calls.get((turn.path, turn.number))
        if call is None:
            return None
        response = await self._read(call)
        if call.input_hash != turn.input_hash or response is None:
            await self._leave_course(turn)
            return None
        for item in response.output:
            if item.type in _UNJOURNALED:
                self._stop(unseen_call(item.type))
            tool = self._tool_calls.get((turn.path, getattr(item, "call_id", "")))
            if tool is not None and tool.result is None and not repeatable(tool.tool):
                self._stop(tool_in_doubt(tool.tool))
        self._note(turn, response)
        return response

    async def keep(self, turn: Turn, response: Response) -> None:
        """Store a response, before anybody acts on it. Raises JournalStopped.

        A final answer is not stored here, unless somebody looks at it first: it becomes the task's output in the transaction that
        ends the attempt.
        """
        self._note(turn, response)
        if self.holds_answers and turn.path == ROOT and not any(item.type in _ACTED_ON for item in response.output):
            self._held = (turn, response)
        else:
            await self._store_call(turn, response)

    # Tool calls

    async def start_tool(self, call_id: str, tool: str, *, repeatable: bool) -> bytes | None:
        """Return the result of a finished call; else store that it starts, and return None. Raises JournalStopped."""
        self.check()
        path = _path.get()
        known = self._tool_calls.get((path, call_id))
        if known is not None and known.result is not None:
            return await self._blob(known.result)
        if known is not None and not repeatable:
            self._stop(tool_in_doubt(tool))
        if known is None:
            call = ToolCall(path, call_id, tool, repeatable)
            await self._append([call])
            self._tool_calls[path, call_id] = call
        return None

    async def finish_tool(self, call_id: str, result: bytes) -> None:
        """Store what a call came to, before anybody acts on it. Raises JournalStopped."""
        self.check()
        started = self._tool_calls[_path.get(), call_id]
        blob = blob_of(result)
        call = ToolCall(started.path, call_id, started.tool, started.repeatable, blob.digest)
        await self._append([call], [blob])
        self._tool_calls[started.path, call_id] = call

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

    def check(self) -> None:
        """Raise JournalStopped when the run must not go on."""
        if self.failure is not None:
            raise JournalStopped(self.failure.message)

    # Inside

    async def _store_call(self, turn: Turn, response: Response) -> None:
        kept = response.model_dump_json(include=_KEPT_OF_RESPONSE, exclude_unset=True)
        blob = blob_of(kept.encode("utf-8", "replace"))
        call = ModelCall(turn.path, turn.number, turn.input_hash, blob.digest)
        await self._append([call], [blob])
        self._model_calls[turn.path, turn.number] = call

    def _note(self, turn: Turn, response: Response) -> None:
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
            if call is not None and call.result is None and not call.dropped:
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
            if response is None or any(item.type in _UNJOURNALED for item in response.output):
                self._stop(course_left("a tool"))
        known = self._conversations[turn.path].call_ids
        left = [call for (path, _), call in self._tool_calls.items() if path == turn.path and call.call_id not in known]
        roots = tuple(below(turn.path, call.call_id) for call in left)
        nested = [call for (path, _), call in self._tool_calls.items() if _within(path, roots)]
        dropped: list[ToolCall] = []
        for tool in (*left, *nested):
            if not tool.repeatable and not tool.dropped:
                self._stop(course_left(f'the tool "{tool.tool}"'))
            dropped.append(ToolCall(tool.path, tool.call_id, tool.tool, tool.repeatable, tool.result, dropped=True))
        await self._append([CutOff(turn.path, turn.number), *dropped])
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
                await _to_its_end(self._store.append_journal(self._key, self._attempt, entries, blobs, spent))
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
            return Response.model_validate({**_LEFT_OUT, **json.loads(stored)})
        except (ValidationError, ValueError) as error:
            _log.warning("%s: the response of turn %d cannot be read any more: %s", self._key, call.turn, error)
            return None

    async def _blob(self, digest: Digest) -> bytes:
        try:
            return await self._store.blob(self._key.namespace, digest)
        except Unavailable as error:
            self._stop(Failure(FailureKind.INTERNAL, error.message, retryable=True))

    def _stop(self, failure: Failure) -> NoReturn:
        self.failure = self.failure or failure
        raise JournalStopped(failure.message)


class within_tool:  # noqa: N801 - used like a function
    """A context manager: what is called in it is called within this tool call."""

    __slots__ = ("_call_id", "_token")

    def __init__(self, call_id: str) -> None:
        self._call_id = call_id

    def __enter__(self) -> None:
        self._token = _path.set(below(_path.get(), self._call_id))

    def __exit__(self, *_: object) -> None:
        _path.reset(self._token)


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await it; when cancelled, only once it has ended."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        if not task.cancelled() and task.exception() is not None:
            _log.warning("a call of a cancelled attempt could not be stored: %s", task.exception())
        raise


def below(path: str, call_id: str) -> str:
    """Return the path of what is called within a tool call."""
    name = quote(call_id, safe=" ", errors="replace")
    return f"{path}/{name}" if path else name


def _within(path: str, roots: Sequence[str]) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)


def _canonical(item: object) -> bytes:
    return json.dumps(item, sort_keys=True, separators=(",", ":"), default=str).encode() + b"\n"
