"""Whole namespaces that stand still. The note in the store comes first, so that a restart finishes what a crash cut short; then each
workflow is paused, or let go on, by an event of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from orcs_server.engines.base import Command
from orcs_server.engines.local.letters import draining, reused
from orcs_server.errors import IllegalTransition, NotFound, OrcsError, ResourceExhausted, Unavailable
from orcs_server.identity import Caller
from orcs_server.storage.audit import AuditDraft
from orcs_server.storage.people import Freeze
from orcs_server.storage.store import DuplicateRequest, RequestKey, RequestRecord
from orcs_server.workflow import events as e
from orcs_server.workflow import messages as m
from orcs_server.workflow.model import StopMode

if TYPE_CHECKING:
    from orcs_server.engines.local.engine import LocalEngine

_log = logging.getLogger("orcs.engine")

AT_ONCE = 64
"""Workflows that are paused side by side: others' commands get their turn between them."""
TRY_AGAIN_S = 5.0


class _Wish(NamedTuple):
    """By which request, and what the audit log says of it."""

    request: RequestRecord | None
    audit: AuditDraft | None


class Freezing:
    """Knows which namespaces are frozen, and brings their workflows to it."""

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine
        self._freezes: dict[str, Freeze] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Of each namespace: a thaw that overtook a freeze would leave workflows frozen that nothing thaws."""
        self._work: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Go on with what a crash may have cut short."""
        self._freezes = {freeze.namespace: freeze for freeze in await self._engine.store.freezes()}
        for freeze in self._freezes.values():
            self._finish_later(freeze)

    async def close(self) -> None:
        """Leave the rest to the next start."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)

    def frozen(self, request: m.CreateWorkflow, namespace: str) -> m.CreateWorkflow:
        """Return the request as it is to be carried out: a new workflow of a frozen namespace begins frozen."""
        if not self.is_frozen(namespace):
            return request
        return replace(request, frozen=True, frozen_because=self._freezes[namespace].reason)

    def is_frozen(self, namespace: str) -> bool:
        """Whether everything in the namespace stands still."""
        freeze = self._freezes.get(namespace)
        return freeze is not None and not freeze.thawing

    async def freeze(
        self,
        caller: Caller,
        mode: StopMode,
        reason: str,
        request_id: str,
        command_hash: str,
        audit: AuditDraft | None = None,
    ) -> int:
        """Pause everything in the caller's namespace, and what is created from now on; return how many were paused."""
        wish = _Wish(self._record(caller, "FreezeNamespace", request_id, command_hash), audit)
        return await self._whole(self._freeze(Freeze(caller.namespace, mode, reason), caller, wish))

    async def thaw(self, caller: Caller, request_id: str, command_hash: str, audit: AuditDraft | None = None) -> int:
        """Take a freeze back; return how many workflows go on. What a person paused stays paused."""
        wish = _Wish(self._record(caller, "ThawNamespace", request_id, command_hash), audit)
        return await self._whole(self._thaw(caller, wish))

    def pause_of(self, namespace: str, events: Sequence[e.Event]) -> m.PauseWorkflow | None:
        """Return what holds a workflow that is reopened in a frozen namespace: it belongs into the same transaction."""
        if not self.is_frozen(namespace) or not any(isinstance(event, e.WorkflowReopened) for event in events):
            return None
        freeze = self._freezes[namespace]
        return m.PauseWorkflow(freeze.mode, freeze.reason, freeze=True)

    async def _whole(self, change: Coroutine[None, None, int]) -> int:
        """Carry a change out to its end, even if whoever asked for it has gone: half of it would be nobody's wish."""
        work = asyncio.create_task(change)
        self._keep(work)
        await asyncio.wait((work,))
        if work.cancelled():
            raise draining()
        return work.result()

    def _record(self, caller: Caller, method: str, request_id: str, command_hash: str) -> RequestRecord | None:
        """Return by what a repetition will be known."""
        if not request_id:
            return None
        key = RequestKey(caller.namespace, caller.principal, method, request_id)
        return RequestRecord(key, command_hash, "", 0, self._engine.clock.now_us())

    async def _freeze(self, freeze: Freeze, caller: Caller, wish: _Wish) -> int:
        async with self._turns[caller.namespace]:
            return await self._begin(freeze, caller, wish)

    async def _thaw(self, caller: Caller, wish: _Wish) -> int:
        async with self._turns[caller.namespace]:
            known = self._freezes.get(caller.namespace)
            if known is not None:
                return await self._begin(replace(known, thawing=True), caller, wish)
            if wish.request is not None:
                # Noted all the same: should it come again, it must not take back a freeze of later.
                nothing = Freeze(caller.namespace, StopMode.DRAIN, thawing=True)
                if await self._put(nothing, wish):
                    await self._engine.store.end_freeze(caller.namespace)
            return 0

    async def _put(self, freeze: Freeze, wish: _Wish) -> bool:
        """Note it; False for a repetition, which changes nothing. Raises InvalidArgument where that is another request's."""
        try:
            await self._engine.store.put_freeze(freeze, *wish)
        except DuplicateRequest as error:
            if wish.request is None or error.record.command_hash != wish.request.command_hash:
                raise reused(error.record) from None
            return False
        return True

    async def _begin(self, freeze: Freeze, caller: Caller, wish: _Wish) -> int:
        # A repetition goes on with what stands as it left it, perhaps unfinished; what others have done since stays.
        if not await self._put(freeze, wish) and freeze not in await self._engine.store.freezes():
            return 0
        self._freezes[freeze.namespace] = freeze
        try:
            return await self._finish(freeze, caller)
        except OrcsError:
            self._finish_later(freeze)
            raise

    async def _finish(self, freeze: Freeze, caller: Caller) -> int:
        count = await self._apply(freeze, caller)
        if freeze.thawing:
            await self._engine.store.end_freeze(freeze.namespace)
            del self._freezes[freeze.namespace]
        return count

    async def _apply(self, freeze: Freeze, caller: Caller) -> int:
        # Those whose creation is on its way may not be among the live ones yet, and may have left memory afterwards.
        active = [name for space, name in self._engine.active if space == freeze.namespace]
        live = [one.workflow_id for one in await self._engine.store.live() if one.namespace == freeze.namespace]
        names = list(dict.fromkeys([*live, *active]))
        count = 0
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            count += sum(await asyncio.gather(*(self._move(name, freeze, caller) for name in some)))
        return count

    async def _move(self, workflow_id: str, freeze: Freeze, caller: Caller) -> bool:
        """Return whether the workflow was there to be moved."""
        request: m.Request = m.PauseWorkflow(freeze.mode, freeze.reason, freeze=True)
        if freeze.thawing:
            request = m.ResumeWorkflow(freeze=True)
        method = "ThawNamespace" if freeze.thawing else "FreezeNamespace"
        try:
            await self._engine.submit(Command(caller, workflow_id, request, method))
        except (IllegalTransition, NotFound):
            return False  # It has ended, or is about to.
        return True

    def _finish_later(self, freeze: Freeze) -> None:
        """Bring everything to the freeze in the background, unless another command has overtaken it."""
        caller = Caller("", freeze.namespace)

        async def go_on() -> None:
            while True:
                try:
                    async with self._turns[freeze.namespace]:
                        if self._freezes.get(freeze.namespace) == freeze:
                            await self._finish(freeze, caller)
                except (ResourceExhausted, Unavailable) as error:
                    if self._engine.draining:
                        return
                    _log.error("the freeze of namespace %s will be tried again: %s", freeze.namespace, error)
                    await asyncio.sleep(TRY_AGAIN_S)
                else:
                    return

        self._keep(asyncio.create_task(go_on(), name=f"freeze {freeze.namespace}"))

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._work.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, OrcsError):
            _log.error("a freeze or a thaw could not be carried out", exc_info=error)
