"""What agents do to memory and to plans is in the audit log, for whom they do it, in the transaction of the change."""

from __future__ import annotations

import json
from pathlib import Path

from tests.engines.support import server, task
from tests.executor.memories import coded as remembering
from tests.executor.memories import telling, told, use
from tests.executor.test_people import coded, proposal, proposed


async def test_tasks_that_an_agent_adds_are_recorded_for_it(tmp_path: Path) -> None:
    agent = coded([proposal(proposed("x"), proposed("y"))], telling())
    async with server(tmp_path / "orcs.db", agents=[agent]) as world:
        await world.create(tasks=[task("a", agent_id="coded")])
        await world.end()
        (record,) = await world.store.audit.records("default", 0, 10)
    draft = record.draft
    assert (draft.operation, draft.method, draft.agent, draft.task_id) == ("plans.edit", "agent", "coded", "a")
    assert (draft.resource, draft.workflow_id) == ("w1", "w1")
    assert json.loads(draft.details) == {"edits": 2, "attempt": 1}


async def test_each_change_of_memory_by_an_agent_is_recorded_once(tmp_path: Path) -> None:
    agent = remembering(
        "keeper",
        [use("memory_put", "p1", key="a", value="x"), use("memory_put", "p2", key="a", value="x", expected_version=9)],
        [use("memory_delete", "d1", key="a")],
        telling(),
    )
    async with server(tmp_path / "orcs.db", agents=[agent]) as world:
        await world.create(tasks=[task("a", agent_id="keeper")])
        await told(world)
        records = await world.store.audit.records("default", 0, 10)
    assert [(one.draft.operation, json.loads(one.draft.details)) for one in records] == [
        ("memory.write", {"change": "put", "scope": "workflow:w1", "key": "a"}),
        ("memory.delete", {"change": "delete", "scope": "workflow:w1", "key": "a"}),
    ]
