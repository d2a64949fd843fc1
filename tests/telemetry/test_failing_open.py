"""Telemetry that raises, hangs or is flooded: whoever is measured goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.metrics import MeterProvider, NoOpMeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from orcs_server.telemetry import Figure, Spent, Telemetry, Whole, metrics, telemetry
from orcs_server.telemetry.meters import OTHER, VALUES_KEPT
from orcs_server.telemetry.providers import Providers
from orcs_server.telemetry.sending import Outlet, Outlets
from tests.telemetry.recorded import Recorded

W1 = Whole("ns", "w1", 1)


class Raises:
    """Raises whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        def fail(*arguments: Any, **keywords: Any) -> Any:
            raise RuntimeError("telemetry is broken, and here is a secret")

        return fail


class BrokenMeters(NoOpMeterProvider):
    def get_meter(self, *arguments: Any, **keywords: Any) -> Any:
        class Meter(Raises):
            def create_histogram(self, *arguments: Any, **keywords: Any) -> Any:
                return Raises()

            create_counter = create_observable_gauge = create_observable_counter = create_histogram

        return Meter()


def use_all(telemetry: Telemetry) -> list[str]:
    """Do everything that can be told once; return what was done."""
    done = []
    with telemetry.rpc_span("GetWorkflow") as span:
        span.note("a", 1)
        done.append("rpc")
    with telemetry.plan_span(W1, 1, "planner"):
        done.append("plan")
    with telemetry.attempt_span(W1, "t1", 1, 1, "a"):
        call = telemetry.calls.model_call("openai", "m", ("127.0.0.1", 80))
        call.answered("m", "r", lambda: 1 / 0)  # type: ignore[arg-type, return-value]
        call.end(Spent(1, 2, 3, 4, 5.0))
        with telemetry.calls.tool_call("t", "c", "{}", "nested") as tool:
            telemetry.calls.hand_over("other")
            telemetry.calls.model_call("openai", "m").end(Spent())
            tool.result("r")
            done.append("tool")
    telemetry.record_task(W1, "t1", "a", "FAILED", (1, 2))
    telemetry.record_workflow(W1, "FAILED", 2)
    telemetry.observe({metrics.WATCHERS: [Figure(1)]})
    telemetry.close()
    return done


@pytest.mark.parametrize("providers", [(Raises(), BrokenMeters()), (Raises(), None), (None, BrokenMeters())])
def test_a_library_that_raises_is_counted_and_its_words_go_nowhere(
    providers: tuple[Any, MeterProvider], caplog: pytest.LogCaptureFixture
) -> None:
    broken = Telemetry(*providers, captures=True)
    assert use_all(broken) == ["rpc", "plan", "tool"]
    assert broken.trouble.failed > 3
    assert "telemetry failed 1 times so far" in caplog.text
    assert "secret" not in caplog.text


def test_what_a_body_raises_goes_on_even_where_telemetry_is_broken() -> None:
    broken = Telemetry(Raises(), BrokenMeters())
    with pytest.raises(KeyError), broken.attempt_span(W1, "t1", 1, 1, "a"):
        raise KeyError


class Stuck(SpanExporter):
    """Takes one batch and never comes back, until it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.entered = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        self.let.wait()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.let.wait()


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    exporter = Stuck()
    yield exporter
    exporter.let.set()


def test_a_flood_to_an_exporter_that_hangs_is_bounded_counted_and_said_rarely(
    stuck: Stuck, caplog: pytest.LogCaptureFixture
) -> None:
    outlet = Outlet(stuck, queue=600)
    flooded = Telemetry(Outlets(Resource({}), [outlet]))
    with caplog.at_level(logging.WARNING):
        for _ in range(5_000):
            with flooded.rpc_span("GetWorkflow"):
                pass
    assert stuck.entered.wait(60)
    assert outlet.dropped >= 5_000 - 600
    assert len(caplog.records) == 1


def test_the_end_does_not_wait_for_an_exporter_that_hangs(stuck: Stuck, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "CLOSE_S", 0.1)
    sink = Outlets(Resource({}), [Outlet(stuck)])
    hanging = Telemetry(sink, None, Providers(sink, None, (sink.shutdown,)))
    with hanging.rpc_span("GetWorkflow"):
        pass
    hanging.close()
    assert not stuck.let.is_set()
    assert hanging.trouble.failed == 1


def test_an_exporter_that_raises_or_refuses_loses_its_spans_and_nothing_else() -> None:
    class Refuses(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            if spans[0].name == "orcs.rpc":
                raise OSError("unreachable")
            return SpanExportResult.FAILURE

        def shutdown(self) -> None:
            """Nothing."""

    outlet = Outlet(Refuses())
    refused = Telemetry(Outlets(Resource({}), [outlet]))
    with refused.rpc_span("GetWorkflow"):
        pass
    outlet.force_flush()
    with refused.plan_span(W1, 1, "planner"):
        pass
    outlet.force_flush()
    assert outlet.dropped == 2
    Outlets(Resource({}), [outlet]).shutdown()


def test_values_that_clients_may_choose_are_bounded(recorded: Recorded) -> None:
    for index in range(VALUES_KEPT * 3):
        recorded.telemetry.calls.model_call("openai", f"model-{index}-" + "x" * 10_000).end(Spent(1))
    models = [point.attributes["gen_ai.request.model"] for point in recorded.points("gen_ai.client.token.usage")]
    assert len(models) == VALUES_KEPT + 1
    assert OTHER in models
    assert max(map(len, models)) <= 128


def test_namespaces_are_bounded_too() -> None:
    asked = Recorded(by_namespace=True)
    for index in range(VALUES_KEPT * 2):
        asked.telemetry.record_workflow(Whole(f"ns{index}", "w", 1), "COMPLETED", 2)
    asked.telemetry.observe(
        {metrics.WORKFLOWS: [Figure(1, {"orcs.status": "RUNNING", "orcs.namespace": f"ns{i}"}) for i in range(200)]}
    )
    ended = {point.attributes["orcs.namespace"]: point.count for point in asked.points("orcs.workflow.duration")}
    assert len(ended) == VALUES_KEPT + 1
    assert ended[OTHER] == VALUES_KEPT
    now = {point.attributes["orcs.namespace"]: point.value for point in asked.points("orcs.workflows")}
    assert now[OTHER] == 200 - VALUES_KEPT
