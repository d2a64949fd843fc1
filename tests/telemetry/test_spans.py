"""Spans and measurements, with OpenTelemetry's own in-memory exporters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from orcs_server.errors import StartupError
from orcs_server.telemetry import TELEMETRY_OFF, Telemetry
from orcs_server.telemetry.spans import is_traceparent

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Recorded:
    """A telemetry and what it recorded."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.telemetry = Telemetry(self.tracer_provider, self.meter_provider)

    def spans(self) -> list[Any]:
        return list(self.exporter.get_finished_spans())

    def points(self, name: str) -> list[Any]:
        data = self.reader.get_metrics_data()
        assert data is not None
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


def test_an_attempt_continues_the_stored_trace_and_is_measured(recorded: Recorded) -> None:
    with recorded.telemetry.attempt_span("ns", "w1", "t1", 2, "writing_agent", PARENT) as span:
        span.note("orcs.turns", 3)
        assert span.traceparent.startswith("00-0af7651916cd43dd8448eb211c80319c-")
        assert span.traceparent != PARENT
    (made,) = recorded.spans()
    assert made.name == "orcs.attempt"
    assert f"{made.parent.span_id:x}" == "b7ad6b7169203331"
    assert dict(made.attributes) == {
        "orcs.namespace": "ns",
        "orcs.workflow": "w1",
        "orcs.task": "t1",
        "orcs.attempt": 2,
        "orcs.agent": "writing_agent",
        "orcs.turns": 3,
        "orcs.outcome": "OK",
    }
    (point,) = recorded.points("orcs.attempt.duration")
    assert dict(point.attributes) == {"orcs.agent": "writing_agent", "orcs.outcome": "OK"}


def test_spans_inside_an_attempt_hang_below_it_and_those_inside_a_call_do_not(recorded: Recorded) -> None:
    library = recorded.tracer_provider.get_tracer("library")
    with recorded.telemetry.attempt_span("ns", "w1", "t1", 1, "a"), library.start_as_current_span("http"):
        pass
    with recorded.telemetry.rpc_span("CreateWorkflow"), library.start_as_current_span("free"):
        pass
    spans = {span.name: span for span in recorded.spans()}
    assert spans["http"].parent.span_id == spans["orcs.attempt"].context.span_id
    assert spans["free"].parent is None
    assert spans["orcs.rpc"].attributes["rpc.method"] == "CreateWorkflow"


def test_an_outcome_and_an_exception_make_an_error_without_the_exceptions_words(recorded: Recorded) -> None:
    with recorded.telemetry.plan_span("ns", "w1", 1, "planner") as span:
        span.outcome = "RATE_LIMITED"
    with (
        pytest.raises(ValueError, match="secret"),
        recorded.telemetry.attempt_span("ns", "w1", "t1", 1, "a", "nonsense"),
    ):
        raise ValueError("secret prompt")
    planned, failed = recorded.spans()
    assert (planned.status.is_ok, planned.attributes["orcs.outcome"]) == (False, "RATE_LIMITED")
    assert failed.attributes["orcs.outcome"] == "ValueError"
    assert failed.parent is None
    assert "secret" not in failed.to_json()


def test_a_finished_workflow_is_one_span_from_creation_to_end(recorded: Recorded) -> None:
    recorded.telemetry.record_workflow("ns", "w1", "FAILED", 1_000_000, 3_500_000, PARENT)
    recorded.telemetry.record_workflow("ns", "w2", "COMPLETED", 1_000_000, 2_000_000)
    failed, completed = recorded.spans()
    assert (failed.start_time, failed.end_time) == (1_000_000_000, 3_500_000_000)
    assert not failed.status.is_ok
    assert completed.parent is None
    sums = {point.attributes["orcs.status"]: point.sum for point in recorded.points("orcs.workflow.duration")}
    assert sums == {"FAILED": 2.5, "COMPLETED": 1.0}


