"""Hooks that raise, hang or answer nonsense."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from orcs_server.errors import PermissionDenied, Unavailable
from orcs_server.hooks import NULL_HOOKS, GuardedHooks, HookSet, Origin, inline, null_factory
from orcs_server.hooks.threads import WAITING_LIMIT, DaemonThreads
from orcs_server.identity import Caller

CALLER = Caller("ann", "default")
SECRET = "password=hunter2"


def hook(**methods: Callable[..., Any]) -> Any:
    """Return an object with these methods."""
    return type("Hook", (), {name: staticmethod(method) for name, method in methods.items()})()


@pytest.fixture
async def guarded() -> AsyncIterator[GuardedHooks]:
    guarded = GuardedHooks(time_limit_us=200_000, threads=2)
    yield guarded
    await guarded.close(grace_us=0)


async def forever(*_: Any, **__: Any) -> Any:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "late"


def raises(*_: Any, **__: Any) -> Any:
    raise RuntimeError(SECRET)


async def raises_later(*_: Any, **__: Any) -> Any:
    raise RuntimeError(SECRET)


async def cancels_itself(*_: Any, **__: Any) -> Any:
    raise asyncio.CancelledError


def exits(*_: Any, **__: Any) -> Any:
    sys.exit(3)


def stops(*_: Any, **__: Any) -> Any:
    raise StopIteration


BAD = [raises, raises_later, inline(lambda *_, **__: 1 / 0), forever, cancels_itself, exits, stops]


async def test_null_hooks_change_nothing(guarded: GuardedHooks) -> None:
    hooks = await guarded.hooks_for(CALLER, Origin.TIMER)
    assert hooks is NULL_HOOKS
    assert null_factory(CALLER, Origin.RPC) is NULL_HOOKS
    assert await guarded.context(hooks) == {}
    assert await guarded.namespace(hooks, CALLER) == "default"
    await guarded.authorize(hooks, "view", "w1")
    assert await guarded.permitted(hooks, "view", ["w1"]) == ["w1"]
    assert await guarded.allocate(hooks, "w1", {})
    await guarded.release(hooks, "w1")
    assert await guarded.configuration(hooks, "key", 1) == 1
    guarded.record(hooks, "event", "w1", {})
    assert guarded.recorder.recorded == 0


def test_null_hooks_also_answer_when_called_directly() -> None:
    hooks = HookSet()
    assert hooks.context.get_context() == {}
    assert hooks.isolation.get_isolation_prefix() == ""
    assert hooks.authorization.check_permission("view", "w") is True
    assert hooks.resources.allocate_resources("w", {}) is True
    assert hooks.resources.release_resources("w") is None  # type: ignore[func-returns-value, unused-ignore]
    assert hooks.telemetry.record_event("e", "w", {}) is None  # type: ignore[func-returns-value, unused-ignore]
    assert hooks.configuration.get_config("k", 1) == 1


@pytest.mark.parametrize("bad", BAD)
async def test_a_failing_hook_is_unavailable_and_its_words_stay_in_the_log(
    guarded: GuardedHooks, bad: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    hooks = HookSet(
        context=hook(get_context=bad),
        isolation=hook(get_isolation_prefix=bad),
        resources=hook(allocate_resources=bad, release_resources=bad),
        configuration=hook(get_config=bad),
    )
    calls = {
        "context": guarded.context(hooks),
        "isolation": guarded.namespace(hooks, CALLER),
        "resources": guarded.allocate(hooks, "w1", {}),
        "configuration": guarded.configuration(hooks, "key", 1),
    }
    for name, call in calls.items():
        with pytest.raises(Unavailable, match=f"the server's {name} hook failed") as caught:
            await call
        assert caught.value.reason == "HOOK_FAILED"
        assert SECRET not in str(caught.value)
        assert f"the {name} hook failed" in caplog.text
    with pytest.raises(Unavailable, match="the server's resources hook failed"):
        await guarded.release(hooks, "w1")
    if bad in (raises, raises_later):
        assert SECRET in caplog.text


@pytest.mark.parametrize("bad", [*BAD, lambda *_: 1, lambda *_: None, lambda *_: "yes"])
async def test_authorization_fails_closed(guarded: GuardedHooks, bad: Callable[..., Any]) -> None:
    hooks = HookSet(authorization=hook(check_permission=bad))
    with pytest.raises(PermissionDenied, match="could not be checked") as caught:
        await guarded.authorize(hooks, "view", "w1")
    assert SECRET not in str(caught.value)
    with pytest.raises(PermissionDenied):
        await guarded.permitted(hooks, "view", ["w1", "w2"])


async def test_permissions_may_be_checked_in_every_colour(guarded: GuardedHooks) -> None:
    async def awaited(operation: str, resource_id: str) -> bool:
        return resource_id == "w1"

    def plain(operation: str, resource_id: str) -> bool:
        return resource_id == "w1"

    for check in (awaited, plain, inline(lambda *words: words[1] == "w1"), lambda *words: awaited(*words)):  # noqa: PLW0108 - a plain function that returns an awaitable
        hooks = HookSet(authorization=hook(check_permission=check))
        assert await guarded.permitted(hooks, "view", ["w0", "w1"]) == ["w1"]


@pytest.mark.parametrize(
    "context",
    [
        "text",
        None,
        {1: "number as key"},
        {"when": object()},
        {"ratio": float("nan")},
        {"half": "\ud800"},
        {"\ud800": 1},
        {"long": "x" * 300_000},
        {"many": list(range(300_000))},
        {"big": 10**1_000_000},
    ],
)
async def test_a_context_that_is_no_json_object_is_refused(guarded: GuardedHooks, context: Any) -> None:
    with pytest.raises(Unavailable):
        await guarded.context(HookSet(context=hook(get_context=lambda: context)))


async def test_a_context_that_contains_itself_is_refused(guarded: GuardedHooks) -> None:
    circle: dict[str, Any] = {}
    circle["again"] = circle
    with pytest.raises(Unavailable):
        await guarded.context(HookSet(context=hook(get_context=lambda: circle)))


async def test_a_context_is_copied_so_that_the_hook_cannot_change_it_later(guarded: GuardedHooks) -> None:
    kept = {"a": [1, 2.5, None, True, ("x",)]}
    context = await guarded.context(HookSet(context=hook(get_context=lambda: kept)))
    kept["a"].clear()
    assert context == {"a": [1, 2.5, None, True, ["x"]]}


@pytest.mark.parametrize("prefix", ["", "-a", "a/b", "a" * 129, "ä", "a\n", 7, None])
async def test_a_prefix_that_is_no_namespace_is_refused(guarded: GuardedHooks, prefix: Any) -> None:
    with pytest.raises(Unavailable):
        await guarded.namespace(HookSet(isolation=hook(get_isolation_prefix=lambda: prefix)), CALLER)


async def test_an_allocation_that_is_neither_yes_nor_no_is_refused(guarded: GuardedHooks) -> None:
    hooks = HookSet(resources=hook(allocate_resources=lambda *_: "ok", release_resources=lambda *_: None))
    with pytest.raises(Unavailable):
        await guarded.allocate(hooks, "w1", {})


@pytest.mark.parametrize(("value", "default"), [("3", 3), (True, 3), (1, True), (None, 3), (3.5, 3), ({}, [])])
async def test_a_setting_of_another_type_is_refused(guarded: GuardedHooks, value: Any, default: Any) -> None:
    with pytest.raises(Unavailable):
        await guarded.configuration(HookSet(configuration=hook(get_config=lambda *_: value)), "key", default)


@pytest.mark.parametrize(("value", "default"), [(3, 2.5), ([1], (2,)), ("x", None), (False, True), ({"a": 1}, {})])
async def test_a_setting_of_the_same_type_is_taken(guarded: GuardedHooks, value: Any, default: Any) -> None:
    hooks = HookSet(configuration=hook(get_config=lambda *_: value))
    assert await guarded.configuration(hooks, "key", default) == value


@pytest.mark.parametrize(
    "made",
    [None, {}, HookSet(context=object()), HookSet(resources=hook(allocate_resources=raises))],  # type: ignore[arg-type]
)
async def test_a_factory_that_makes_no_hooks_is_unavailable(made: Any) -> None:
    guarded = GuardedHooks(lambda caller, origin: made)
    with pytest.raises(Unavailable, match="factory hook failed"):
        await guarded.hooks_for(CALLER, Origin.RPC)
    await guarded.close()


async def test_an_async_factory_is_told_caller_and_origin() -> None:
    told: list[Any] = []

    async def factory(caller: Caller, origin: Origin) -> HookSet:
        told.append((caller, origin))
        return HookSet()

    guarded = GuardedHooks(factory)
    assert await guarded.hooks_for(CALLER, Origin.RECOVERY) == HookSet()
    assert told == [(CALLER, Origin.RECOVERY)]
    await guarded.close()


async def test_a_plain_hook_runs_in_a_thread_and_an_inline_one_does_not(guarded: GuardedHooks) -> None:
    hooks = HookSet(context=hook(get_context=lambda: {"thread": threading.current_thread().name}))
    assert (await guarded.context(hooks))["thread"].startswith("orcs-hook")
    hooks = HookSet(context=hook(get_context=inline(lambda: {"thread": threading.current_thread().name})))
    assert (await guarded.context(hooks))["thread"] == threading.current_thread().name


async def test_hooks_that_hang_in_all_threads_fail_others_in_time_and_a_freed_thread_serves_again(
    guarded: GuardedHooks,
) -> None:
    release = threading.Event()
    stuck = HookSet(context=hook(get_context=lambda: {"released": release.wait()}))
    quick = HookSet(context=hook(get_context=dict))
    outcomes = await asyncio.gather(*(guarded.context(stuck) for _ in range(2)), return_exceptions=True)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    with pytest.raises(Unavailable):
        await guarded.context(quick)
    release.set()
    assert await guarded.context(quick) == {}


async def test_a_cancelled_call_cancels_its_hook(guarded: GuardedHooks) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait() -> dict[str, Any]:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return {}

    call = asyncio.create_task(GuardedHooks(time_limit_us=60_000_000).context(HookSet(context=hook(get_context=wait))))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await ended.wait()


async def test_telemetry_that_raises_is_counted_and_harms_nothing(
    guarded: GuardedHooks, caplog: pytest.LogCaptureFixture
) -> None:
    hooks = HookSet(telemetry=hook(record_event=raises))
    for _ in range(3):
        guarded.record(hooks, "event", "w1", {})
    await guarded.recorder.close(5)
    assert (guarded.recorder.failed, guarded.recorder.recorded) == (3, 0)
    assert caplog.text.count("the telemetry hook failed") == 1


async def test_telemetry_that_cannot_keep_up_loses_events_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    guarded = GuardedHooks(telemetry_queue=5, time_limit_us=60_000_000)
    hooks = HookSet(telemetry=hook(record_event=forever))
    for _ in range(8):
        guarded.record(hooks, "event", "w1", {})
    assert guarded.recorder.dropped == 3
    await asyncio.sleep(0)
    await guarded.close(grace_us=0)
    assert guarded.recorder.dropped == 8
    assert "cannot keep up" in caplog.text
    assert "5 events did not reach" in caplog.text


HANGING = """
import asyncio, threading
from orcs_server.errors import Unavailable
from orcs_server.hooks import GuardedHooks, HookSet
class Hangs:
    def get_context(self):
        threading.Event().wait()
async def main():
    guarded = GuardedHooks(time_limit_us=10_000)
    try:
        await guarded.context(HookSet(context=Hangs()))
    except Unavailable:
        print("unavailable")
    await guarded.close()
asyncio.run(main())
"""


def test_a_hook_that_hangs_for_ever_does_not_keep_the_program_from_ending() -> None:
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "unavailable\n"


async def test_hooks_that_hang_for_good_make_nothing_grow() -> None:
    begun, released = threading.Event(), threading.Event()

    def hang() -> bool:
        begun.set()
        return released.wait()

    threads = DaemonThreads(1, "stuck")
    calls = [threads.submit(hang, "ann")]
    await asyncio.to_thread(begun.wait)
    calls += [threads.submit(released.wait, "ann") for _ in range(WAITING_LIMIT // 2)]
    with pytest.raises(RuntimeError, match="busy"):
        threads.submit(released.wait, "ann")
    # There is room left for others.
    calls.append(threads.submit(released.wait, "bob"))
    released.set()
    await asyncio.gather(*calls)
    assert await threads.submit(lambda: "again", "ann") == "again"
    threads.close()
