"""What is wrong with a running server, in words for its operator: model servers that are down, hooks that fail or hang, a disk that is
full, tasks that may be what ends the server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

from orcs_server.agents.breaker import Breakers
from orcs_server.errors import PermissionDenied, Unavailable
from orcs_server.hooks import GuardedHooks
from orcs_server.identity import Caller, Clock
from orcs_server.identity.quotas import UsedUp, exceeded
from orcs_server.service.authorisation import Authorisation, check_role
from orcs_server.storage.store import Disk
from orcs_server.workflow.due import is_suspected
from orcs_server.workflow.state import WorkflowState

POISONED_MOST: Final = 100
"""Tasks that are named."""
ROOM_BYTES: Final = 64 * 1024 * 1024
"""A disk with less than this counts as full."""
KINDS: Final = {"raised": "raises errors", "hung": "does not answer in time", "nonsense": "answers nonsense"}


class ProblemCode(StrEnum):
    """What kind of trouble it is. Published."""

    MODEL_ENDPOINT_DOWN = "MODEL_ENDPOINT_DOWN"
    HOOK_FAILING = "HOOK_FAILING"
    DISK_FULL = "DISK_FULL"
    STORAGE_FAILING = "STORAGE_FAILING"
    TASK_POISONED = "TASK_POISONED"
    QUOTA_EXHAUSTED = "QUOTA_EXHAUSTED"


class Problem(Struct, frozen=True):
    """One thing that is wrong."""

    code: ProblemCode
    subject: str
    """The model server's address, the hook's name, `WORKFLOW/TASK`, the quota's name, or ""."""
    text: str
    """What is wrong and what to do."""
    since_us: int | None = None


class Problems:
    """Looks at the parts of a running server."""

    def __init__(
        self,
        *,
        states: Callable[[], Iterable[WorkflowState]],
        store: Disk,
        hooks: GuardedHooks,
        breakers: Breakers | None,
        authorisation: Authorisation,
        used_up: Callable[[str], Awaitable[Sequence[UsedUp]]],
        clock: Clock,
    ) -> None:
        """`used_up` says which quotas of a namespace nothing is left of."""
        self._states = states
        self._store = store
        self._hooks = hooks
        self._breakers = breakers
        self._authorisation = authorisation
        self._used_up = used_up
        self._clock = clock

    async def listed(self, caller: Caller) -> list[Problem]:
        """Return what is wrong with the server, which quotas of the caller's namespace are used up, and which of its tasks are
        suspected.

        While a hook keeps everybody out because it fails, an administrator learns at least that, and nothing of any namespace.
        """
        check_role(caller, "system.problems")
        try:
            visit = await self._authorisation.enter(caller, "system.problems")
        except (PermissionDenied, Unavailable):
            if not self._hooks.condition.failing:
                raise
            return self.of_server()
        poisoned = [
            problem
            for state in self._states()
            if state.namespace == visit.namespace
            for problem in poisoned_tasks(state)
        ]
        quotas = await self._of_quotas(visit.namespace)
        return [*self.of_server(), *await self._of_disk(), *quotas, *poisoned[:POISONED_MOST]]

    def of_server(self) -> list[Problem]:
        """Return what the server knows to be wrong with itself, without looking at any tenant's work. Cheap."""
        return [*self._endpoints(), *self._failing_hooks(), *self._fault()]

    def _endpoints(self) -> Iterable[Problem]:
        for breaker in () if self._breakers is None else self._breakers.down:
            yield Problem(
                ProblemCode.MODEL_ENDPOINT_DOWN,
                breaker.endpoint,
                f"The model server at {breaker.endpoint} is down: its last call failed as {breaker.last_kind}. Tasks wait for it "
                "and go on by themselves; see to it that it runs and can be reached from here.",
                breaker.since_us,
            )

    def _failing_hooks(self) -> Iterable[Problem]:
        for failing in self._hooks.condition.failing:
            times = "the last call" if failing.calls == 1 else f"the last {failing.calls} calls"
            yield Problem(
                ProblemCode.HOOK_FAILING,
                failing.hook,
                f"The {failing.hook} hook {KINDS[failing.kind]} ({times}): the server's log has the details.",
                failing.since_us,
            )

    def _fault(self) -> Iterable[Problem]:
        fault = self._store.fault
        if fault is not None:
            code = ProblemCode.DISK_FULL if fault.full else ProblemCode.STORAGE_FAILING
            yield Problem(code, "", fault.text, fault.since_us or None)

    async def _of_quotas(self, namespace: str) -> list[Problem]:
        try:
            found = await self._used_up(namespace)
        except Unavailable:
            return []  # What ails the storage is told already.
        now_us = self._clock.now_us()
        return [Problem(ProblemCode.QUOTA_EXHAUSTED, one.kind, exceeded(one, now_us).message) for one in found]

    async def _of_disk(self) -> list[Problem]:
        fault = self._store.fault
        if fault is not None and fault.full:
            return []  # It is told already.
        try:
            free = await self._store.free_bytes()
        except (OSError, Unavailable) as error:
            return [Problem(ProblemCode.STORAGE_FAILING, "", f"The disk of the data file cannot be looked at: {error}")]
        return [] if free >= ROOM_BYTES else [Problem(ProblemCode.DISK_FULL, "", disk_words(free))]


def poisoned_tasks(state: WorkflowState) -> Iterable[Problem]:
    """Return the tasks of a live workflow, and its planning, that were lost with the server time and again."""
    if state.terminal:
        return
    planning = state.progress.planning
    if is_suspected(planning.losses, state.spec):
        yield _poisoned(state, "", planning.losses)
    for task in state.tasks.values():
        if is_suspected(task.progress.losses, state.spec):
            yield _poisoned(state, task.spec.id, task.progress.losses)


def disk_words(free: int) -> str:
    """Say how little room there is."""
    return f"The disk of the data file is nearly full, {free:,} bytes are free: make room before writes fail."


def _poisoned(state: WorkflowState, task_id: str, losses: int) -> Problem:
    what = f"Task {task_id!r}" if task_id else "The planning"
    limit = state.spec.max_losses
    return Problem(
        ProblemCode.TASK_POISONED,
        f"{state.id}/{task_id}" if task_id else state.id,
        f"{what} of workflow {state.id!r} was lost with the server {losses} times in a row (it fails after more than {limit}): it "
        f"may be what ends the server. `orcs why {state.id}{f' {task_id}' if task_id else ''}` tells more.",
    )
