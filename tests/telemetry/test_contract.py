"""What docs/telemetry.md promises is what the code does."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import Callable

from orcs_client.v1 import workflow_pb2
from orcs_server.telemetry import Spent, Whole
from orcs_server.telemetry.logs import JsonFormatter, PlainFormatter
from orcs_server.telemetry.metrics import METRICS
from tests.rpc.wire import connected, plan_of
from tests.server_process import ROOT, ServerProcess
from tests.telemetry.receiving import lines_of
from tests.telemetry.recorded import Recorded

PAGE = (ROOT / "docs" / "telemetry.md").read_text()
TRACE = "0af7651916cd43dd8448eb211c80319c"
ALWAYS = {"time", "level", "logger", "message"}


def table_below(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def names_in(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_the_page_lists_every_metric_as_it_is() -> None:
    told = {
        (next(iter(names_in(name))), kind, unit, "(n)" in name, frozenset(names_in(attributes)))
        for name, kind, unit, _, attributes in table_below("Metrics")
    }
    real = {(one.name, one.kind, one.unit, one.by_namespace, frozenset(one.attributes)) for one in METRICS}
    assert told == real


def fields_of_logs() -> set[str]:
    return {name for cells in table_below("Log lines") for name in names_in(cells[0])}


async def test_each_line_of_a_servers_log_has_the_fields_of_the_contract(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = start_server(
        log_format="json",
        metrics_listen="127.0.0.1:0",
        agent_registry="tests.telemetry.busy_agents:REGISTRY",
        OTEL_TRACES_EXPORTER="console",
    )
    async with connected(server.address, server.token) as wire:
        wire.metadata += (("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"),)
        task = workflow_pb2.PlanTask(id="a", title="A", description="Go.", agent_id="digger")
        await wire.create(workflow_id="w1", plan=workflow_pb2.Plan(tasks=[task]))
        await wire.create(workflow_id="w2", plan=plan_of(b=()))
        for name in ("w1", "w2"):
            await wire.finished(name)
    await asyncio.to_thread(server.terminate)
    lines = lines_of(server)
    assert len(lines) > 3
    for line in lines:
        assert line.keys() >= ALWAYS
        assert line.keys() - fields_of_logs() == set()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"])
    (failed,) = [line for line in lines if line["message"] == "task attempt failed"]
    assert (failed["workflow"], failed["task"], failed["attempt"], failed["kind"]) == ("w1", "a", 1, "CONNECTION")
    assert failed["trace_id"] == TRACE
    started = next(line for line in lines if line["message"] == "started")
    assert "trace_id" not in started
    assert started["metrics"].startswith("http://127.0.0.1:")


def test_a_line_within_an_attempt_has_the_ids_of_its_span(recorded: Recorded) -> None:
    stream, plain = io.StringIO(), io.StringIO()
    logger = logging.Logger("of a tool")  # noqa: LOG001 - no handler of it outlives the test
    for formatter, to in ((JsonFormatter(), stream), (PlainFormatter(), plain)):
        handler = logging.StreamHandler(to)
        handler.setFormatter(formatter)
        logger.addHandler(handler)
    logger.warning("outside")
    with recorded.telemetry.attempt_span(Whole("ns", "w1", 1), "t1", 1, 1, "a"):
        logger.warning("inside", extra={"workflow": "w1"})
    outside, inside = (json.loads(line) for line in stream.getvalue().splitlines())
    (span,) = recorded.spans()
    assert "trace_id" not in outside
    assert inside["trace_id"] == f"{span.context.trace_id:032x}"
    assert inside["span_id"] == f"{span.context.span_id:016x}"
    assert "trace_id" not in plain.getvalue()


def test_the_page_names_every_span_attribute_that_is_made(recorded: Recorded) -> None:
    telemetry = recorded.telemetry
    whole = Whole("ns", "w1", 1)
    with telemetry.rpc_span("GetTask"), telemetry.plan_span(whole, 1, "planner"):
        pass
    with telemetry.attempt_span(whole, "t1", 1, 1, "a"):
        telemetry.calls.model_call("openai", "m", ("127.0.0.1", 80))
        with telemetry.calls.tool_call("t", "c", "{}", "nested"):
            telemetry.calls.model_call("openai", "m").end(Spent(1, 2, 3, 4, 5.0))
    telemetry.record_task(whole, "t1", "a", "FAILED", (1, 2))
    telemetry.record_workflow(whole, "FAILED", 2)
    names = {name for cells in table_below("One trace a workflow") for name in names_in(cells[2])}
    names.add("error.type")  # Told of once, for all of them.
    assert len(recorded.spans()) == 8
    for span in recorded.spans():
        assert set(span.attributes) - names == set(), span.name
