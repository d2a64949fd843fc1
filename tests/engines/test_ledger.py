"""The ledger equals the sum of what workflows recorded, whatever happens between: crashes, lost answers, deletions, midnights."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from orcs_server.engines.local import actor
from orcs_server.engines.local.engine import EngineLimits
from orcs_server.errors import OrcsError, Unavailable
from orcs_server.identity.quotas import NamespaceQuota, Quotas
from orcs_server.storage.sqlite.examination import examine
from orcs_server.storage.store import EventRecord, WorkflowFilter, Write
from orcs_server.storage.usage import NOTHING_COUNTED, UsageCounts
from orcs_server.workflow import events as e
from orcs_server.workflow import messages as m
from orcs_server.workflow.model import NO_USAGE, Usage
from tests.engines.support import FaultyStore, Stage, World, server, task
from tests.engines.test_quotas import Calendar

SPACES = ("red", "blue")
# Far beyond what is consumed: the days are looked at, and hold nobody.
LIMITS = EngineLimits(3, quotas=Quotas(default=NamespaceQuota(tokens_per_day=10**9, max_running_tasks=2)))

_steps = st.lists(
    st.one_of(
        st.tuples(st.just("create"), st.sampled_from(SPACES), st.integers(0, 3)),
        st.tuples(st.sampled_from(["crash", "restart", "midnight", "delete", "preview"]), st.sampled_from(SPACES)),
        st.tuples(st.sampled_from(["lose", "refuse"]), st.sampled_from(SPACES), st.integers(1, 3)),
        st.tuples(st.just("wait"), st.sampled_from(SPACES), st.integers(0, 12)),
    ),
    min_size=6,
    max_size=14,
)


class History:
    """A file over which servers come and go, and what of it is no longer there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Calendar()
        self.stage = Stage()
        self.created = 0
        self.gone: dict[str, list[EventRecord]] = {space: [] for space in SPACES}
        self.previews: Counter[str] = Counter()

    async def play(self, steps: list[tuple[object, ...]]) -> None:
        lives: list[list[tuple[object, ...]]] = [[]]
        for step in steps:
            lives[-1].append(step)
            if step[0] in ("crash", "restart"):
                lives.append([])
        for life in lives:
            crashes = bool(life) and life[-1][0] == "crash"
            async with AsyncExitStack() as stack:
                world = await stack.enter_async_context(
                    server(self.path, self.stage, limits=LIMITS, faulty=True, stop=not crashes, clock=self.clock)
                )
                for name, space, *number in life:
                    await self._step(world, str(name), str(space), cast("int", number[0]) if number else 0)
                cast("FaultyStore", world.store).lose_answers = 0
                cast("FaultyStore", world.store).raises = lambda _: None
        async with server(self.path, self.stage, limits=LIMITS, clock=self.clock) as world:
            async with asyncio.timeout(20):
                while any([(await world.store.holdings(space)).workflows for space in SPACES]):  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            await self._compare(world)
            for space in SPACES:
                await self._delete(world, space)
            await self._compare(world)
        assert examine(self.path).findings == []

    async def _step(self, world: World, name: str, space: str, number: int) -> None:
        faults = cast("FaultyStore", world.store)
        match name:
            case "create":
                self.created += 1
                tasks = [task(f"t{n}", *([f"t{n - 1}"] if n % 2 else [])) for n in range(number)] or None
                self.stage.acts["t1"].append(ConnectionError("no route"))
                try:
                    await world.create(f"w{self.created}", tasks, namespace=space)
                except Unavailable:
                    return  # It may be there all the same.
            case "midnight":
                self.clock.next_day()
            case "lose":
                faults.lose_answers = number
            case "refuse":
                left = iter(range(number))

                def refuse(_: Write) -> Exception | None:
                    return Unavailable("STORAGE_UNAVAILABLE", "not now") if next(left, None) is not None else None

                faults.raises = refuse
            case "preview":
                await world.engine.spend(space, Usage(1, 3))
                self.previews[space] += 1
            case "wait":
                await asyncio.sleep(number / 1000)
            case "delete":
                await self._delete(world, space)
            case _:
                pass

    async def _delete(self, world: World, space: str) -> None:
        for _ in range(100):
            held = await world.store.holdings(space)
            if len(await world.store.list_summaries(space, WorkflowFilter(), 100)) > held.workflows:
                break
            await asyncio.sleep(0.002 if held.workflows else 0)
        for summary in await world.store.list_summaries(space, WorkflowFilter(), 100):
            log = await world.store.events(space, summary.id, 0, 100_000)
            try:
                await world.send(m.DeleteWorkflow(), summary.id, space)
            except OrcsError:
                if await world.store.get_summary(space, summary.id) is not None:
                    continue
            self.gone[space] += log
            return

    async def _compare(self, world: World) -> None:
        for space in SPACES:
            records = list(self.gone[space])
            used = NO_USAGE
            for summary in await world.store.list_summaries(space, WorkflowFilter(), 1_000):
                records += await world.store.events(space, summary.id, 0, 100_000)
                used += summary.progress.usage
            recorded = _recorded(records)
            if not self.gone[space]:
                assert recorded.usage == used
            more = UsageCounts(Usage(self.previews[space], 3 * self.previews[space]))
            counted = NOTHING_COUNTED
            for day in await world.store.usage_days(space, 0, 10**6):
                counted += day.counts
            assert counted == recorded + more


def _recorded(records: list[EventRecord]) -> UsageCounts:
    """Return what logs say: of each attempt the last report counts, since reports are cumulative."""
    spent: dict[tuple[str, str, int], Usage] = {}
    kinds: Counter[type] = Counter()
    for record in records:
        kinds[type(record.event)] += 1
        if isinstance(record.event, e.UsageRecorded):
            spent[record.workflow_id, record.event.task_id, record.event.attempt] = record.event.usage
    return UsageCounts(
        sum(spent.values(), NO_USAGE),
        kinds[e.AttemptStarted] + kinds[e.PlanningStarted],
        kinds[e.WorkflowCreated],
        kinds[e.WorkflowCompleted],
        kinds[e.WorkflowFailed],
        kinds[e.WorkflowCancelled],
    )


@settings(max_examples=12, deadline=None)
@given(steps=_steps, pause=st.sampled_from([0.0, 0.2]))
def test_the_ledger_is_the_sum_of_what_workflows_recorded(steps: list[tuple[object, ...]], pause: float) -> None:
    before = actor.STORE_RETRY_S, actor.USAGE_PAUSE_S
    actor.STORE_RETRY_S, actor.USAGE_PAUSE_S = (0.001, 0.002), pause
    try:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(History(Path(folder) / "orcs.db").play(steps))
    finally:
        actor.STORE_RETRY_S, actor.USAGE_PAUSE_S = before
