"""What an agent does is asked of the authorization hook as "agent X for principal Y", and hooks are told why they are asked."""

from __future__ import annotations

import asyncio
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from agents import function_tool
from agents.testing import ModelStep, function_call

from orcs_server.hooks import AgentLeave, GuardedHooks, HookSet, Origin, agent_leave
from orcs_server.identity import Caller
from orcs_server.memory import Actor, Check, Delete, Memory, Put, Rule, agent_scope, task_scope, workflow_scope
from orcs_server.memory.access import Permission
from orcs_server.memory.asking import AskingHistory, AskingMemory
from orcs_server.memory.history import At, History
from orcs_server.memory.values import encode
from orcs_server.workflow.model import FailureKind
from orcs_server.workflow.states import WorkflowStatus
from tests.engines.support import Gate, Stage, plan_of, server, task
from tests.executor.memories import coded, put, telling, told, use

W1 = workflow_scope("w1")


class Gatekeeper:
    """Notes who asks for what, as whom and why, and forbids what it is told to."""

    def __init__(self, *forbidden: tuple[str, str]) -> None:
        self.asked: list[tuple[str, str, str, str]] = []
        """(agent, principal, operation, resource)"""
        self.origins: list[tuple[str, Origin]] = []
        self.forbidden = set(forbidden)
        self.broken: set[str] = set()
        self.resources: list[tuple[str, Origin]] = []

    def factory(self, caller: Caller, /, origin: Origin) -> HookSet:
        keeper = self

        class Hooks:
            def check_permission(self, operation: str, resource_id: str) -> Any:
                keeper.asked.append((caller.agent, caller.principal, operation, resource_id))
                if operation == "agents.run":
                    keeper.origins.append((resource_id, origin))
                if operation in keeper.broken:
                    keeper.broken.discard(operation)
                    raise OSError("the permission service is away")
                return (operation, resource_id) not in keeper.forbidden and (operation, "*") not in keeper.forbidden

            def allocate_resources(self, workflow_id: str, requirements: dict[str, Any]) -> bool:
                keeper.resources.append(("allocate", origin))
                return True

            def release_resources(self, workflow_id: str) -> None:
                keeper.resources.append(("release", origin))

        hooks = Hooks()
        return HookSet(authorization=hooks, resources=hooks)


@function_tool
def launch(what: str) -> str:
    """Launch something."""
    launched.append(what)
    return f"launched {what}"


launched: list[str] = []


async def test_each_thing_that_an_agent_does_is_asked_for_as_the_agent_and_its_principal(tmp_path: Path) -> None:
    launched.clear()
    keeper = Gatekeeper()
    calls = [
        use("memory_put", "p", key="k", value="v"),
        use("memory_get", "g", key="k", scope="workflow"),
        function_call("launch", {"what": "it"}, call_id="l"),
    ]
    writer = coded("writer", calls, telling(), tools=[launch])
    async with server(tmp_path / "orcs.db", factory=keeper.factory, agents=[writer]) as world:
        await world.create(tasks=[task("a", agent_id="writer")])
        answers = await told(world)
    assert answers["l"] == "launched it"
    assert {(agent, principal) for agent, principal, *_ in keeper.asked} == {("writer", "ada")}
    asked = {(operation, resource) for *_, operation, resource in keeper.asked}
    assert asked >= {
        ("agents.run", "writer"),
        *(("tools.call", name) for name in ("memory_put", "memory_get", "launch")),
        ("memory.write", W1),
        ("memory.read", W1),
    }


async def test_a_tool_that_is_not_permitted_is_not_called_and_the_model_is_told(tmp_path: Path) -> None:
    launched.clear()
    keeper = Gatekeeper(("tools.call", "launch"))
    agent = coded("pilot", [function_call("launch", {"what": "it"}, call_id="l")], telling(), tools=[launch])
    async with server(tmp_path / "orcs.db", factory=keeper.factory, agents=[agent]) as world:
        await world.create(tasks=[task("a", agent_id="pilot")])
        answers = await told(world)
    assert answers["l"] == "The call was not made: the agent pilot may not tools.call launch here."
    assert launched == []


