"""The client against the real server: every call, and one watch over kills."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orcs_client import BlockingOrcsClient, Event, NotFound, OrcsClient, Snapshot, Unauthenticated, plan
from orcs_client.v1 import workflow_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server_process import ServerProcess


def fan(agent_id: str, width: int) -> workflow_pb2.Plan:
    """Return a plan of so many tasks side by side and one that joins them."""
    sides = [f"side{index}" for index in range(width)]
    made = plan(
        [{"id": side, "title": side, "description": f"Look into {side}.", "agent_id": agent_id} for side in sides]
    )
    join = plan(
        [{"id": "join", "title": "Join", "description": "Join all.", "agent_id": agent_id, "dependencies": sides}]
    )
    made.tasks.extend(join.tasks)
    return made


async def test_every_call_reaches_the_real_server(orcs_server_process: ServerProcess) -> None:
    async with OrcsClient(orcs_server_process.address, token=orcs_server_process.token) as client:
        info = await client.get_server_info()
        assert info.model.offline
        agents = [agent.id async for agent in client.list_agents(page_size=1)]
        assert (await client.get_agent(agents[0])).agent.id == agents[0]
        preview = await client.preview_plan(plan=plan([{"title": "A", "agent_id": "nobody"}]))
        assert [violation.field for violation in preview.violations]
        assert (await client.preview_plan("compare apples and pears")).plan.tasks

        outcome = await client.run(plan=fan(agents[0], 2), labels={"test": "every call"})
        workflow_id = outcome.workflow.id
        assert outcome.output.complete
        usage = await client.get_usage(days=1)
        assert usage.namespace == info.caller.namespace
        assert usage.days[0].usage.requests >= outcome.workflow.usage.requests > 0
        full = await client.get_workflow(workflow_id, full=True)
        assert [task.id for task in full.tasks] == ["side0", "side1", "join"]
        tasks = [task.id async for task in client.list_tasks(workflow_id, page_size=2)]
        assert tasks == ["side0", "side1", "join"]
        assert (await client.get_task(workflow_id, "join", full=True)).task.output.text
        assert "join" in (await client.render_graph(workflow_id)).content.text.lower()
        items = [item async for item in client.watch(workflow_id, snapshot=True)]
        assert isinstance(items[0], Snapshot)
        assert [task.id for task in items[0].tasks] == ["side0", "side1", "join"]
        listed = [workflow.id async for workflow in client.list_workflows(labels={"test": "every call"})]
        assert listed == [workflow_id]
        await client.delete_workflow(workflow_id)
        with pytest.raises(NotFound):
            await client.get_workflow(workflow_id)
    async with OrcsClient(orcs_server_process.address, token="wrong") as client:
        with pytest.raises(Unauthenticated):
            await client.get_server_info()


def test_one_watch_over_kills_of_the_real_server_equals_its_log(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server(offline_pace="0.02")
    with BlockingOrcsClient(server.address, token=server.token) as client:
        agent_id = next(client.list_agents()).id
        workflow_id = client.create_workflow(plan=fan(agent_id, 6)).workflow.id
        seen: list[Event] = []
        kills = [12, 30]
        for item in client.watch(workflow_id):
            assert isinstance(item, Event)
            seen.append(item)
            if kills and len(seen) >= kills[0]:
                kills.pop(0)
                server.kill()
                server.start()
        assert kills == []
        log = [item for item in client.watch(workflow_id) if isinstance(item, Event)]
        after_each = [next(client.watch(workflow_id, after_cursor=item.cursor)) for item in seen[:-1]]
    assert [item.message for item in seen] == [item.message for item in log]
    assert [item.sequence for item in seen] == list(range(1, len(seen) + 1))
    assert [item.sequence for item in after_each if isinstance(item, Event)] == list(range(2, len(seen) + 1))
