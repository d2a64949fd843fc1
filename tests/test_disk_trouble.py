"""A real server whose disk is full or whose file is damaged: it says so, acknowledges nothing that it has not stored, and goes
on by itself once the disk is back.
"""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orcs_client.v1 import workflow_pb2, workflow_service_pb2
from orcs_server.storage.sqlite.examination import examine
from tests.rpc.wire import Wire, connected, plan_of, refused, rest_of, sequences
from tests.server_process import ServerProcess
from tests.storage.test_sqlite_copies import damage

Start = Callable[..., ServerProcess]
_w = workflow_service_pb2
_Status = health_pb2.HealthCheckResponse


async def says(wire: Wire, status: Any) -> None:
    """Wait until health says so."""
    watch = health_pb2_grpc.HealthStub(wire.channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
    while (await watch.read()).status != status:
        pass
    watch.cancel()


async def use_up_log(wire: Wire) -> None:
    """Write until the disk is met: the log may have room left of what was written before."""
    for number in range(200):
        try:
            await wire.create(workflow_id=f"room{number}", plan=plan_of(a=()), auto_start=False)
        except grpc.aio.AioRpcError:
            return


async def goes_on_after(server: ServerProcess, fill: Callable[[], object], empty: Callable[[], object]) -> None:
    """Fill the disk under a server at work and make room again: see what it says and what is there in the end."""
    async with connected(server.address, server.token) as wire:
        await wire.create(workflow_id="before", plan=plan_of(a=(), b=("a",), c=("b",)))
        fill()
        await use_up_log(wire)
        refusals = [await refused(wire.create(workflow_id=f"full{each}", plan=plan_of(a=()))) for each in range(3)]
        assert {(each.code.name, each.reason) for each in refusals} == {("UNAVAILABLE", "STORAGE_UNAVAILABLE")}
        await says(wire, _Status.NOT_SERVING)
        answer = await refused(wire.create(workflow_id="full0", plan=plan_of(a=())))
        assert answer.reason == "STORAGE_UNAVAILABLE"
        empty()
        await says(wire, _Status.SERVING)
        for each in range(3):
            answer = await refused(wire.call("GetWorkflow", _w.GetWorkflowRequest(workflow_id=f"full{each}")))
            assert answer.reason == "WORKFLOW_NOT_FOUND"
        await wire.create(workflow_id="after", plan=plan_of(a=()))
        for name in ("before", "after"):
            assert (await wire.finished(name)).state == workflow_pb2.WORKFLOW_STATE_COMPLETED
            numbers = sequences(await wire.watched(workflow_id=name))
            assert numbers == list(range(1, len(numbers) + 1))
    server.kill()
    assert examine(server.data).findings == []


async def test_a_server_whose_files_may_not_grow_any_more_goes_on_once_they_may(start_server: Start) -> None:
    server = start_server(offline_pace="0.5")
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    await goes_on_after(
        server,
        lambda: resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (8192, hard)),
        lambda: resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard)),
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of eight megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def use_up(file: Path) -> None:
    with file.open("wb", buffering=0) as filler:
        while True:
            try:
                filler.write(bytes(4096))
            except OSError:
                return


async def test_a_server_whose_disk_is_full_goes_on_once_there_is_room(small_disk: Path) -> None:
    server = ServerProcess(small_disk, offline_pace="0.5").start()
    filler = small_disk / "filler"
    try:
        await goes_on_after(server, lambda: use_up(filler), filler.unlink)
    finally:
        server.kill()


async def test_a_server_with_a_damaged_page_says_so_and_still_shows_what_can_be_read(start_server: Start) -> None:
    server = start_server()
    async with connected(server.address, server.token) as wire:
        await wire.create(workflow_id="w1", plan=plan_of(a=()))
        await wire.finished("w1")
    server.kill()
    damage(server.data)
    server.start()
    async with connected(server.address, server.token) as wire:
        for call in (
            rest_of(wire.watch(workflow_id="w1", after_cursor="")),
            wire.create(workflow_id="w2", plan=plan_of(a=())),
        ):
            answer = await refused(call)
            assert (answer.code.name, answer.reason) == ("UNAVAILABLE", "STORAGE_UNAVAILABLE")
            assert "restore it from a backup" in answer.message
        await says(wire, _Status.NOT_SERVING)
        workflow = (await wire.call("GetWorkflow", _w.GetWorkflowRequest(workflow_id="w1"))).workflow
        assert workflow.state == workflow_pb2.WORKFLOW_STATE_COMPLETED
