"""Spans and measurements, with OpenTelemetry's own in-memory exporters."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler

from orcs_server.errors import StartupError
from orcs_server.telemetry import TELEMETRY_OFF, Spent, Telemetry, Whole
from orcs_server.telemetry.traces import is_traceparent
from tests.telemetry.recorded import Recorded

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
W1 = Whole("ns", "w1", 1_000_000, PARENT)
LONE = Whole("ns", "w1", 1_000_000)


def test_a_workflow_is_one_tree_whatever_is_told_first(recorded: Recorded) -> None:
    with recorded.telemetry.attempt_span(W1, "t1", 1_500_000, 2, "writing_agent") as span:
        span.note("orcs.turns", 3)
    with recorded.telemetry.plan_span(W1, 1, "planner"):
        pass
    recorded.telemetry.record_task(W1, "t1", "writing_agent", "COMPLETED", (1_500_000, 2_500_000))
    recorded.telemetry.record_workflow(W1, "COMPLETED", 3_500_000)
    attempt, planning, task, workflow = recorded.spans()
    assert (attempt.name, planning.name) == ("invoke_agent writing_agent", "invoke_agent planner")
    assert {f"{one.context.trace_id:032x}" for one in recorded.spans()} == {"0af7651916cd43dd8448eb211c80319c"}
    assert f"{workflow.parent.span_id:x}" == "b7ad6b7169203331"
    assert task.parent.span_id == planning.parent.span_id == workflow.context.span_id
    assert attempt.parent.span_id == task.context.span_id
    assert (workflow.start_time, workflow.end_time) == (1_000_000_000, 3_500_000_000)
    assert (task.start_time, task.end_time) == (1_500_000_000, 2_500_000_000)
    assert dict(attempt.attributes) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "writing_agent",
        "orcs.namespace": "ns",
        "orcs.workflow": "w1",
        "orcs.task": "t1",
        "orcs.attempt": 2,
        "orcs.turns": 3,
        "orcs.outcome": "OK",
    }
    (point, _) = recorded.points("orcs.attempt.duration")
    assert dict(point.attributes) == {"orcs.agent": "writing_agent", "orcs.outcome": "OK"}


def test_another_process_days_later_goes_on_with_the_same_tree(recorded: Recorded) -> None:
    later = Recorded()
    with recorded.telemetry.attempt_span(W1, "t1", 1_500_000, 1, "a"):
        pass
    with later.telemetry.attempt_span(W1, "t1", 1_500_000, 2, "a"):
        pass
    later.telemetry.record_task(W1, "t1", "a", "COMPLETED", (1_500_000, 2_500_000))
    (first,), (second, task) = recorded.spans(), later.spans()
    assert first.parent.span_id == second.parent.span_id == task.context.span_id
    assert first.context.trace_id == second.context.trace_id


def test_a_workflow_without_a_trace_gets_one_of_its_own(recorded: Recorded) -> None:
    with recorded.telemetry.attempt_span(LONE, "t1", 1_500_000, 1, "a"):
        pass
    recorded.telemetry.record_workflow(LONE, "COMPLETED", 2_000_000)
    other = LONE._replace(workflow="w2")
    recorded.telemetry.record_workflow(other, "COMPLETED", 2_000_000)
    attempt, workflow, another = recorded.spans()
    assert workflow.parent is None
    assert attempt.context.trace_id == workflow.context.trace_id != another.context.trace_id


def test_a_trace_that_is_not_sampled_leaves_nothing(recorded: Recorded) -> None:
    silent = W1._replace(traceparent=PARENT[:-2] + "00")
    with recorded.telemetry.attempt_span(silent, "t1", 1_500_000, 1, "a"):
        pass
    recorded.telemetry.record_workflow(silent, "COMPLETED", 2_000_000)
    assert recorded.spans() == []


@pytest.mark.parametrize(("sampler", "kept"), [(ALWAYS_OFF, 0), (ALWAYS_ON, 4), (ParentBased(ALWAYS_OFF), 1)])
def test_the_sampler_decides_where_a_trace_begins_and_the_rest_follows(sampler: Sampler, kept: int) -> None:
    recorded = Recorded(sampler)
    with recorded.telemetry.rpc_span("CreateWorkflow") as mine, recorded.telemetry.rpc_span("GetTask", PARENT):
        pass
    whole = W1._replace(traceparent=mine.traceparent)
    recorded.telemetry.record_workflow(whole, "COMPLETED", 2_000_000)
    recorded.telemetry.record_workflow(LONE, "COMPLETED", 2_000_000)
    assert len(recorded.spans()) == kept


def test_spans_inside_an_attempt_hang_below_it_and_those_inside_a_call_do_not(recorded: Recorded) -> None:
    library = recorded.tracer_provider.get_tracer("library")
    with recorded.telemetry.attempt_span(W1, "t1", 1, 1, "a"), library.start_as_current_span("http"):
        pass
    with recorded.telemetry.rpc_span("CreateWorkflow"), library.start_as_current_span("free"):
        pass
    spans = {span.name: span for span in recorded.spans()}
    assert spans["http"].parent.span_id == spans["invoke_agent a"].context.span_id
    assert spans["free"].parent is None
    assert spans["orcs.rpc"].attributes["rpc.method"] == "CreateWorkflow"


def test_an_outcome_and_an_exception_make_an_error_without_the_exceptions_words(recorded: Recorded) -> None:
    with recorded.telemetry.plan_span(W1, 1, "planner") as span:
        span.outcome = "RATE_LIMITED"
    with (
        pytest.raises(ValueError, match="secret"),
        recorded.telemetry.attempt_span(W1._replace(traceparent="nonsense"), "t1", 1, 1, "a"),
    ):
        raise ValueError("secret prompt")
    planned, failed = recorded.spans()
    assert (planned.status.is_ok, planned.attributes["orcs.outcome"]) == (False, "RATE_LIMITED")
    assert failed.attributes["orcs.outcome"] == failed.attributes["error.type"] == "ValueError"
    assert "secret" not in failed.to_json()


def test_workflows_and_tasks_are_measured_by_how_they_ended(recorded: Recorded) -> None:
    recorded.telemetry.record_workflow(W1, "FAILED", 3_500_000)
    recorded.telemetry.record_workflow(LONE, "COMPLETED", 2_000_000)
    recorded.telemetry.record_task(LONE, "t1", "a", "FAILED", (1_000_000, 1_250_000))
    failed, _, task = recorded.spans()
    assert not failed.status.is_ok
    assert not task.status.is_ok
    sums = {point.attributes["orcs.status"]: point.sum for point in recorded.points("orcs.workflow.duration")}
    assert sums == {"FAILED": 2.5, "COMPLETED": 1.0}
    (point,) = recorded.points("orcs.task.duration")
    assert (point.sum, dict(point.attributes)) == (0.25, {"orcs.agent": "a", "orcs.status": "FAILED"})


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
    with pytest.raises(KeyError), off.attempt_span(W1, "t", 1, 1, "a"):
        raise KeyError
    off.record_workflow(W1, "FAILED", 2)
    off.record_task(W1, "t1", "a", "FAILED", (1, 2))
    call = off.calls.model_call("openai", "m")
    assert not call.captures
    call.answered("m", "r", list)
    call.end(Spent(1, 0, 1))
    with off.calls.tool_call("t", "c", "{}") as tool:
        tool.result("r")
    off.calls.hand_over("b")
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
from orcs_server.telemetry import Telemetry, Whole
telemetry = Telemetry.from_environment(os.environ)
with telemetry.attempt_span(Whole("ns", "w1", 1), "t1", 1, 1, "a"):
    pass
telemetry.close()
"""


@pytest.mark.parametrize(("name", "service"), [("", "orcs"), ("mine", "mine")])
def test_a_program_exports_what_its_environment_asks_for(name: str, service: str) -> None:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    environ |= {"OTEL_TRACES_EXPORTER": "console"} | ({"OTEL_SERVICE_NAME": name} if name else {})
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environ)
    span = json.loads(done.stdout)
    assert span["name"] == "invoke_agent a"
    assert span["resource"]["attributes"]["service.name"] == service


def test_a_program_measures_what_its_environment_asks_for() -> None:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    environ |= {"OTEL_METRICS_EXPORTER": "console"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environ)
    assert "orcs.attempt.duration" in done.stdout


def test_spans_and_measurements_can_go_to_the_same_exporters() -> None:
    telemetry = Telemetry.from_environment({"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "console"})
    assert (telemetry.tracing, telemetry.metering) == (True, True)
    with telemetry.plan_span(W1, 1, "planner") as span:
        assert is_traceparent(span.traceparent)
    telemetry.close()


def test_switched_off_it_does_not_import_the_sdk() -> None:
    program = "import sys, orcs_server.telemetry as t; t.Telemetry.from_environment({}); print('opentelemetry.sdk' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
