"""`orcs doctor` and `orcs why` name what is wrong: a model server that is down, a hook that hangs, a disk that is full, a task that may
be what ends the server. Real servers, real files, the real command line.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from orcs_client.v1 import system_service_pb2
from tests.cli.command_line import Ended, orcs
from tests.rpc.wire import Wire, connected, plan_of, refused
from tests.server_process import ServerProcess
from tests.test_disk_trouble import small_disk, use_up, use_up_log

__all__ = ["small_disk"]

Start = Callable[..., ServerProcess]
_Code = system_service_pb2.ProblemCode


async def command(server: ServerProcess, *words: str) -> Ended:
    return await asyncio.to_thread(orcs, *words, server=server)


async def problems_of(wire: Wire) -> dict[str, str]:
    """Return what a server lists: subject and text by kind."""
    reply = await wire.call("ListProblems", system_service_pb2.ListProblemsRequest())
    return {_Code.Name(one.code).removeprefix("PROBLEM_CODE_"): f"{one.subject}: {one.text}" for one in reply.problems}


async def until_listed(wire: Wire, code: str) -> str:
    async with asyncio.timeout(60):
        while code not in (found := await problems_of(wire)):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
    return found[code]


async def why(server: ServerProcess, workflow_id: str, code: str) -> str:
    """Ask until `orcs why` gives this reason, of the workflow or of a task; return its sentence."""
    async with asyncio.timeout(60):
        while True:
            told = (await command(server, "why", workflow_id, "--server", server.address, "--json")).json
            reasons = [*told["explanation"].get("why", ()), *(one for task in told["tasks"] for one in task["why"])]
            for reason in reasons:
                if reason["code"] == f"REASON_CODE_{code}":
                    return str(reason["text"])
            await asyncio.sleep(0.2)


async def test_a_server_without_trouble_has_no_problems(start_server: Start) -> None:
    server = start_server()
    async with connected(server.address, server.token) as wire:
        assert await problems_of(wire) == {}
    ran = await command(server, "doctor", "--data", str(server.data), "--json")
    assert (ran.code, ran.json["healthy"], ran.json["server"]["problems"]) == (0, True, [])
    plain = await command(server, "doctor", "--server", server.address)
    assert plain.code == 0
    assert "no problems" in plain.out


async def test_a_model_server_that_is_down_is_named(start_server: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    server = start_server(
        model_base_url=address, model_name="m", retry_initial_backoff="0.01", retry_max_backoff="0.02"
    )
    async with connected(server.address, server.token) as wire:
        await wire.create(workflow_id="w1", plan=plan_of(a=(), b=(), c=()))
        assert address in await until_listed(wire, "MODEL_ENDPOINT_DOWN")
    assert "down" in await why(server, "w1", "MODEL_OUTAGE")
    ran = await command(server, "doctor", "--data", str(server.data))
    assert ran.code == 1
    assert "MODEL_ENDPOINT_DOWN" in ran.out
    assert address in " ".join(ran.out.split())


async def test_a_hook_that_hangs_is_named_even_where_it_keeps_everybody_out(start_server: Start) -> None:
    server = start_server(hooks="tests.stuck_hooks:factory", hook_timeout="0.2", offline_pace="30")
    tokens = {
        name: server.create_token(name, "default", "administer")
        for name in ("stuck-context", "stuck-authorization", "denied")
    }
    viewer = server.create_token("viewer", "default", "operate")
    await asyncio.sleep(1.5)  # Tokens that are added to a running server hold within a second.
    async with connected(server.address, server.token) as wire:
        await wire.create(workflow_id="w1", plan=plan_of(a=()))
        async with connected(server.address, tokens["stuck-context"]) as stuck:
            assert (await refused(stuck.create(workflow_id="w2", plan=plan_of(a=())))).reason == "HOOK_FAILED"
        assert "context: The context hook does not answer in time" in (await problems_of(wire))["HOOK_FAILING"]
        async with connected(server.address, tokens["stuck-authorization"]) as stuck:
            # Nobody gets past the hook, and an administrator learns why.
            assert "HOOK_FAILING" in await problems_of(stuck)
            assert (await refused(stuck.create(workflow_id="w3", plan=plan_of(a=())))).reason == "PERMISSION_DENIED"
        async with connected(server.address, viewer) as other:
            assert (await refused(problems_of(other))).reason == "PERMISSION_DENIED"
    assert "hook does not answer" in await why(server, "w1", "HOOK_TROUBLE")
    ran = await command(server, "doctor", "--server", server.address)
    assert ran.code == 1
    assert "HOOK_FAILING" in ran.out


async def test_a_quota_that_is_exhausted_is_named_to_its_namespace_and_to_who_runs_the_server(
    start_server: Start,
) -> None:
    server = start_server(namespace_defaults_max_workflows="1")
    other = server.create_token("bob", "other", "administer")
    async with connected(server.address, server.token) as wire, connected(server.address, other) as bob:
        await wire.create(workflow_id="w1", plan=plan_of(a=()), auto_start=False)
        assert (await refused(wire.create(query="q"))).reason == "QUOTA_EXCEEDED"
        found = await problems_of(wire)
        assert "max_workflows: default: The namespace has 1 unended workflow," in found["QUOTA_EXHAUSTED"]
        async with asyncio.timeout(10):
            while True:
                try:
                    assert await problems_of(bob) == {}
                    break
                except grpc.aio.AioRpcError:  # A running server knows a token within a second.
                    await asyncio.sleep(0.1)
        # Who runs the server learns of everybody's.
        await bob.create(workflow_id="w1", plan=plan_of(a=()), auto_start=False)
        assert "max_workflows: The namespace has 1" in (await problems_of(bob))["QUOTA_EXHAUSTED"]
    ran = await command(server, "doctor", "--server", server.address)
    assert ran.code == 1
    assert "default: The namespace has 1 unended workflow," in ran.out
    assert "other: The namespace has 1 unended workflow," in ran.out


async def test_a_hook_that_says_no_is_obeyed(start_server: Start) -> None:
    server = start_server(hooks="tests.stuck_hooks:factory")
    token = server.create_token("denied", "default", "administer")
    await asyncio.sleep(1.5)
    async with connected(server.address, token) as wire:
        assert (await refused(problems_of(wire))).reason == "PERMISSION_DENIED"


async def test_storage_that_takes_no_writes_is_named(start_server: Start) -> None:
    server = start_server(offline_pace="2")
    async with connected(server.address, server.token) as wire:
        await wire.create(workflow_id="w1", plan=plan_of(a=(), b=("a",)))
        _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (8192, hard))
        await refused(wire.create(workflow_id="w2", plan=plan_of(a=())))
        found = await problems_of(wire)
        assert found.keys() & {"STORAGE_FAILING", "DISK_FULL"}
        assert await why(server, "w1", "STORAGE_TROUBLE")
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))
        await wire.finished("w1")
        async with asyncio.timeout(60):
            while await problems_of(wire):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.2)


async def test_a_full_disk_is_named(small_disk: Path, start_server: Start) -> None:
    server = ServerProcess(small_disk).start()
    try:
        async with connected(server.address, server.token) as wire:
            await wire.create(workflow_id="w1", plan=plan_of(a=()))
            use_up(small_disk / "filler")
            await use_up_log(wire)
            for number in range(3):
                await refused(wire.create(workflow_id=f"full{number}", plan=plan_of(a=())))
            assert "full" in await until_listed(wire, "DISK_FULL")
        ran = await command(server, "doctor", "--data", str(server.data), "--json")
        assert ran.code == 1
        assert [one["check"] for one in ran.json["warnings"]] == ["disk"]
    finally:
        server.kill()


async def test_a_task_that_may_be_what_ends_the_server_is_named(start_server: Start) -> None:
    server = start_server(offline_pace="60")
    async with connected(server.address, server.token) as wire:
        await wire.create(workflow_id="w1", plan=plan_of(a=()))
        await running(wire)
    for _ in range(2):
        server.kill()
        server.start()
        async with connected(server.address, server.token) as wire:
            await running(wire)
    async with connected(server.address, server.token) as wire:
        found = (await problems_of(wire))["TASK_POISONED"]
        assert found.startswith("w1/a: Task 'a' of workflow 'w1' was lost with the server 2 times in a row")
        other = server.create_token("eve", "other", "administer")
        await asyncio.sleep(1.5)
        async with connected(server.address, other) as elsewhere:
            assert await problems_of(elsewhere) == {}
    told = (await command(server, "why", "w1", "a", "--server", server.address)).out
    assert "2 lost in a row" in told
    ran = await command(server, "doctor", "--data", str(server.data))
    assert ran.code == 1
    assert "TASK_POISONED" in ran.out
    server.kill()
    alone = await command(server, "doctor", "--data", str(server.data), "--json")
    assert alone.code == 1
    assert [(one["check"], one["workflow_id"]) for one in alone.json["warnings"]] == [("poisoned", "w1")]
    assert alone.json["findings"] == []


async def running(wire: Wire) -> Any:
    """Wait until the task's attempt runs."""
    from orcs_client.v1 import task_service_pb2, workflow_pb2

    async with asyncio.timeout(60):
        while True:
            reply = await wire.call("GetTask", task_service_pb2.GetTaskRequest(workflow_id="w1", task_id="a"))
            if reply.task.state == workflow_pb2.TASK_STATE_RUNNING:
                return reply.task
            await asyncio.sleep(0.05)


async def test_a_server_that_tells_nothing_is_told_of(start_server: Start, tmp_path: Path) -> None:
    server = start_server()
    viewer = tmp_path / "viewer.token"
    viewer.write_text(server.create_token("viewer", "default", "view"))
    viewer.chmod(0o600)
    await asyncio.sleep(1.5)
    ran = await command(server, "doctor", "--server", server.address, "--token-file", str(viewer), "--json")
    assert ran.code == 1
    assert "administer" in ran.json["server"]["silence"]


@pytest.mark.parametrize("text", ["{", '{"token_file": null}', '{"token_file": 7, "pid": "x"}'])
async def test_announcements_that_say_nothing_are_passed_by(start_server: Start, text: str) -> None:
    server = start_server()
    folder = server.folder / "state" / "orcs" / "servers"
    (folder / "0_1.json").write_text(text)
    ran = await command(server, "doctor", "--data", str(server.data), "--json")
    assert (ran.code, ran.json["server"]["address"]) == (0, server.address)
