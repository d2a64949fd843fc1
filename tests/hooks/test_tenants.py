"""Hooks of one tenant, however they behave, neither hold up another's nor get or give what is another's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from orcs_server.errors import PermissionDenied, Unavailable
from orcs_server.hooks import GuardedHooks, HookSet, Origin
from orcs_server.hooks.threads import STUCK_LIMIT, DaemonThreads
from orcs_server.identity import Caller

LIMIT_US = 300_000


class Tenants:
    """A factory: each caller's hooks do what the test says, in a thread."""

    def __init__(self) -> None:
        self.acts: dict[str, Callable[..., Any]] = {}

    def __call__(self, caller: Caller, /, origin: Origin) -> HookSet:
        act = self.acts[caller.principal]

        class Hooks:
            def check_permission(self, operation: str, resource_id: str) -> Any:
                return act(operation, resource_id)

            def get_context(self) -> Any:
                return act("context", "")

        hooks = Hooks()
        return HookSet(context=hooks, authorization=hooks)


@pytest.fixture
def tenants() -> Tenants:
    return Tenants()


@pytest.fixture
async def guarded(tenants: Tenants) -> AsyncIterator[GuardedHooks]:
    guarded = GuardedHooks(tenants, time_limit_us=LIMIT_US, threads=4)
    yield guarded
    await guarded.close(grace_us=0)


def caller(name: str) -> Caller:
    return Caller(name, name)


async def test_a_flood_of_calls_whose_hooks_hang_does_not_hold_up_another_tenant(
    guarded: GuardedHooks, tenants: Tenants
) -> None:
    released = threading.Event()
    tenants.acts = {"ann": lambda *_: released.wait(), "bob": lambda *_: True}
    ann = await guarded.hooks_for(caller("ann"), Origin.RPC)
    bob = await guarded.hooks_for(caller("bob"), Origin.RPC)
    flood = [asyncio.create_task(guarded.authorize(ann, "workflows.get", "w")) for _ in range(200)]
    await asyncio.sleep(0)
    for _ in range(50):
        await guarded.authorize(bob, "workflows.get", "w")
    outcomes = await asyncio.gather(*flood, return_exceptions=True)
    assert all(isinstance(one, PermissionDenied) for one in outcomes)
    # Her threads hang now for good, and he still has all of his.
    await asyncio.gather(*(guarded.authorize(bob, "workflows.get", "w") for _ in range(50)))
    released.set()


async def test_many_tenants_whose_hooks_hang_leave_threads_for_those_whose_do_not(
    guarded: GuardedHooks, tenants: Tenants
) -> None:
    released = threading.Event()
    names = [f"t{number}" for number in range(20)]
    tenants.acts = {name: lambda *_: released.wait() for name in names} | {"bob": lambda *_: True}
    hanging = [await guarded.hooks_for(caller(name), Origin.RPC) for name in names]
    calls = (guarded.authorize(hooks, "workflows.get", "w") for hooks in hanging)
    await asyncio.gather(*calls, return_exceptions=True)
    bob = await guarded.hooks_for(caller("bob"), Origin.RPC)
    await guarded.authorize(bob, "workflows.get", "w")
    released.set()


async def test_threads_are_bounded_however_many_hang_and_serve_again_once_they_return() -> None:
    released = threading.Event()
    threads = DaemonThreads(2, "bounded")
    before = threading.active_count()
    for number in range(3 * STUCK_LIMIT):
        begun = threading.Event()

        def hang(begun: threading.Event = begun) -> None:
            begun.set()
            released.wait()

        call = threads.submit(hang, f"t{number}")
        if threading.active_count() - before <= STUCK_LIMIT:
            await asyncio.to_thread(begun.wait, 1)
        call.cancel()
        await asyncio.sleep(0)
    assert threading.active_count() - before <= STUCK_LIMIT + 4
    released.set()
    answers = await asyncio.gather(*(threads.submit(lambda: 1, f"t{number}") for number in range(20)))
    assert answers == [1] * 20
    threads.close()


