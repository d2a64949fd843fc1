"""Why a workflow and its tasks stand where they stand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct

from orcs_server.identity import Caller, Clock
from orcs_server.identity.quotas import UsedUp
from orcs_server.outputs.explaining.explain import explain
from orcs_server.outputs.explaining.explanation import Explanation, Reason, ReasonCode
from orcs_server.outputs.explaining.history import History
from orcs_server.service.authorisation import Authorisation
from orcs_server.service.pages import REPLY_BYTES, PageBinding, fitting, page_size
from orcs_server.service.problems import Problem, ProblemCode
from orcs_server.service.reading import no_task, no_workflow
from orcs_server.service.validation import Findings
from orcs_server.storage.restored import restored_snapshot
from orcs_server.storage.store import Snapshot, Store, StoredTask
from orcs_server.workflow.states import WORKFLOW_TERMINAL

TROUBLES = {
    ProblemCode.HOOK_FAILING: ReasonCode.HOOK_TROUBLE,
    ProblemCode.DISK_FULL: ReasonCode.STORAGE_TROUBLE,
    ProblemCode.STORAGE_FAILING: ReasonCode.STORAGE_TROUBLE,
}
"""What of a server's own trouble every workflow is told of. A model server that is down is told to those that wait for it."""
EVENTS_AT_ONCE = 500
EVENTS_LIMIT = 200_000
"""Events of a log that are read for one explanation, the latest ones: within some seconds, whatever has happened."""


class ExplanationPage(Struct, frozen=True):
    """An explanation with a page of its tasks."""

    explanation: Explanation
    next_page_token: str = ""
    events_left_out: int = 0
    """How many events at the beginning of the log were not read."""


class Explaining:
    """Explains from what is stored, without a model: the same question about the same log gets the same answer."""

    def __init__(
        self,
        *,
        store: Store,
        authorisation: Authorisation,
        clock: Clock,
        max_page_size: int,
        held_by: Callable[[str], UsedUp | None] = lambda _: None,
        troubles: Callable[[str], Iterable[Problem]] = lambda _: (),
    ) -> None:
        """`held_by` names the quota of a namespace that holds what is ready there, if one does; `troubles` says what is wrong with
        the server itself and with the namespace's hooks.
        """
        self._troubles = troubles
        self._store = store
        self._held_by = held_by
        self._authorisation = authorisation
        self._clock = clock
        self._max_page_size = max_page_size

    async def explain(
        self, caller: Caller, workflow_id: str, task_id: str = "", size: int = 0, token: str = ""
    ) -> ExplanationPage:
        """Return why a workflow stands where it stands, and a page of its tasks, or the one that is named.

        Raises NotFound (WORKFLOW_NOT_FOUND, TASK_NOT_FOUND).
        """
        findings = Findings()
        findings.workflow_id("workflow_id", workflow_id)
        if task_id:
            findings.task_id("task_id", task_id)
        findings.raise_any()
        size = page_size(size, self._max_page_size)
        visit = await self._authorisation.enter(caller, "workflows.explain", workflow_id)
        binding = PageBinding("ExplainWorkflow", visit.namespace, (workflow_id, task_id))
        after = binding.key(token, int)
        snapshot = await self._store.snapshot(visit.namespace, workflow_id)
        if snapshot is None:
            raise no_workflow(workflow_id)
        rows = _page(snapshot, task_id, -1 if after is None else after, size + 1)
        state = await asyncio.to_thread(restored_snapshot, snapshot)
        history = History(state, [row.spec.id for row in rows[:size]])
        left_out = await self._read_log(history, snapshot)
        whole = await asyncio.to_thread(explain, state, history, self._clock.now_us(), self._held_by(visit.namespace))
        whole = self._with_troubles(whole, visit.namespace)
        room = REPLY_BYTES - _weigh(msgspec.structs.replace(whole, tasks=()))
        shown = fitting(whole.tasks, _weigh, room)
        next_token = binding.token(rows[shown - 1].ordinal) if len(rows) > shown else ""
        return ExplanationPage(
            msgspec.structs.replace(whole, tasks=whole.tasks[:shown]), next_token, events_left_out=left_out
        )

    def _with_troubles(self, whole: Explanation, namespace: str) -> Explanation:
        """Return the explanation with what is wrong with the server, where the workflow has not ended: it may wait for that."""
        if whole.status in WORKFLOW_TERMINAL:
            return whole
        reasons = tuple(
            Reason(TROUBLES[problem.code], problem.text, time_us=problem.since_us)
            for problem in self._troubles(namespace)
            if problem.code in TROUBLES
        )
        return msgspec.structs.replace(whole, why=(*whole.why, *reasons)) if reasons else whole

    async def _read_log(self, history: History, snapshot: Snapshot) -> int:
        """Have the history take in the log up to the snapshot; return how many events came before what was read."""
        summary = snapshot.summary
        first = max(summary.seq - EVENTS_LIMIT, 0)
        after = first
        while after < summary.seq:
            wanted = min(EVENTS_AT_ONCE, summary.seq - after)
            records = await self._store.events(summary.namespace, summary.id, after, wanted)
            if not records:
                break  # It was deleted meanwhile.
            history.learn(records)
            after = records[-1].seq
            # Others have their turn, however long the log is.
            await asyncio.sleep(0)
        return first


def _page(snapshot: Snapshot, task_id: str, after: int, wanted: int) -> list[StoredTask]:
    if not task_id:
        return [row for row in snapshot.tasks if row.ordinal > after][:wanted]
    found = [row for row in snapshot.tasks if row.spec.id == task_id]
    if not found:
        raise no_task(snapshot.summary.id, task_id)
    return found


def _weigh(part: Struct) -> int:
    """Return about how many bytes it takes in a reply, not less than it does: JSON says the names of fields, too."""
    return len(msgspec.json.encode(part))