async def test_memory_that_is_not_permitted_is_neither_told_nor_shown_nor_changed(tmp_path: Path) -> None:
    keeper = Gatekeeper(("memory.read", "global"), ("memory.write", W1), ("memory.delete", W1))
    shown: list[str] = []
    calls = [
        use("memory_get", "g1", key="secret"),
        use("memory_get", "g2", key="secret", scope="global"),
        use("memory_search", "s1", query="harbour"),
        use("memory_list", "l1", scope="global"),
        use("memory_put", "p1", key="k", value="v"),
        use("memory_delete", "d1", key="kept"),
    ]

    def first(call: Any) -> list[Any]:
        shown.extend(str(one) for one in call.input)
        return calls

    agent = coded("reader", ModelStep.respond(first), telling())
    async with server(tmp_path / "orcs.db", factory=keeper.factory, agents=[agent]) as world:
        await put(world, "secret", "the harbour is mined", "global")
        await put(world, "pinned/secret", "the harbour is mined", "global")
        await put(world, "kept", "v")
        await world.create(tasks=[task("a", agent_id="reader")])
        answers = await told(world)
        memory = Memory(world.store)
        assert await memory.get("default", Actor("olga"), "k", W1) is None
        assert await memory.get("default", Actor("olga"), "kept", W1) is not None
    assert "mined" not in json.dumps([shown, answers])
    assert answers["g1"] == "There is nothing under the key 'secret' where you may look."
    assert answers["s1"] == "Nothing was found."
    for call in ("g2", "l1", "p1", "d1"):
        assert answers[call].startswith("Nothing was done: the agent reader may not memory."), answers[call]


async def test_an_agent_that_may_not_run_fails_for_good_and_one_of_whom_it_is_not_known_tries_again(
    tmp_path: Path,
) -> None:
    keeper = Gatekeeper(("agents.run", "other"))
    keeper.broken = {"agents.run"}
    async with server(tmp_path / "orcs.db", factory=keeper.factory) as world:
        await world.create(tasks=[task("a")])
        done = await world.end()
        await world.create("w2", tasks=[task("a", agent_id="other")])
        failed = await world.until(WorkflowStatus.FAILED, "w2")
    assert done.tasks[0].progress.attempt == 2
    failure = failed.tasks[0].progress.failure
    assert failure is not None
    assert (failure.kind, failed.tasks[0].progress.attempt) == (FailureKind.PERMISSION_DENIED, 1)


async def test_the_planner_needs_leave_too(tmp_path: Path) -> None:
    keeper = Gatekeeper(("agents.run", "planner"))
    async with server(tmp_path / "orcs.db", factory=keeper.factory) as world:
        await world.create()
        failed = await world.until(WorkflowStatus.FAILED)
    assert failed.summary.progress.failure is not None
    assert world.stage.calls == []


async def test_hooks_are_told_whether_a_call_a_timer_or_a_recovery_has_set_the_workflow_in_motion(
    tmp_path: Path,
) -> None:
    keeper, stage, gate = Gatekeeper(), Stage(), Gate()
    stage.acts.update({"": [plan_of(("a", ()), ("b", (0,)))], "a": [ConnectionError("once"), "done"], "b": [gate]})
    async with server(tmp_path / "orcs.db", stage, factory=keeper.factory, stop=False) as world:
        await world.create(holds_resources=True)
        async with asyncio.timeout(20):
            await gate.reached.wait()
    assert keeper.origins[:2] == [("planner", Origin.RPC), ("worker", Origin.RPC)]
    assert set(keeper.origins[2:]) == {("worker", Origin.TIMER)}  # The retry came by a timer, and b by the retry.
    assert keeper.resources == [("allocate", Origin.RPC)]
    before = len(keeper.origins)
    async with server(tmp_path / "orcs.db", factory=keeper.factory) as world:
        await world.end()
        await world.at_rest()
    assert set(keeper.origins[before:]) == {("worker", Origin.RECOVERY)}
    assert keeper.resources[-1] == ("release", Origin.RECOVERY)