async def test_a_late_answer_of_a_call_that_was_given_up_reaches_nobody(
    guarded: GuardedHooks, tenants: Tenants
) -> None:
    released, answered = threading.Event(), threading.Event()

    def late(*_: str) -> Any:
        released.wait()
        answered.set()
        return {"secret": "ann's"}

    tenants.acts = {"ann": late, "bob": lambda *_: {"name": "bob"}}
    ann = await guarded.hooks_for(caller("ann"), Origin.RPC)
    bob = await guarded.hooks_for(caller("bob"), Origin.RPC)
    with pytest.raises(Unavailable):
        await guarded.context(ann)
    waiting = [asyncio.create_task(guarded.context(bob)) for _ in range(20)]
    released.set()
    await asyncio.to_thread(answered.wait)
    waiting += [asyncio.create_task(guarded.context(bob)) for _ in range(20)]
    assert await asyncio.gather(*waiting) == [{"name": "bob"}] * 40


async def test_one_dict_that_a_hook_uses_for_everyone_mixes_nothing_that_was_answered(
    guarded: GuardedHooks, tenants: Tenants
) -> None:
    shared: dict[str, Any] = {"names": []}

    def context_of(name: str) -> Callable[..., Any]:
        def answer(*_: str) -> Any:
            shared["names"][:] = [name]
            return shared

        return answer

    tenants.acts = {name: context_of(name) for name in ("ann", "bob")}
    ann = await guarded.hooks_for(caller("ann"), Origin.RPC)
    bob = await guarded.hooks_for(caller("bob"), Origin.RPC)
    for _ in range(20):
        first = await guarded.context(ann)
        second = await guarded.context(bob)
        assert (first, second) == ({"names": ["ann"]}, {"names": ["bob"]})


async def test_what_hooks_are_given_is_theirs_to_change() -> None:
    class Vandal:
        def allocate_resources(self, workflow_id: str, requirements: dict[str, Any]) -> bool:
            requirements["gpus"]["count"] = 0
            requirements.clear()
            return True

        def release_resources(self, workflow_id: str) -> None:
            pass

        def get_config(self, key: str, default: Any) -> Any:
            default.append("more")
            return ["other"]

        def record_event(self, event_type: str, resource_id: str, metadata: dict[str, Any]) -> None:
            metadata.clear()

    vandal = Vandal()
    hooks = HookSet(resources=vandal, configuration=vandal, telemetry=vandal)
    guarded = GuardedHooks(lambda caller, origin: hooks)
    requirements, default, metadata = {"gpus": {"count": 1}}, ["a"], {"seq": 1}
    assert await guarded.allocate(hooks, "w", requirements)
    assert await guarded.configuration(hooks, "key", default) == ["other"]
    guarded.record(hooks, "WorkflowCreated", "w", metadata)
    await guarded.close()
    assert guarded.recorder.recorded == 1
    assert (requirements, default, metadata) == ({"gpus": {"count": 1}}, ["a"], {"seq": 1})


async def test_one_set_of_hooks_for_everyone_leaves_each_caller_the_namespace_of_the_token() -> None:
    everyones = HookSet(authorization=type("Yes", (), {"check_permission": lambda *_: True})())
    guarded = GuardedHooks(lambda caller, origin: everyones)
    for name in ("ann", "bob", "ann"):
        hooks = await guarded.hooks_for(caller(name), Origin.RPC)
        assert await guarded.namespace(hooks, caller(name)) == name
        assert hooks.tenant == name
    assert everyones.tenant == ""
    await guarded.close()


async def test_telemetry_of_a_tenant_whose_hook_hangs_does_not_hold_up_that_of_another(
    guarded: GuardedHooks, tenants: Tenants
) -> None:
    told: list[str] = []
    done = asyncio.Event()

    class Hangs:
        async def record_event(self, event_type: str, resource_id: str, metadata: dict[str, Any]) -> None:
            await asyncio.Event().wait()

    class Notes:
        def record_event(self, event_type: str, resource_id: str, metadata: dict[str, Any]) -> None:
            told.append(resource_id)
            if len(told) == 20:
                loop.call_soon_threadsafe(done.set)

    loop = asyncio.get_running_loop()
    for number in range(20):
        guarded.record(HookSet(telemetry=Hangs(), tenant="ann"), "event", f"a{number}", {})
        guarded.record(HookSet(telemetry=Notes(), tenant="bob"), "event", f"b{number}", {})
    async with asyncio.timeout(60):
        await done.wait()
    assert told == [f"b{number}" for number in range(20)]
    assert guarded.recorder.failed < 20
