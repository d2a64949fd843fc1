"""Refused attempts on their way into the audit log. A flood of them must not fill the disk: within a window of time equal ones of
one principal are counted and not repeated, and so is all that goes beyond a number of different ones.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Final

from msgspec.structs import replace

from orcs_server.identity import Clock
from orcs_server.storage.audit import AuditDraft, AuditStore, details_of

WINDOW_S: Final = 60.0
"""How long equal refusals are counted before their number is written."""
DIFFERENT: Final = 32
"""Refusals of one principal that are written one by one within a window; all others share one record that counts them."""
PRINCIPALS: Final = 1_024
"""Principals that are kept apart at the same time; beyond, those of a namespace are counted together."""
OTHERS: Final = "*"

_Kind = tuple[str, ...]
_Who = tuple[str, str]
_log = logging.getLogger("orcs.audit")


class _Count:
    """How often a refusal has come again, and when."""

    __slots__ = ("draft", "first_us", "last_us", "times")

    def __init__(self, draft: AuditDraft) -> None:
        self.draft = draft
        self.times = 0
        self.first_us = self.last_us = draft.time_us

    def add(self, time_us: int) -> None:
        self.first_us = self.first_us if self.times else time_us
        self.times += 1
        self.last_us = time_us


class _Window:
    """The refusals of one principal within a window of time."""

    __slots__ = ("counts", "end", "others")

    def __init__(self, end: asyncio.TimerHandle) -> None:
        self.end = end
        self.counts: dict[_Kind, _Count] = {}
        self.others: _Count | None = None


class Refusals:
    """Writes refused attempts down: the first of each kind at once, its repetitions as one number once the window has ended."""

    def __init__(self, store: AuditStore, clock: Clock, window_s: float = WINDOW_S) -> None:
        self._store = store
        self._clock = clock
        self._window_s = window_s
        self._windows: dict[_Who, _Window] = {}
        self._work: set[asyncio.Task[None]] = set()

    async def record(self, namespace: str, draft: AuditDraft) -> None:
        """Write a refusal down, or count it. Whatever goes wrong is logged: the refusal stands all the same."""
        if self._is_new(namespace, draft):
            await self.write(namespace, [draft])

    def note(self, namespace: str, draft: AuditDraft) -> None:
        """Do so in the background, for those who cannot wait."""
        if self._is_new(namespace, draft):
            self.write_later(namespace, [draft])

    def write_later(self, namespace: str, drafts: list[AuditDraft]) -> None:
        """Write these records in the background."""
        task = asyncio.get_running_loop().create_task(self.write(namespace, drafts), name="audit")
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def write(self, namespace: str, drafts: list[AuditDraft]) -> None:
        """Write these records. Whatever goes wrong is logged."""
        try:
            await self._store.append(namespace, drafts)
        except Exception:  # noqa: BLE001 - a log that does not take it must not change what the caller is told
            _log.exception("%d records could not be written into the audit log", len(drafts))

    async def close(self) -> None:
        """Write down what was counted, and wait for what is under way."""
        for who in tuple(self._windows):
            self._end(who)
        if self._work:
            await asyncio.wait(tuple(self._work))

    def _is_new(self, namespace: str, draft: AuditDraft) -> bool:
        """Whether it is to be written by itself; otherwise it is counted now."""
        who = (namespace, draft.principal)
        if who not in self._windows and len(self._windows) >= PRINCIPALS:
            who = (namespace, OTHERS)
        window = self._windows.get(who)
        if window is None:
            end = asyncio.get_running_loop().call_later(self._window_s, self._end, who)
            window = self._windows[who] = _Window(end)
        kind = (
            draft.operation,
            draft.method,
            draft.resource,
            draft.outcome,
            draft.peer,
            draft.agent,
            draft.workflow_id,
            draft.task_id,
            draft.details,
        )
        count = window.counts.get(kind)
        if count is not None:
            count.add(draft.time_us)
        elif len(window.counts) < DIFFERENT:
            window.counts[kind] = _Count(draft)
            return True
        else:
            if window.others is None:
                window.others = _Count(_beyond(draft, who[1]))
            window.others.add(draft.time_us)
        return False

    def _end(self, who: _Who) -> None:
        window = self._windows.pop(who)
        window.end.cancel()
        counts = [*window.counts.values(), *(() if window.others is None else (window.others,))]
        drafts = [self._counted(count) for count in counts if count.times]
        if drafts:
            self.write_later(who[0], drafts)

    def _counted(self, count: _Count) -> AuditDraft:
        known = json.loads(count.draft.details) if count.draft.details else {}
        facts = {**known, "repeated": count.times, "first_us": count.first_us, "last_us": count.last_us}
        return replace(count.draft, time_us=self._clock.now_us(), request_id="", details=details_of(facts))


def _beyond(draft: AuditDraft, principal: str) -> AuditDraft:
    """Return the record of all refusals beyond those that are written one by one."""
    return AuditDraft(draft.time_us, "", OTHERS, principal, draft.roles, OTHERS, OTHERS)
