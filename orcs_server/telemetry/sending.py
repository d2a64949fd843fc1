"""Spans on their way out of the process: a bounded queue, whose overflow is counted and not logged span by span. Needs OpenTelemetry's
SDK, so only `providers` imports it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Status, StatusCode

from orcs_server.telemetry.spans import Ended

QUEUE = 16_384
"""Spans that may wait: some seconds of a busy server."""
LOG_EVERY = 10_000

_UNSET = Status(StatusCode.UNSET)

_log = logging.getLogger("orcs.telemetry")


class Outlets:
    """Hands spans that are over to the processors that send them."""

    def __init__(self, resource: Resource, processors: Sequence[SpanProcessor], sampler: Sampler | None = None) -> None:
        """Without a sampler that of `OTEL_TRACES_SAMPLER` decides, by default to keep what the client keeps, and all else."""
        self._sampler = sampler or TracerProvider(shutdown_on_exit=False).sampler
        self._resource = resource
        self._processors = tuple(processors)
        self._scope = InstrumentationScope("orcs")

    def sampled(self, context: Context, trace_id: int, name: str) -> bool:
        """Ask the sampler."""
        return self._sampler.should_sample(context, trace_id, name).decision is Decision.RECORD_AND_SAMPLE

    def take(self, span: Ended) -> None:
        """Make of a span what exporters know, and hand it on."""
        if span.failed:
            span.attributes["error.type"] = span.failed
        readable = ReadableSpan(
            span.name,
            span.context,
            span.parent,
            self._resource,
            span.attributes,
            kind=span.kind,
            status=Status(StatusCode.ERROR, span.failed) if span.failed else _UNSET,
            start_time=span.times_ns[0],
            end_time=span.times_ns[1],
            instrumentation_scope=self._scope,
        )
        for processor in self._processors:
            processor.on_end(readable)

    def shutdown(self) -> None:
        """Send what is left. Blocks."""
        for processor in self._processors:
            processor.shutdown()


class Outlet(BatchSpanProcessor):
    """Sends spans in batches from a thread of its own. What a slow or dead receiver does not take is dropped and counted."""

    def __init__(self, exporter: SpanExporter, queue: int | None = None) -> None:
        """Without a size the queue has that of `OTEL_BSP_MAX_QUEUE_SIZE`, else 16,384."""
        self._counted = _Counted(exporter)
        asked = os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE", "")
        self._limit = queue or (int(asked) if asked.isdecimal() and int(asked) else QUEUE)
        super().__init__(self._counted, max_queue_size=self._limit)

    @property
    def dropped(self) -> int:
        """Spans that were not sent."""
        return self._counted.dropped

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span if there is room."""
        if not span.context.trace_flags.sampled:
            return
        if self._counted.enter(self._limit):
            super().on_end(span)


class _Counted(SpanExporter):
    """Knows how many spans are on their way, and how many never arrived."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lock = threading.Lock()
        self._under_way = 0
        self.dropped = 0

    def enter(self, limit: int) -> bool:
        """Whether there is room for one more."""
        with self._lock:
            if self._under_way < limit:
                self._under_way += 1
                return True
            self._drop(1)
        return False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch. Nothing is raised."""
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            with self._lock:
                self._under_way -= len(spans)
                if result is not SpanExportResult.SUCCESS:
                    self._drop(len(spans))
        return result

    def shutdown(self) -> None:
        """End the exporter."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Have the exporter send what it has."""
        return self._exporter.force_flush(timeout_millis)

    def _drop(self, count: int) -> None:
        if self.dropped // LOG_EVERY != (self.dropped + count) // LOG_EVERY or self.dropped == 0:
            _log.warning("the receiver of telemetry does not take it: %d spans dropped so far", self.dropped + count)
        self.dropped += count