def test_tokens_are_counted_by_agent_and_direction(recorded: Recorded) -> None:
    recorded.telemetry.count_tokens("a", 10, 3)
    recorded.telemetry.count_tokens("a", 5, 0)
    values = {point.attributes["orcs.direction"]: point.value for point in recorded.points("orcs.tokens")}
    assert values == {"input": 15, "output": 3}


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (PARENT, True),
        (PARENT.replace("00-", "cc-", 1) + "-more", True),
        (PARENT + "-more", False),
        (PARENT.replace("00-", "ff-", 1), False),
        (PARENT.upper(), False),
        ("00-" + "0" * 32 + "-b7ad6b7169203331-01", False),
        ("00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01", False),
        (PARENT + "\n", False),
        ("", False),
        ("cc" + PARENT[2:] + "-" + "x" * 500, False),
    ],
)
def test_a_traceparent_is_taken_as_the_standard_says(text: str, valid: bool) -> None:
    assert is_traceparent(text) is valid


def test_switched_off_it_records_nothing_and_hands_the_clients_trace_on() -> None:
    off = Telemetry.from_environment({})
    assert not (off.tracing)
    assert not (off.metering)
    with off.rpc_span("CreateWorkflow", PARENT) as span:
        assert span.traceparent == PARENT
        span.note("a", 1)
    with TELEMETRY_OFF.rpc_span("GetWorkflow", "nonsense") as span:
        assert span.traceparent == ""
    with pytest.raises(KeyError), off.attempt_span("ns", "w", "t", 1, "a"):
        raise KeyError
    off.record_workflow("ns", "w", "FAILED", 1, 2)
    off.count_tokens("a", 1, 1)
    off.close()


def test_only_measuring_still_hands_the_clients_trace_on(recorded: Recorded) -> None:
    measuring = Telemetry(None, recorded.meter_provider)
    with measuring.rpc_span("GetWorkflow", PARENT) as span:
        assert span.traceparent == PARENT
    assert len(recorded.points("orcs.rpc.duration")) == 1
    assert recorded.spans() == []


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"OTEL_TRACES_EXPORTER": "nonsense"}, "correct OTEL_TRACES_EXPORTER"),
        ({"OTEL_METRICS_EXPORTER": "console,nonsense"}, "'nonsense', which is not installed"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"}, "use grpc or http"),
    ],
)
def test_an_exporter_that_is_not_there_is_refused_at_the_start(environ: dict[str, str], message: str) -> None:
    with pytest.raises(StartupError, match=message):
        Telemetry.from_environment(environ)


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "console"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": " "},
    ],
)
def test_the_environment_can_switch_it_off(environ: dict[str, str]) -> None:
    assert not Telemetry.from_environment(environ).tracing


PROGRAM = """
import os
from orcs_server.telemetry import Telemetry
telemetry = Telemetry.from_environment(os.environ)
with telemetry.attempt_span("ns", "w1", "t1", 1, "a"):
    pass
telemetry.close()
"""


@pytest.mark.parametrize(("name", "service"), [("", "orcs"), ("mine", "mine")])
def test_a_program_exports_what_its_environment_asks_for(name: str, service: str) -> None:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    environ |= {"OTEL_TRACES_EXPORTER": "console"} | ({"OTEL_SERVICE_NAME": name} if name else {})
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environ)
    span = json.loads(done.stdout)
    assert span["name"] == "orcs.attempt"
    assert span["resource"]["attributes"]["service.name"] == service


def test_a_program_measures_what_its_environment_asks_for() -> None:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    environ |= {"OTEL_METRICS_EXPORTER": "console"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environ)
    assert "orcs.attempt.duration" in done.stdout


def test_spans_and_measurements_can_go_to_the_same_exporters() -> None:
    telemetry = Telemetry.from_environment({"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "console"})
    assert (telemetry.tracing, telemetry.metering) == (True, True)
    with telemetry.plan_span("ns", "w1", 1, "planner") as span:
        assert is_traceparent(span.traceparent)
    telemetry.close()


def test_switched_off_it_does_not_import_the_sdk() -> None:
    program = "import sys, orcs_server.telemetry as t; t.Telemetry.from_environment({}); print('opentelemetry.sdk' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
