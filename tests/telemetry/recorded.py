"""A telemetry whose spans and measurements stay in memory, by OpenTelemetry's own in-memory exporters."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

from orcs_server.telemetry import Telemetry
from orcs_server.telemetry.sending import Outlets


class Recorded:
    """A telemetry and what it recorded."""

    def __init__(self, sampler: Sampler | None = None, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        processor = SimpleSpanProcessor(self.exporter)
        self.sink = Outlets(Resource({}), [processor], sampler)
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        """Of a library that knows nothing of ours."""
        self.tracer_provider.add_span_processor(processor)
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.telemetry = Telemetry(self.sink, self.meter_provider, **options)

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

    def tree(self) -> dict[str, list[str]]:
        """Return the names of spans, each with the names of those that hang below it, in the order in which they began."""
        spans = sorted(self.spans(), key=lambda span: span.start_time)
        below: dict[str, list[str]] = {}
        for span in spans:
            parent = next(
                (one.name for one in spans if span.parent and one.context.span_id == span.parent.span_id), "(outside)"
            )
            below.setdefault(parent, []).append(span.name)
        return below
