"""A hook that raises, hangs or answers nonsense gives a clear error and loses nothing: the same request goes through once it is well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from orcs_client.v1 import workflow_pb2, workflow_service_pb2
from orcs_server.app import Server
from orcs_server.hooks import HookSet, Origin
from orcs_server.identity import Caller
from orcs_server.service import openwatches
from tests.rpc.servers import settings_in
from tests.rpc.surface.methods import kind_of, methods
from tests.rpc.wire import broken_off, connected, plan_of, refused

_w = workflow_service_pb2

ill: dict[str, Callable[[], Any]] = {}
"""Hooks that fail, and how."""
homes: dict[str, str] = {}
"""Principals and the namespaces to which they belong."""


lost: list[str] = []
"""Questions about agents that get no answer."""


def answer(hook: str, good: Any) -> Any:
    return ill[hook]() if hook in ill else good


class _Hooks:
    """All six, of which any may be ill."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def get_context(self) -> Any:
        return await _awaited(answer("context", {"a": 1}))

    async def get_isolation_prefix(self) -> Any:
        return await _awaited(answer("isolation", homes.get(self._caller.principal, "home")))

    async def check_permission(self, operation: str, resource_id: str) -> Any:
        if operation == "agents.run" and lost:
            raise ConnectionError(lost.pop())
        return await _awaited(answer("authorization", True))

    async def allocate_resources(self, workflow_id: str, requirements: dict[str, Any]) -> Any:
        return await _awaited(answer("resources", True))

    async def release_resources(self, workflow_id: str) -> Any:
        return await _awaited(answer("resources", None))

    async def record_event(self, event_type: str, resource_id: str, metadata: dict[str, Any]) -> Any:
        return await _awaited(answer("telemetry", None))

    async def get_config(self, key: str, default: Any) -> Any:
        return await _awaited(answer("configuration", default))


async def _awaited(value: Any) -> Any:
    return await value if asyncio.iscoroutine(value) else value


async def _hang() -> None:
    await asyncio.Event().wait()


def _raise() -> Any:
    raise RuntimeError("the password is hunter2")


def _nonsense() -> Any:
    return object()


def hooks(caller: Caller, /, origin: Origin) -> HookSet:
    one = answer("factory", None)
    if one is not None:
        return one  # type: ignore[no-any-return]
    six = _Hooks(caller)
    return HookSet(six, six, six, six, six, six)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    ill.clear()
    homes.clear()
    settings = settings_in(tmp_path, hooks=f"{__name__}:hooks", hook_timeout=0.3)
    async with Server(settings, {"XDG_STATE_HOME": str(tmp_path)}) as running:
        yield running
    ill.clear()


def token(server: Server, name: str = "ann") -> str:
    assert server.registry is not None
    return server.registry.create(name, "ignored", ("administer",))


@pytest.mark.parametrize("how", [_raise, _hang, _nonsense])
@pytest.mark.parametrize("hook", ["factory", "context", "isolation", "authorization", "configuration"])
async def test_a_creation_that_met_a_failing_hook_goes_through_once_it_is_well(
    server: Server, hook: str, how: Callable[[], Any]
) -> None:
    async with connected(str(server.address), token(server)) as wire:
        fields = {"plan": plan_of(a=()), "workflow_id": "w", "request_id": "r"}
        ill[hook] = how
        told = await refused(wire.create(**fields))
        expected = (
            ("PERMISSION_DENIED", "PERMISSION_DENIED") if hook == "authorization" else ("UNAVAILABLE", "HOOK_FAILED")
        )
        assert (told.code.name, told.reason) == expected
        assert "hunter2" not in told.message
        ill.clear()
        assert not (await wire.call("ListWorkflows", _w.ListWorkflowsRequest())).workflows
        await wire.create(**fields)
        assert (await wire.finished("w")).state == workflow_pb2.WORKFLOW_STATE_COMPLETED
        assert (await wire.create(**fields)).workflow.id == "w"


@pytest.mark.parametrize("how", [_raise, _hang, _nonsense])
async def test_resources_are_asked_for_until_there_is_an_answer(server: Server, how: Callable[[], Any]) -> None:
    async with connected(str(server.address), token(server)) as wire:
        ill["resources"] = how
        await wire.create(plan=plan_of(a=()), workflow_id="w", resource_requirements='{"gpus": 1}')
        await asyncio.sleep(0.5)
        running = (await wire.call("GetWorkflow", _w.GetWorkflowRequest(workflow_id="w"))).workflow
        assert running.state not in (workflow_pb2.WORKFLOW_STATE_FAILED, workflow_pb2.WORKFLOW_STATE_COMPLETED)
        ill.clear()
        assert (await wire.finished("w")).state == workflow_pb2.WORKFLOW_STATE_COMPLETED


@pytest.mark.parametrize("how", [_raise, _hang])
async def test_a_run_does_not_notice_what_becomes_of_telemetry(server: Server, how: Callable[[], Any]) -> None:
    async with connected(str(server.address), token(server)) as wire:
        ill["telemetry"] = how
        await wire.create(plan=plan_of(a=(), b=("a",)), workflow_id="w")
        assert (await wire.finished("w")).state == workflow_pb2.WORKFLOW_STATE_COMPLETED


async def test_an_attempt_that_met_a_failing_authorization_is_made_again(server: Server) -> None:
    async with connected(str(server.address), token(server)) as wire:
        await wire.create(plan=plan_of(a=()), workflow_id="w", auto_start=False)
        lost.extend(["once", "twice"])
        await wire.call("StartWorkflow", _w.StartWorkflowRequest(workflow_id="w"))
        done = await wire.finished("w")
        assert (done.state, lost) == (workflow_pb2.WORKFLOW_STATE_COMPLETED, [])


@pytest.mark.parametrize("method", ["WatchWorkflow", "WatchWorkflows", "WatchMemory", "WatchPendingInputs"])
async def test_who_is_moved_to_another_namespace_does_not_go_on_watching_the_old_one(
    server: Server, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(openwatches, "RECHECK_S", 0.05)
    async with connected(str(server.address), token(server)) as wire:
        await wire.create(plan=plan_of(a=()), workflow_id="w", auto_start=False)
        named = {"workflow_id": "w"} if method == "WatchWorkflow" else {}
        watch = wire.call(method, kind_of(methods()[method].input_type)(**named))
        await watch.initial_metadata()
        homes["ann"] = "elsewhere"
        async with asyncio.timeout(20):
            told = await broken_off(watch, [])
        assert told.code is grpc.StatusCode.PERMISSION_DENIED
