"""A server of which everything that is measured has happened, and what Prometheus gets of it."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from collections.abc import Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from orcs_client.v1 import workflow_pb2
from tests.rpc.wire import connected
from tests.server_process import ServerProcess

Samples = dict[str, list[tuple[dict[str, str], float]]]


def endpoint_of(server: ServerProcess) -> str:
    """Return where a server says that its metrics are."""
    found = re.search(r"http://\S+/metrics", server.errors.read_text())
    assert found is not None, server.errors.read_text()
    return found.group().rstrip('"')


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - of this machine
        return str(answer.read().decode())


def samples(text: str) -> Samples:
    """Return what a scrape says, by name: labels and value."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return found


async def busy_server(start: Callable[..., ServerProcess], **settings: str) -> ServerProcess:
    """Start a server, let it do a bit of everything, and return it."""
    server = start(
        metrics_listen="127.0.0.1:0",
        agent_registry="tests.telemetry.busy_agents:REGISTRY",
        hooks="tests.telemetry.busy_agents:hooks",
        retry_initial_backoff="0.01",
        retry_max_backoff="0.02",
        prices=json.dumps({"flaky-1": {"input": 1_000_000, "output": 2_000_000}}),
        **settings,
    )
    async with connected(server.address, server.token) as wire:
        await wire.create(workflow_id="w1", query="Compare tea and coffee")
        task = workflow_pb2.PlanTask(id="a", title="A", description="Go.", agent_id="digger")
        await wire.create(workflow_id="w2", plan=workflow_pb2.Plan(tasks=[task]))
        for name in ("w1", "w2"):
            assert (await wire.finished(name)).state == workflow_pb2.WORKFLOW_STATE_COMPLETED
    return server


async def scraped(server: ServerProcess, wanted: Callable[[Samples], bool]) -> Samples:
    """Fetch until the metrics say so: what is observed is some seconds old."""
    url = endpoint_of(server)
    async with asyncio.timeout(60):
        while not wanted(found := samples(await asyncio.to_thread(fetch, url))):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.2)
    return found


def value_of(found: Samples, name: str, **labels: str) -> Any:
    """Return the sum of the samples with these labels."""
    return sum(value for own, value in found[name] if labels.items() <= own.items())
