"""A server from its start to its end: refused starts, orderly ends, sudden ends, and what clients see of them."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orcs_client import Event, OrcsClient
from orcs_client.v1 import system_service_pb2, workflow_pb2, workflow_service_pb2
from orcs_server.app import Server, run
from orcs_server.errors import StartupError
from orcs_server.identity import Caller
from orcs_server.memory import Actor
from orcs_server.memory.values import encode
from orcs_server.service.requests import NewWorkflow
from orcs_server.storage.sqlite import SqliteStore
from tests.rpc.servers import settings_in
from tests.rpc.wire import Wire, broken_off, connected, plan_of
from tests.server_process import ServerProcess
from tests.storage.samples import Draft

_w = workflow_service_pb2
Start = Callable[..., ServerProcess]


def chain(length: int) -> workflow_pb2.Plan:
    names = [f"c{number}" for number in range(length)]
    return plan_of(**{name: tuple(names[max(place - 1, 0) : place]) for place, name in enumerate(names)})


async def log_of(wire: Wire, workflow_id: str) -> list[Any]:
    return [event for reply in await wire.watched(workflow_id=workflow_id) for event in reply.events]


async def test_a_client_sees_the_whole_log_once_although_the_server_is_killed_under_it(start_server: Start) -> None:
    server = start_server(offline_pace="0.2")
    seen: list[Event] = []
    async with OrcsClient(server.address, token=server.token) as client:
        created = await client.create_workflow(plan=chain(5))
        killed = False
        async for item in client.watch(created.workflow.id):
            assert isinstance(item, Event)
            seen.append(item)
            if item.message.WhichOneof("body") == "task_completed" and not killed:
                killed = True
                server.kill()
                await asyncio.to_thread(server.start)
        assert killed
    async with connected(server.address, server.token) as wire:
        log = await log_of(wire, created.workflow.id)
        workflow = (await wire.call("GetWorkflow", _w.GetWorkflowRequest(workflow_id=created.workflow.id))).workflow
    assert workflow.state == workflow_pb2.WORKFLOW_STATE_COMPLETED
    assert [item.message for item in seen] == log
    assert [event.sequence for event in log] == list(range(1, len(log) + 1))
    assert "attempt_lost" in {event.WhichOneof("body") for event in log}


async def test_an_orderly_end_tells_watches_where_to_go_on_and_loses_nothing(start_server: Start) -> None:
    server = start_server(offline_pace="0.3", drain_grace="0")
    announced = next((server.folder / "state" / "orcs" / "servers").iterdir())
    assert json.loads(announced.read_bytes())["address"] == server.address
    async with connected(server.address, server.token) as wire:
        created = await wire.create(plan=chain(3))
        health = health_pb2_grpc.HealthStub(wire.channel).Watch(health_pb2.HealthCheckRequest())
        assert (await health.read()).status == health_pb2.HealthCheckResponse.SERVING
        watch = wire.watch(workflow_id=created.workflow.id)
        replies = [await watch.read()]
        ended = asyncio.create_task(asyncio.to_thread(server.terminate))
        answer = await broken_off(watch, replies)
        assert (answer.code.name, answer.reason) == ("UNAVAILABLE", "SERVER_DRAINING")
        assert answer.metadata["cursor"] == replies[-1].cursor
        assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await ended == 0
    assert not announced.exists()
    server.start()
    async with connected(server.address, server.token) as wire:
        workflow = await wire.finished(created.workflow.id)
        assert workflow.state == workflow_pb2.WORKFLOW_STATE_COMPLETED
        log = await log_of(wire, created.workflow.id)
        assert [event.sequence for event in log] == list(range(1, len(log) + 1))
        known = [event for reply in replies for event in reply.events]
        after = await wire.watched(workflow_id=created.workflow.id, after_cursor=replies[-1].cursor)
        assert known + [event for reply in after for event in reply.events] == log
        assert not {"attempt_failed", "attempt_lost"} & {event.WhichOneof("body") for event in log}


async def test_a_server_that_cannot_start_says_so_in_one_line_and_ends_with_status_2(
    orcs_server_process: ServerProcess, tmp_path: Path
) -> None:
    second = ServerProcess(tmp_path)
    second.address = orcs_server_process.address
    process = second.launch()
    assert await asyncio.to_thread(process.wait, 60) == 2
    assert process.stdout is not None
    assert process.stdout.read() == ""
    process.stdout.close()
    lines = second.errors.read_text().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"orcs: cannot listen on {orcs_server_process.address}")


async def test_an_operator_reads_from_the_log_what_was_started_taken_up_and_ended(start_server: Start) -> None:
    server = start_server(offline_pace="60", drain_grace="0", slotz="1")
    async with connected(server.address, server.token) as wire:
        created = await wire.create(plan=plan_of(a=()))
        watch = wire.watch(workflow_id=created.workflow.id)
        while not any(event.WhichOneof("body") == "attempt_started" for event in (await watch.read()).events):
            pass
    assert await asyncio.to_thread(server.terminate) == 0
    first = server.errors.read_text().splitlines()
    assert [line.split(" ", 2)[1:] for line in first if "ORCS_SLOTZ" in line] == [
        [
            "WARNING",
            "orcs.config: the environment variable ORCS_SLOTZ is not a setting of this program and has no effect",
        ]
    ]
    started = next(line for line in first if "INFO orcs.app: started " in line)
    assert f" listen={server.address} data_file={server.data} model_server=offline model=offline" in started
    assert started.endswith(" workflows_resumed=0")
    assert "orcs.app: going down: 1 running get up to 0 s" in first[-2]
    assert first[-1].endswith("INFO orcs.app: stopped")
    server.start()
    assert await asyncio.to_thread(server.terminate) == 0
    assert " workflows_resumed=1" in server.errors.read_text()


async def test_a_server_at_rest_ends_without_promising_anybody_time(start_server: Start) -> None:
    server = start_server()
    assert await asyncio.to_thread(server.terminate) == 0
    assert server.errors.read_text().splitlines()[-2].endswith("orcs.app: going down")


async def test_clients_are_told_where_the_model_server_is_without_what_is_secret(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path), "OPENAI_BASE_URL": "http://ann:secret@127.0.0.1:9/v1?key=secret"}
    async with Server(settings_in(tmp_path, model={"name": "llama"}), environ) as server:
        token = (tmp_path / "orcs.db.token").read_text().strip()
        async with connected(str(server.address), token) as wire:
            info = await wire.call("GetServerInfo", system_service_pb2.GetServerInfoRequest())
    assert (info.model.base_url, info.model.default_model) == ("http://127.0.0.1:9/v1", "llama")


async def test_how_often_memory_was_read_is_stored_when_the_server_ends(tmp_path: Path) -> None:
    settings, ada = settings_in(tmp_path), Actor("ada")
    async with Server(settings, {"XDG_STATE_HOME": str(tmp_path)}) as server:
        memory = server.backend.memory
        await memory.put("default", ada, "k", encode("v"), "global")
        for _ in range(3):
            await memory.get("default", ada, "k", "global")
    store = SqliteStore(settings.data)
    await store.open()
    assert [(one.key, one.reads) for one in await store.memory.hot("default", 10)] == [("k", 3)]
    await store.close()


def test_a_start_that_is_refused_leaves_nothing_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "orcs.db"
    data.write_bytes(b"this is no database, but long enough to look at" * 100)
    settings = settings_in(tmp_path)
    assert run(settings) == 2
    assert "orcs.db" in capsys.readouterr().err
    data.unlink()


async def test_a_start_that_fails_late_stops_in_good_order_what_it_took_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path, offline_pace=60, drain_grace=0)
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    caller = Caller("ada", "default", ("operate",))
    async with Server(settings, environ) as server:
        wanted = NewWorkflow(workflow_id="w1", query="Compare tea and coffee")
        await server.backend.services.creation.create(caller, wanted)
    broken = Server(settings, environ)
    engine = broken.backend.engine

    async def start() -> None:
        await type(engine).start(engine)
        while (state := engine.state("default", "w1")) is None or not state.progress.planning.running:  # noqa: ASYNC110
            await asyncio.sleep(0)
        raise StartupError("too late")

    monkeypatch.setattr(engine, "start", start)
    with pytest.raises(StartupError, match="too late"):
        await broken.start()
    store = SqliteStore(settings.data)
    await store.open()
    names = [type(record.event).__name__ for record in await store.events("default", "w1", 0, 100)]
    await store.close()
    assert "AttemptLost" not in names
    assert names[-1] == "AttemptInterrupted"


def test_a_data_file_with_damaged_rows_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fill() -> None:
        store = SqliteStore(tmp_path / "orcs.db")
        await store.open()
        await store.commit(Draft().create())
        await store.close()

    asyncio.run(fill())
    path = tmp_path / "orcs.db"
    with closing(sqlite3.connect(path)) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'workflows'").fetchone()[0]
    content = bytearray(path.read_bytes())
    content[(root - 1) * 4096 : root * 4096] = b"\xff" * 4096
    path.write_bytes(content)
    assert run(settings_in(tmp_path)) == 2
    assert f"orcs: {path} cannot be used: The data file is damaged" in capsys.readouterr().err


async def test_two_servers_never_share_a_data_file_or_a_port(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    async with Server(settings_in(tmp_path), environ) as first:
        with pytest.raises(StartupError, match="is in use in this very process"):
            await Server(settings_in(tmp_path), environ).start()
        elsewhere = tmp_path / "elsewhere"
        with pytest.raises(StartupError, match="cannot listen on"):
            await Server(settings_in(elsewhere, listen=str(first.address)), environ).start()
        async with connected(str(first.address), None) as wire:
            answer = await health_pb2_grpc.HealthStub(wire.channel).Check(health_pb2.HealthCheckRequest())
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
    # What was refused left nothing behind, and what has ended let go of everything.
    async with Server(settings_in(elsewhere, listen=str(first.address)), environ):
        pass


async def test_a_data_file_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with Server(settings, {"XDG_STATE_HOME": str(tmp_path)}):
        pass
    with sqlite3.connect(settings.data, isolation_level=None) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute(f"PRAGMA user_version = {version + 1}")
    connection.close()
    with pytest.raises(StartupError, match="newer"):
        await Server(settings, {"XDG_STATE_HOME": str(tmp_path)}).start()


async def test_health_follows_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orcs_server.errors import Unavailable
    from orcs_server.rpc import health

    monkeypatch.setattr(health, "CHECK_EVERY_S", 0.02)
    running = Server(settings_in(tmp_path), {"XDG_STATE_HOME": str(tmp_path)})
    async with running as server, connected(str(server.address), None) as wire:
        stub = health_pb2_grpc.HealthStub(wire.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="orcs.v1.WorkflowService"))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        unknown = stub.Watch(health_pb2.HealthCheckRequest(service="nothing"))
        assert (await unknown.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        with monkeypatch.context() as broken:

            async def fail() -> None:
                raise Unavailable("STORAGE_UNAVAILABLE", "The disk is full.")

            broken.setattr(server.backend.store, "check", fail)
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING


async def test_tls_by_certificate_files(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    try:
        await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed, so there is no certificate to try TLS with")
    settings = settings_in(tmp_path, tls_certificate=str(certificate), tls_key=str(key))
    async with Server(settings, {"XDG_STATE_HOME": str(tmp_path)}) as server:
        credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
        async with grpc.aio.secure_channel(str(server.address), credentials) as channel:
            token = (tmp_path / "orcs.db.token").read_text().strip()
            assert (await Wire(channel, token).create(plan=plan_of(a=()))).workflow.id
        with socket.create_connection((server.address.host, server.address.port)) as plain:
            plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            assert b"HTTP" not in await asyncio.to_thread(plain.recv, 100)
