"""The plan's own example providers fit as they are."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from orcs_server.errors import PermissionDenied
from orcs_server.hooks import GuardedHooks, HookSet, Origin
from orcs_server.identity import Caller
from tests.hooks.plan_providers import (
    Services,
    UserConfigProvider,
    UserContextProvider,
    UserIsolationProvider,
    UserPermissionChecker,
    UserResourceManager,
    UserTelemetryCollector,
)

ANN = Caller("ann", "default", ("operate",))
SERVICES = Services()
COLLECTORS: dict[str, UserTelemetryCollector] = {}


def factory(caller: Caller, origin: Origin) -> HookSet:
    user = caller.principal
    return HookSet(
        context=UserContextProvider(user, SERVICES),
        isolation=UserIsolationProvider(user),
        authorization=UserPermissionChecker(user, SERVICES),
        resources=UserResourceManager(user, SERVICES),
        telemetry=COLLECTORS.setdefault(user, UserTelemetryCollector(user)),
        configuration=UserConfigProvider(user),
    )


@pytest.fixture
async def guarded() -> AsyncIterator[GuardedHooks]:
    guarded = GuardedHooks(factory)
    yield guarded
    await guarded.close()


@pytest.fixture
async def hooks(guarded: GuardedHooks) -> HookSet:
    return await guarded.hooks_for(ANN, Origin.RPC)


async def test_context_and_isolation_come_from_the_user(guarded: GuardedHooks, hooks: HookSet) -> None:
    context = await guarded.context(hooks)
    assert context == {"preferences": {"tone": "dry"}, "history": ["ann"], "permissions": ["basic"]}
    assert await guarded.namespace(hooks, ANN) == "user:ann"


async def test_permissions_are_asked_and_lists_filtered(guarded: GuardedHooks, hooks: HookSet) -> None:
    await guarded.authorize(hooks, "view", "ann-1")
    with pytest.raises(PermissionDenied, match="may not operate ann-1"):
        await guarded.authorize(hooks, "operate", "ann-1")
    assert await guarded.permitted(hooks, "view", ["ann-1", "bob-1", "ann-2"]) == ["ann-1", "ann-2"]


async def test_resources_are_granted_refused_and_given_back(guarded: GuardedHooks, hooks: HookSet) -> None:
    assert await guarded.allocate(hooks, "w1", {"gpus": 1})
    assert not await guarded.allocate(hooks, "w2", {"gpus": 2})
    assert SERVICES.held == {("ann", "w1")}
    await guarded.release(hooks, "w1")
    assert not SERVICES.held


async def test_events_arrive_in_order(guarded: GuardedHooks, hooks: HookSet) -> None:
    for number in range(20):
        guarded.record(hooks, "task_started", f"t{number}", {"n": number})
    await guarded.close()
    assert [event[1] for event in COLLECTORS["ann"].events] == [f"t{number}" for number in range(20)]
    assert guarded.recorder.recorded == 20


async def test_settings_may_be_overridden(guarded: GuardedHooks, hooks: HookSet) -> None:
    assert await guarded.configuration(hooks, "limits.slots", 64) == 3
    assert await guarded.configuration(hooks, "limits.max_tasks", 10) == 10
