"""The events of one tenant reach its telemetry hook whatever the hooks of another do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orcs_server.hooks import GuardedHooks, HookSet, Origin
from orcs_server.identity import Caller
from orcs_server.service import recording as module
from orcs_server.service.recording import EventRecording
from orcs_server.storage.store import EventRecord
from orcs_server.workflow import events as e


class Tenants:
    """A factory that hangs for ann, and notes for others what they are told and why."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, Origin]] = []

    async def __call__(self, caller: Caller, /, origin: Origin) -> HookSet:
        if caller.principal == "ann":
            await asyncio.Event().wait()
        told = self.told

        class Telemetry:
            def record_event(self, event_type: str, resource_id: str, metadata: dict[str, Any]) -> None:
                told.append((event_type, resource_id, origin))

        return HookSet(telemetry=Telemetry())


def record(namespace: str, number: int) -> list[EventRecord]:
    return [EventRecord(namespace, f"w{number}", 1, 0, "orcs", "", e.WorkflowStarted())]


async def test_a_factory_that_hangs_for_one_tenant_delays_nobody_elses_events(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE_S", 0.1)
    tenants = Tenants()
    hooks = GuardedHooks(tenants, time_limit_us=3_600_000_000)
    recording = EventRecording(hooks)
    for number in range(5):
        recording.note(Caller("ann", "a"), None, record("a", number))
        recording.note(Caller("bob", "b"), None, record("b", number), Origin.TIMER)
    async with asyncio.timeout(20):
        while len(tenants.told) < 5:  # noqa: ASYNC110 - what is waited for is told in a thread
            await asyncio.sleep(0.01)
    assert tenants.told == [("WorkflowStarted", f"w{number}", Origin.TIMER) for number in range(5)]
    await recording.close()
    await hooks.close()
    assert "5 commits were not recorded" in caplog.text


async def test_a_tenant_that_cannot_keep_up_loses_its_own_events_only(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE_LIMIT", 3)
    monkeypatch.setattr(module, "GRACE_S", 0.1)
    tenants = Tenants()
    hooks = GuardedHooks(tenants, time_limit_us=3_600_000_000)
    recording = EventRecording(hooks)
    for number in range(5):
        recording.note(Caller("ann", "a"), None, record("a", number))
    assert recording.dropped == 2
    assert caplog.text.count("cannot keep up") == 1
    recording.note(Caller("bob", "b"), None, record("b", 0))
    async with asyncio.timeout(20):
        while not tenants.told:  # noqa: ASYNC110 - what is waited for is told in a thread
            await asyncio.sleep(0.01)
    await recording.close()
    await hooks.close()