async def test_every_way_into_memory_asks(tmp_path: Path) -> None:
    keeper = Gatekeeper()
    async with server(tmp_path / "orcs.db", factory=keeper.factory) as world:
        memory, actor = Memory(world.store), Actor("ada", "writer", "w1", "a")
        await memory.access.set_rules("default", Actor("olga"), [Rule("agent:writer", "*", tuple(Permission))], 0)
        for scope in (W1, "shared:secret"):
            await memory.put("default", Actor("olga"), "tea", encode("green tea"), scope)
            await memory.history.create_snapshot("default", Actor("olga"), scope)
        asking = AskingMemory(memory, await _leave(keeper))
        history = asking.history

        def each(scope: str) -> list[Any]:
            return [
                asking.get("default", actor, "tea", scope),
                asking.page("default", actor, scope),
                asking.keys("default", actor, scope),
                asking.search("default", actor, "tea", (scope,)),
                asking.put("default", actor, "tea", encode("x"), scope),
                asking.batch("default", actor, [Check(scope, "tea", 2), Put(scope, "milk", encode("y"))]),
                asking.batch("default", actor, [Delete(scope, "milk", 1)]),
                asking.share("default", actor, "tea", scope, "shared:other"),
                asking.changes("default", actor, 0, scope),
                history.get("default", actor, "tea", scope, At()),
                history.page("default", actor, scope, At()),
                history.versions("default", actor, "tea", scope),
                history.compare("default", actor, scope, 1 if scope == W1 else 2),
                history.snapshots("default", actor, scope),
                history.never_read("default", actor, scope),
                history.create_snapshot("default", actor, scope),
                history.restore("default", actor, scope, 1 if scope == W1 else 2),
                history.revert("default", actor, "tea", scope, 1),
                history.delete_snapshot("default", actor, scope, 1 if scope == W1 else 2),
            ]

        for call in each(W1):
            await call
        keeper.forbidden = {
            (f"memory.{name}", "shared:secret") for name in ("read", "write", "delete", "share", "revert")
        }
        before = await _versions(memory)
        for call in each("shared:secret"):
            with pytest.raises(Exception, match="the agent writer may not memory"):
                await call
        assert await _versions(memory) == before
        # Where no scope is named, what may not be read is left out.
        assert {hit.entry.scope for hit in await asking.search("default", actor, "tea")} == {W1, "shared:other"}
        assert "shared:secret" not in {one.scope for one in await history.snapshots("default", actor)}
        assert "shared:secret" not in {one.scope for one in (await history.scopes("default", actor)).scopes}
        assert {one.scope for one in await history.hot("default", actor)} <= {W1, "shared:other"}
        assert "shared:secret" not in {one.scope for one in (await asking.changes("default", actor, 0)).versions}
        assert await asking.get("default", actor, "tea", among=("shared:secret",)) is None
        named = (task_scope("w1", "a"), W1, agent_scope("writer"), "global")
        assert tuple(await asking.visible(named)) == named


async def _leave(keeper: Gatekeeper) -> AgentLeave:
    leave = await agent_leave(GuardedHooks(keeper.factory), Caller("ada", "default"), "writer", Origin.RPC)
    assert leave is not None
    return leave


async def _versions(memory: Memory) -> list[Any]:
    moment = await memory.history.moment("default", At())
    return [moment.position, *await memory.history.snapshots("default", Actor("olga"))]


def test_no_way_into_memory_is_forgotten() -> None:
    """A method that is added to memory has to ask, or be named here with the reason why it need not."""
    safe = {
        # They call those that ask, tell nothing of anybody's entries, or are never for agents.
        Memory: {"put", "delete", "keys", "watch", "news", "written_by", "remember", "close"},
        History: {"moment", "quarantine", "purge"},
    }
    for plain, asking in ((Memory, AskingMemory), (History, AskingHistory)):
        methods = {name for name, one in vars(plain).items() if inspect.iscoroutinefunction(one) and name[0] != "_"}
        methods |= {name for name, one in vars(plain).items() if inspect.isasyncgenfunction(one)}
        assert methods - set(vars(asking)) == safe[plain]
