"""The metrics over HTTP, of a real server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError

import pytest

from orcs_client.v1 import workflow_pb2
from orcs_server.errors import StartupError
from orcs_server.telemetry import Telemetry
from orcs_server.telemetry.prometheus import AT_ONCE
from tests.rpc.wire import connected, plan_of
from tests.server_process import ServerProcess
from tests.telemetry.scraping import busy_server, endpoint_of, fetch, samples, scraped, value_of

Start = Callable[..., ServerProcess]


async def test_prometheus_gets_what_the_server_did(start_server: Start) -> None:
    server = await busy_server(start_server)
    found = await scraped(server, lambda seen: "orcs_hooks_failures_total" in seen)
    assert value_of(found, "orcs_workflow_duration_seconds_count", orcs_status="COMPLETED") == 2
    assert value_of(found, "orcs_task_duration_seconds_count", orcs_agent="digger") == 1
    assert value_of(found, "orcs_attempt_duration_seconds_count", orcs_agent="digger", orcs_outcome="CONNECTION") == 1
    assert value_of(found, "orcs_retries_total", orcs_agent="digger", error_type="CONNECTION") == 1
    assert value_of(found, "orcs_task_queue_duration_seconds_count", orcs_agent="digger") == 2
    assert value_of(found, "orcs_tokens_total", orcs_agent="digger", orcs_direction="input") == 200
    assert value_of(found, "orcs_cost_total", orcs_agent="digger") == pytest.approx(240e-6)
    tools = {"gen_ai_operation_name": "execute_tool", "gen_ai_tool_name": "dig"}
    assert value_of(found, "gen_ai_client_operation_duration_seconds_count", **tools) == 1
    calls = {"gen_ai_operation_name": "chat", "gen_ai_request_model": "flaky-1"}
    assert value_of(found, "gen_ai_client_operation_duration_seconds_count", **calls) == 3
    assert value_of(found, "orcs_hooks_failures_total", orcs_hook="telemetry", error_type="raised") > 0
    assert value_of(found, "orcs_storage_batch_size_sum") >= value_of(found, "orcs_storage_batch_size_count") > 0
    assert value_of(found, "orcs_rpc_admitted_total", orcs_gate="short") >= 4


async def test_no_metric_says_whose_it_is_unless_the_operator_asks(start_server: Start) -> None:
    server = start_server(metrics_listen="127.0.0.1:0")
    asked = start_server(metrics_listen="127.0.0.1:0", metrics_by_namespace="true")
    for each in (server, asked):
        token = each.create_token("evelyn", "tenant-x", "operate")
        await asyncio.sleep(1.5)  # Tokens that are added to a running server hold within a second.
        async with connected(each.address, token) as wire:
            await wire.create(workflow_id="secret-workflow", plan=plan_of(secret_task=()))
            await wire.finished("secret-workflow")
        text = await asyncio.to_thread(fetch, endpoint_of(each))
        for name in ("secret-workflow", "secret_task", "evelyn"):
            assert (name in text) is False
        assert ("tenant-x" in text) is (each is asked)


async def test_nothing_but_metrics_is_there_and_no_more_than_a_few_may_ask_at_once(start_server: Start) -> None:
    server = start_server(metrics_listen="127.0.0.1:0")
    url = endpoint_of(server)
    with pytest.raises(HTTPError) as refused:
        await asyncio.to_thread(fetch, url.replace("/metrics", "/other"))
    assert refused.value.code == 404
    refused.value.close()
    host, port = url.removeprefix("http://").removesuffix("/metrics").split(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(AT_ONCE + 20)]
    try:
        async with connected(server.address, server.token) as wire:
            await wire.create(workflow_id="w1", plan=plan_of(a=()))
            assert (await wire.finished("w1")).state == workflow_pb2.WORKFLOW_STATE_COMPLETED
        # Those beyond the limit were closed unanswered.
        assert await asyncio.to_thread(silent[-1].recv, 1) == b""
    finally:
        for connection in silent:
            connection.close()
    async with asyncio.timeout(60):
        while True:
            try:
                assert "orcs_workflow_duration" in await asyncio.to_thread(fetch, url)
                return
            except (OSError, HTTPError):
                await asyncio.sleep(0.1)


async def test_without_the_flag_there_is_no_endpoint(orcs_server_process: ServerProcess) -> None:
    assert "/metrics" not in orcs_server_process.errors.read_text()


def test_an_address_that_is_taken_is_refused_at_the_start(tmp_path: Path) -> None:
    first = Telemetry.from_environment({}, scraped=True)
    host, port = first.listen("127.0.0.1", 0)
    second = Telemetry.from_environment({}, scraped=True)
    with pytest.raises(StartupError, match="cannot show metrics"):
        second.listen(host, port)
    with first.rpc_span("GetWorkflow"):
        pass
    assert "orcs_rpc_duration_seconds_count" in samples(fetch(f"http://{host}:{port}/metrics"))
    first.close()
    second.close()


def test_ipv6_is_an_address_too() -> None:
    telemetry = Telemetry.from_environment({}, scraped=True)
    _, port = telemetry.listen("::1", 0)
    with telemetry.rpc_span("GetWorkflow"):
        pass
    assert "orcs_rpc_duration_seconds_count" in samples(fetch(f"http://[::1]:{port}/metrics"))
    telemetry.close()
