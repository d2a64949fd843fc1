"""What is wrong with a running server, in words for its operator: model servers that are down, hooks that fail or hang, a disk that is
full, tasks that may be what ends the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Final

from msgspec import Struct

from orcs_server.agents.breaker import Breakers
from orcs_server.errors import PermissionUnknown, Unavailable
from orcs_server.hooks import GuardedHooks
from orcs_server.hooks.condition import Failing
from orcs_server.identity import Caller, Clock
from orcs_server.identity.quotas import exceeded
from orcs_server.service.authorisation import Authorisation, check_role
from orcs_server.service.usage import NamespaceUsage
from orcs_server.storage.store import ROOM_WANTED, Disk
from orcs_server.workflow.due import suspects
from orcs_server.workflow.state import WorkflowState

POISONED_MOST: Final = 100
"""Tasks that are named."""
TASKS_AT_ONCE: Final = 2_000
"""Tasks that are looked at before others have their turn."""
KINDS: Final = {"raised": "raises errors", "hung": "does not answer in time", "nonsense": "answers nonsense"}


class ProblemCode(StrEnum):
    """What kind of trouble it is. Published."""

    MODEL_ENDPOINT_DOWN = "MODEL_ENDPOINT_DOWN"
    HOOK_FAILING = "HOOK_FAILING"
    DISK_FULL = "DISK_FULL"
    STORAGE_FAILING = "STORAGE_FAILING"
    TASK_POISONED = "TASK_POISONED"
    QUOTA_EXHAUSTED = "QUOTA_EXHAUSTED"


OF_A_NAMESPACE: Final = frozenset({ProblemCode.TASK_POISONED, ProblemCode.QUOTA_EXHAUSTED})
"""Told to the callers of the namespace only."""


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
        usage: NamespaceUsage,
        clock: Clock,
    ) -> None:
        self._states = states
        self._store = store
        self._hooks = hooks
        self._breakers = breakers
        self._authorisation = authorisation
        self._usage = usage
        self._clock = clock

    async def listed(self, caller: Caller) -> list[Problem]:
        """Return what is wrong with the server, which quotas of the caller's namespace are used up, and which of its tasks are
        suspected. Who runs the server, with the token of its own user, learns of all namespaces' hooks and quotas.

        While a hook keeps everybody out because it fails, an administrator learns at least that, and nothing of any namespace.
        """
        check_role(caller, "system.problems")
        try:
            visit = await self._authorisation.enter(caller, "system.problems")
        except (PermissionUnknown, Unavailable):
            if not self._hooks.condition.failing_for(caller.namespace):
                raise
            return self.of_server(caller.namespace)
        namespace = visit.namespace
        known = self.of_all() if caller.own else self.of_server(namespace)
        quotas = await self._of_quotas(None if caller.own else namespace)
        return [*known, *await self._of_disk(), *quotas, *await self._poisoned(namespace)]

    def of_server(self, namespace: str) -> list[Problem]:
        """Return what the server knows to be wrong with itself, and with the hooks of a namespace. Cheap."""
        return self._known(self._hooks.condition.failing_for(namespace))

    def of_all(self) -> list[Problem]:
        """Return what the server knows to be wrong, with the hooks of all namespaces: for its operator's metrics."""
        return self._known(self._hooks.condition.failing)

    def _known(self, failing: Iterable[Failing]) -> list[Problem]:
        return [*self._endpoints(), *_failing(failing), *self._fault()]

    async def _poisoned(self, namespace: str) -> list[Problem]:
        found: list[Problem] = []
        looked_at = 0
        for state in [one for one in self._states() if one.namespace == namespace]:
            looked_at += len(state.tasks)
            if looked_at > TASKS_AT_ONCE:
                looked_at = 0
                await asyncio.sleep(0)
            found += [_poisoned(state, task_id, losses) for task_id, losses in suspects(state)]
            if len(found) >= POISONED_MOST:
                break
        return found[:POISONED_MOST]

    def _endpoints(self) -> Iterable[Problem]:
        for breaker in () if self._breakers is None else self._breakers.down:
            yield Problem(
                ProblemCode.MODEL_ENDPOINT_DOWN,
                breaker.endpoint,
                f"The model server at {breaker.endpoint} is down: its last call failed as {breaker.last_kind}. Tasks wait for it "
                "and go on by themselves; see to it that it runs and can be reached from here.",
                breaker.since_us,
            )

    def _fault(self) -> Iterable[Problem]:
        fault = self._store.fault
        if fault is not None:
            code = ProblemCode.DISK_FULL if fault.full else ProblemCode.STORAGE_FAILING
            yield Problem(code, "", fault.text, fault.since_us or None)

    async def _of_quotas(self, namespace: str | None) -> list[Problem]:
        """Return what is used up by a namespace, or, with the names, by any."""
        try:
            if namespace is None:
                found = [(f"{name}/", f"{name}: ", one) for name, one in await self._usage.used_up_anywhere()]
            else:
                found = [("", "", one) for one in await self._usage.used_up(namespace)]
        except Unavailable:
            return []  # What ails the storage is told already.
        now_us = self._clock.now_us()
        return [
            Problem(ProblemCode.QUOTA_EXHAUSTED, f"{place}{one.kind}", f"{who}{exceeded(one, now_us).message}")
            for place, who, one in found
        ]

    async def _of_disk(self) -> list[Problem]:
        fault = self._store.fault
        if fault is not None and fault.full:
            return []  # It is told already.
        try:
            free = await self._store.free_bytes()
        except (OSError, Unavailable) as error:
            why = error.strerror if isinstance(error, OSError) else error.message
            return [Problem(ProblemCode.STORAGE_FAILING, "", f"The disk of the data file cannot be looked at: {why}")]
        return [] if free >= ROOM_WANTED else [Problem(ProblemCode.DISK_FULL, "", disk_words(free))]


def _failing(hooks: Iterable[Failing]) -> Iterable[Problem]:
    for failing in hooks:
        times = "the last call" if failing.calls == 1 else f"the last {failing.calls} calls"
        yield Problem(
            ProblemCode.HOOK_FAILING,
            failing.hook,
            f"The {failing.hook} hook {KINDS[failing.kind]} ({times}): the server's log has the details.",
            failing.since_us,
        )


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
