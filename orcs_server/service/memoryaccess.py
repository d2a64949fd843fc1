"""What all calls to memory have in common: who comes in, as whom, the cursors, and that a request id is carried out once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from orcs_server.errors import InvalidArgument
from orcs_server.identity import Caller
from orcs_server.memory import Actor, Memory
from orcs_server.memory.history import At
from orcs_server.memory.scopes import check_prefix
from orcs_server.service.auditing import Auditing
from orcs_server.service.authorisation import Authorisation, Visit
from orcs_server.service.commands import reused
from orcs_server.service.cursors import MemoryCursors
from orcs_server.service.pages import PageBinding, no_token
from orcs_server.service.requests import command_hash
from orcs_server.storage.audit import BEGUN, details_of
from orcs_server.storage.codec import damaged
from orcs_server.storage.memory_rows import EntrySource, MemoryVersion, OutputSource
from orcs_server.storage.once import Once
from orcs_server.storage.store import DuplicateRequest, RequestKey, RequestRecord, Store

T = TypeVar("T")
ADMINISTER: Final = "administer"
_BASE_WEIGHT: Final = 1024
"""Bytes of an entry in a list beside its key, its writer and what it was made from, not less than they take."""


class Receipt(Struct, Generic[T], frozen=True):
    """What a change came to, and the cursor of the place after it."""

    result: T
    cursor: str
    cursors: MemoryCursors


class MemoryAccess:
    """Lets callers in to memory."""

    def __init__(
        self,
        *,
        memory: Memory,
        store: Store,
        authorisation: Authorisation,
        auditing: Auditing,
        max_page_size: int,
    ) -> None:
        self.memory = memory
        self.max_page_size = max_page_size
        self._store = store
        self._authorisation = authorisation
        self._auditing = auditing

    def now_us(self) -> int:
        """Return the time by which memory goes."""
        return self.memory.clock.now_us()

    # Who may

    async def enter(self, caller: Caller, operation: str, scope: str = "*") -> Visit:
        """Return the visit if the caller may do this in a scope; `*`: in any."""
        return await self._authorisation.enter(caller, operation, scope)

    async def enter_scopes(self, caller: Caller, operations: Sequence[str], scopes: Sequence[str]) -> Visit:
        """Return the visit if the caller may do all of this in all of these scopes."""
        visit = await self._authorisation.enter(caller, operations[0], scopes[0])
        for operation in operations:
            for scope in scopes:
                if (operation, scope) != (operations[0], scopes[0]):
                    await self._authorisation.check(visit, operation, scope)
        return visit

    async def visible(self, visit: Visit, scopes: Sequence[str]) -> frozenset[str]:
        """Return those of the scopes that the hooks let the caller read."""
        named = list(dict.fromkeys(scopes))
        if not named:
            return frozenset()
        return await self._authorisation.permitted(visit, "memory.read", named)

    # Where

    def cursors(self, visit: Visit) -> MemoryCursors:
        """Return the cursors of the visit's namespace."""
        return MemoryCursors(self._store.epoch, visit.namespace)

    async def now(self, visit: Visit) -> str:
        """Return the cursor of the end of the namespace's log."""
        return self.cursors(visit).at(await self.end(visit))

    async def end(self, visit: Visit) -> int:
        """Return the last position of the namespace's log."""
        return (await self.memory.history.moment(visit.namespace, At())).position

    async def position(self, visit: Visit, cursor: str) -> int:
        """Return the place of a cursor. Raises InvalidArgument for one that is none of this log, or lies beyond its end."""
        position = self.cursors(visit).position(cursor)
        if position > await self.end(visit):
            raise InvalidArgument("CURSOR_INVALID", "The cursor points beyond the end of the log: begin without one.")
        return position

    # Once

    async def once(
        self,
        visit: Visit,
        method: str,
        request_id: str,
        said: object,
        kind: type[T],
        act: Callable[[Memory], Awaitable[T]],
        facts: Mapping[str, Any] | None = None,
    ) -> Receipt[T]:
        """Make one change, which `act` does with the memory that it is given; its answer is stored in the same transaction, and so
        is what the audit log says of it: `facts`.

        The same request id again gets that answer; with another command InvalidArgument (REQUEST_ID_REUSED).
        """
        once = self._once(visit, method, request_id, said, facts)
        return await self._carried_out(visit, once, kind, lambda: act(self.memory.bound(once)))

    async def in_slices(
        self,
        visit: Visit,
        method: str,
        request_id: str,
        said: object,
        kind: type[T],
        act: Callable[[Memory], Awaitable[T]],
        facts: Mapping[str, Any],
        count: Callable[[T], int],
    ) -> Receipt[T]:
        """Do what takes many changes; its answer is stored once all are done. Cut off, it is begun again by its repetition.

        The audit log tells of its beginning before anything has changed, and at its end how many changes there were.
        """
        once = self._once(visit, method, request_id, said, facts)

        async def act_and_remember() -> T:
            audit = once.audit
            if audit is not None:
                await self._store.audit.append(visit.namespace, [replace(audit, outcome=BEGUN)])
            result = await act(self.memory)
            if audit is not None:
                now_us = self.now_us()
                once.audit = replace(audit, time_us=now_us, details=details_of({**facts, "count": count(result)}))
            await self.memory.remember(visit.namespace, once, result)
            return result

        return await self._carried_out(visit, once, kind, act_and_remember)

    async def _carried_out(
        self, visit: Visit, once: Once, kind: type[T], act: Callable[[], Awaitable[T]]
    ) -> Receipt[T]:
        try:
            await self._refuse_known(once)
            result = await act()
        except DuplicateRequest as error:
            return self._again(visit, once, error.record, kind)
        return self._receipt(visit, result, once.position)

    def _once(self, visit: Visit, method: str, request_id: str, said: object, facts: Mapping[str, Any] | None) -> Once:
        audit = self._auditing.draft(visit, method, request_id, facts)
        if not request_id:
            return Once(None, "", self.now_us(), audit)
        key = RequestKey(visit.namespace, visit.caller.principal, method, request_id)
        return Once(key, command_hash((method, said)), self.now_us(), audit)

    async def _refuse_known(self, once: Once) -> None:
        """Raise DuplicateRequest ahead of everything that a repetition would otherwise be refused for."""
        record = None if once.request is None else await self._store.find_request(once.request)
        if record is not None:
            raise DuplicateRequest(record)

    def _again(self, visit: Visit, once: Once, record: RequestRecord, kind: type[T]) -> Receipt[T]:
        if record.command_hash != once.command_hash:
            raise reused(record.key.method, record.key.request_id)
        try:
            result = msgspec.json.decode(record.answer, type=kind)
        except msgspec.MsgspecError as error:
            raise damaged("the answer of a request") from error
        return self._receipt(visit, result, record.seq)

    def _receipt(self, visit: Visit, result: T, position: int) -> Receipt[T]:
        cursors = self.cursors(visit)
        return Receipt(result, cursors.at(position), cursors)


def actor_of(visit: Visit) -> Actor:
    """Return the caller as memory knows it: whoever administers the server is its operator."""
    return Actor(visit.caller.principal, operator=ADMINISTER in visit.caller.roles)


def key_after(binding: PageBinding, token: str) -> str:
    """Return the key after which a page begins. Raises InvalidArgument (PAGE_TOKEN_INVALID)."""
    after = binding.key(token, str) or ""
    try:
        check_prefix(after)
    except InvalidArgument:
        raise no_token() from None
    return after


def weight(entry: MemoryVersion) -> int:
    """Return the bytes of an entry in a list, not less than it takes."""
    writer, origin = entry.writer, entry.origin
    size = _BASE_WEIGHT + 4 * (len(entry.key) + len(writer.principal))
    for source in origin.sources:
        match source:
            case EntrySource():
                size += 4 * (len(source.scope) + len(source.key)) + 32
            case OutputSource():
                size += len(source.workflow_id) + len(source.task_id) + 32
            case _:
                size += 4 * len(source.name) + 16
    if origin.shared is not None:
        size += 4 * len(origin.shared.key)
    return size
