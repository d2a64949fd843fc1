"""The service without any wire: what hooks and settings add to a workflow, large results, a deletion under a watch's eyes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orcs_server.app import Backend
from orcs_server.config import Settings
from orcs_server.engines.feed import WorkflowFeed
from orcs_server.engines.local.engine import LocalEngine
from orcs_server.errors import Unavailable
from orcs_server.executor.configuration import Configuration
from orcs_server.hooks import GuardedHooks, HookSet, Origin, inline
from orcs_server.identity import ROLES, Caller
from orcs_server.service.pages import REPLY_BYTES
from orcs_server.service.requests import NewTask, NewWorkflow, TaskWish, WatchWish
from orcs_server.service.watching import WatchBatch
from orcs_server.workflow import events as e
from orcs_server.workflow.model import OutputFormat
from orcs_server.workflow.states import WorkflowStatus
from tests.storage.samples import Draft, task

ADA = Caller("ada", "default", ROLES)
PLAN = (NewTask("Look", "Look into it.", "research_agent"),)

Open = Callable[..., AbstractAsyncContextManager[Backend]]


@pytest.fixture
def backend_with(tmp_path: Path) -> Open:
    @asynccontextmanager
    async def open_backend(**flags: Any) -> AsyncIterator[Backend]:
        given = {"data": tmp_path / "orcs.db", "offline_pace": 0, **flags}
        backend = Backend(Settings.load(given, environ={"HOME": str(tmp_path)}), {})
        await backend.open()
        await backend.start()
        try:
            yield backend
        finally:
            await backend.close(0)

    return open_backend


async def watched(backend: Backend, workflow_id: str) -> list[WatchBatch]:
    stream = await backend.services.watching.open(lambda: ADA, WatchWish(workflow_id))
    return [batch async for batch in stream.batches()]


class _Values:
    """A configuration hook."""

    values: dict[str, Any] = {}  # noqa: RUF012 - set by each test

    @inline
    def get_config(self, key: str, default: Any, /) -> Any:
        return self.values.get(key, default)


class _Resources:
    """A resources hook that gives everything."""

    calls: list[str] = []  # noqa: RUF012 - read by each test

    async def allocate_resources(self, workflow_id: str, requirements: dict[str, Any], /) -> bool:
        self.calls.append(f"allocate {requirements}")
        return True

    async def release_resources(self, workflow_id: str, /) -> None:
        self.calls.append("release")


class _Telemetry:
    """A telemetry hook."""

    events: list[tuple[str, str, int]] = []  # noqa: RUF012 - read by each test

    @inline
    def record_event(self, event_type: str, resource_id: str, metadata: dict[str, Any]) -> None:
        self.events.append((event_type, resource_id, metadata["sequence"]))


def hooks(caller: Caller, /, origin: Origin) -> HookSet:
    return HookSet(configuration=_Values(), resources=_Resources(), telemetry=_Telemetry())


HOOKS = f"{__name__}:hooks"


async def test_the_configuration_hook_is_frozen_into_the_workflow(
    backend_with: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"retry.max_attempts": 7, "model.name": "tuned", "limits.max_parallel_tasks": 3, "planning.max_repairs": 0}
    monkeypatch.setattr(_Values, "values", values)
    async with backend_with(hooks=HOOKS) as backend:
        created = await backend.services.creation.create(ADA, NewWorkflow(query="Look into it."))
        spec = created.workflow.spec
        assert (spec.retry.max_attempts, spec.max_parallel_tasks, spec.max_plan_repairs) == (7, 3, 0)
        assert spec.configuration is not None
        frozen = msgspec.json.decode(await backend.store.blob("default", spec.configuration), type=Configuration)
        assert frozen.model == "tuned"
        assert dict(spec.agents) == dict(backend.catalog.revisions())


async def test_values_of_the_configuration_hook_that_are_no_settings_are_refused(
    backend_with: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Values, "values", {"limits.max_parallel_tasks": -3})
    async with backend_with(hooks=HOOKS) as backend:
        with pytest.raises(Unavailable) as caught:
            await backend.services.creation.create(ADA, NewWorkflow(query="Look into it."))
        assert caught.value.reason == "HOOK_FAILED"


async def test_resources_are_given_and_taken_back_and_every_event_is_recorded(
    backend_with: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    events: list[tuple[str, str, int]] = []
    monkeypatch.setattr(_Values, "values", {})
    monkeypatch.setattr(_Resources, "calls", calls)
    monkeypatch.setattr(_Telemetry, "events", events)
    async with backend_with(hooks=HOOKS) as backend:
        new = NewWorkflow(plan=PLAN, resource_requirements='{"gpus": 1}')
        created = await backend.services.creation.create(ADA, new)
        await watched(backend, created.workflow.id)
        # It leaves memory once everything is given back.
        while backend.engine.state("default", created.workflow.id) is not None:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)
    async with backend_with() as backend:
        log = await backend.store.events("default", created.workflow.id, 0, 1000)
    assert calls == ["allocate {'gpus': 1}", "release"]
    assert events == [(type(record.event).__name__, created.workflow.id, record.seq) for record in log]
    assert isinstance(log[-1].event, e.ResourcesReturned)


async def test_a_watch_that_begins_between_a_commit_and_its_publication_does_not_end_too_early(
    backend_with: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with backend_with() as backend:
        services = backend.services
        monkeypatch.setattr(LocalEngine, "rest", lambda *_: None)
        created = await services.creation.create(ADA, NewWorkflow(plan=PLAN, auto_start=False))
        monkeypatch.setattr(WorkflowFeed, "publish", lambda *_: None)
        await services.control.start(ADA, created.workflow.id)
        async with asyncio.timeout(20):
            while (await backend.store.snapshot("default", created.workflow.id)).summary.progress.finished_us is None:  # type: ignore[union-attr]  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        wish = WatchWish(created.workflow.id, created.cursor)
        stream = await services.watching.open(lambda: ADA, wish)
        batches = [batch async for batch in stream.batches()]
    names = [type(record.event).__name__ for batch in batches for record in batch.records]
    assert names[0] == "WorkflowStarted"
    assert names[-1] == "WorkflowCompleted"


async def test_a_deletion_ends_a_watch_without_leaving_a_gap(backend_with: Open) -> None:
    async with backend_with() as backend:
        services = backend.services
        created = await services.creation.create(ADA, NewWorkflow(plan=PLAN, auto_start=False))
        stream = await services.watching.open(lambda: ADA, WatchWish(created.workflow.id))
        async with aclosing(stream.batches()) as batches:
            first = await anext(batches)
            await services.control.start(ADA, created.workflow.id)
            await watched(backend, created.workflow.id)
            await services.control.delete(ADA, created.workflow.id)
            rest = [batch async for batch in batches]
    assert rest[-1].end is not None
    assert rest[-1].end.deleted
    assert rest[-1].end.status is WorkflowStatus.COMPLETED
    seen = [record.seq for batch in (first, *rest) for record in batch.records]
    assert seen == list(range(1, len(seen) + 1))


@pytest.mark.parametrize("output_format", list(OutputFormat))
async def test_a_result_that_is_too_large_is_cut_and_says_so(backend_with: Open, output_format: OutputFormat) -> None:
    async with backend_with() as backend:
        draft = Draft("large", output_format=output_format)
        names = ["a", "b", "c"]
        await backend.store.commit(draft.create())
        await backend.store.commit(draft.plan(*(task(name) for name in names)))
        for name in names:
            await backend.store.commit(draft.begin(name))
            await backend.store.commit(draft.complete(name, f"<{name}>&" * 80_000))
        await backend.store.commit(draft.write(e.WorkflowCompleted()))
        output = await backend.services.results.output(ADA, "large")
    assert output.truncated
    assert output.complete
    assert len(output.content.content) < REPLY_BYTES
    assert b"left out here" in output.content.content
    assert output.final == frozenset(names)
    assert [task.spec.id for task in output.tasks] == names


class _StuckFactory:
    """A factory of hooks that never comes back."""

    async def __call__(self, caller: Caller, /, origin: Origin) -> HookSet:
        await asyncio.Event().wait()
        raise AssertionError


async def test_hooks_that_hang_do_not_hold_up_the_end_of_the_server(
    backend_with: Open, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with backend_with() as backend:
        # For the events alone, so that calls are let in. It would be waited for this long, for each of the commits.
        stuck = GuardedHooks(_StuckFactory(), time_limit_us=86_400_000_000)
        monkeypatch.setattr(backend._recording, "_hooks", stuck)
        for _ in range(3):
            await backend.services.creation.create(ADA, NewWorkflow(plan=PLAN, auto_start=False))
    assert "3 commits were not recorded" in caplog.text


async def test_few_tasks_of_an_agent_among_many_are_found_in_few_reads(
    backend_with: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = (NewTask("Look", "Look into it.", "research_agent"),) * 600
    plan = (*others, NewTask("Count", "Count them.", "data_agent"))
    reads: list[int] = []
    async with backend_with() as backend:
        created = await backend.services.creation.create(ADA, NewWorkflow(plan=plan, auto_start=False))
        store = type(backend.store)
        list_tasks = store.list_tasks

        async def counted(self: Any, *arguments: Any) -> Any:
            reads.append(1)
            return await list_tasks(self, *arguments)

        monkeypatch.setattr(store, "list_tasks", counted)
        which = TaskWish(agent_id="data_agent")
        page = await backend.services.reading.tasks(ADA, created.workflow.id, which, 1)
    assert [task.spec.agent_id for task in page.tasks] == ["data_agent"]
    assert not page.next_page_token
    assert len(reads) == 2


async def test_the_limits_that_are_told_are_those_that_hold(backend_with: Open) -> None:
    async with backend_with(limits={"max_page_size": 20, "max_description_bytes": 1000}) as backend:
        info = await backend.services.system.info(ADA)
    assert (info.default_page_size, info.limits.max_description_bytes) == (20, 1000)
