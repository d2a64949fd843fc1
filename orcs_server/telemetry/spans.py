"""Spans and measurements over OpenTelemetry. Off unless `OTEL_…` variables or given providers say otherwise: then every call
here is a flag and a shared object. Nothing goes to any vendor by itself, and no prompt or answer is ever an attribute.

A trace travels as its W3C `traceparent` string, which is stored with the workflow: days and restarts later, attempts still
belong to the trace of the call that created it. The names below are public contract.

| span | attributes |
| --- | --- |
| `orcs.rpc` | rpc.method, orcs.namespace, orcs.outcome |
| `orcs.workflow` | orcs.namespace, orcs.workflow, orcs.status |
| `orcs.plan`, `orcs.attempt` | orcs.namespace, orcs.workflow, orcs.task, orcs.attempt, orcs.agent, orcs.outcome |

| measurement | unit | attributes |
| --- | --- | --- |
| `orcs.rpc.duration` | s | rpc.method, orcs.outcome |
| `orcs.workflow.duration` | s | orcs.status |
| `orcs.attempt.duration` | s | orcs.agent, orcs.outcome |
| `orcs.tokens` | tokens | orcs.agent, orcs.direction: input, output |
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Final, Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider, NoOpMeterProvider
from opentelemetry.trace import (
    NonRecordingSpan,
    NoOpTracerProvider,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TracerProvider,
)

from orcs_server.telemetry.providers import Providers, providers_from

OK: Final = "OK"
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")

Attributes = dict[str, str | int]


class OpenSpan:
    """A span that is under way, and where it hangs in its trace. `traceparent` is "" while telemetry is off."""

    __slots__ = ("_span", "outcome", "traceparent")

    def __init__(self, span: Span | None, traceparent: str = "") -> None:
        self._span = span
        self.traceparent = traceparent
        self.outcome = OK
        """What became of it: OK, or the name of a failure kind or an error. Set it before the span ends."""

    def note(self, name: str, value: str | int) -> None:
        """Add an attribute."""
        if self._span is not None:
            self._span.set_attribute(name, value)


class _Off(AbstractContextManager[OpenSpan]):
    """One object for every span while telemetry is off; hands a given `traceparent` on, so that it is stored all the same."""

    __slots__ = ("_traceparent",)

    def __init__(self, traceparent: str = "") -> None:
        self._traceparent = traceparent

    def __enter__(self) -> OpenSpan:
        return OpenSpan(None, self._traceparent)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


_OFF: Final = _Off()


class Telemetry:
    """Where spans and measurements go. Without providers: nowhere, at next to no cost."""

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        providers: Providers | None = None,
    ) -> None:
        self._providers = providers
        self.tracing = tracer_provider is not None
        self.metering = meter_provider is not None
        self._tracer = (tracer_provider or NoOpTracerProvider()).get_tracer("orcs")
        meter = (meter_provider or NoOpMeterProvider()).get_meter("orcs")
        self._rpc_duration = meter.create_histogram("orcs.rpc.duration", "s", "How long calls took")
        self._workflow_duration = meter.create_histogram("orcs.workflow.duration", "s", "From creation to the end")
        self._attempt_duration = meter.create_histogram("orcs.attempt.duration", "s", "How long attempts took")
        self._tokens = meter.create_counter("orcs.tokens", "tokens", "Tokens that attempts consumed")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Set up what the standard `OTEL_…` variables ask for. Raises `StartupError` if an exporter is not installed."""
        providers = providers_from(environ)
        if providers is None:
            return cls()
        return cls(providers.tracer_provider, providers.meter_provider, providers)

    def rpc_span(self, method: str, traceparent: str = "") -> AbstractContextManager[OpenSpan]:
        """Span a call; `traceparent` is the client's. Safe around streams: nothing is put into the current context."""
        if not (self.tracing or self.metering):
            return _Off(traceparent) if is_traceparent(traceparent) else _OFF
        return self._span("orcs.rpc", {"rpc.method": method}, traceparent, SpanKind.SERVER, current=False)

    def plan_span(
        self, namespace: str, workflow: str, attempt: int, agent: str, traceparent: str = ""
    ) -> AbstractContextManager[OpenSpan]:
        """Span one attempt to make a plan, within one asyncio task."""
        return self._work_span("orcs.plan", namespace, workflow, "", attempt, agent, traceparent)

    def attempt_span(
        self, namespace: str, workflow: str, task: str, attempt: int, agent: str, traceparent: str = ""
    ) -> AbstractContextManager[OpenSpan]:
        """Span one attempt of a task, within one asyncio task. Spans that libraries open inside hang below it."""
        return self._work_span("orcs.attempt", namespace, workflow, task, attempt, agent, traceparent)

    def record_workflow(
        self, namespace: str, workflow: str, status: str, created_us: int, finished_us: int, traceparent: str = ""
    ) -> None:
        """Tell of a workflow that has ended. Its span is made in one go, because no process need see it from end to end."""
        if self.tracing:
            span = self._tracer.start_span(
                "orcs.workflow",
                _context(traceparent),
                attributes={"orcs.namespace": namespace, "orcs.workflow": workflow, "orcs.status": status},
                start_time=created_us * 1_000,
            )
            if status == "FAILED":
                span.set_status(Status(StatusCode.ERROR))
            span.end(finished_us * 1_000)
        if self.metering:
            self._workflow_duration.record(max(finished_us - created_us, 0) / 1_000_000, {"orcs.status": status})

    def count_tokens(self, agent: str, input_tokens: int, output_tokens: int) -> None:
        """Count what a model call consumed."""
        if self.metering:
            self._tokens.add(input_tokens, {"orcs.agent": agent, "orcs.direction": "input"})
            self._tokens.add(output_tokens, {"orcs.agent": agent, "orcs.direction": "output"})

    def close(self) -> None:
        """Send out what is left and stop. Blocks until the exporters are done or give up: call it in a thread."""
        if self._providers is not None:
            self._providers.close()

    def _work_span(
        self, name: str, namespace: str, workflow: str, task: str, attempt: int, agent: str, traceparent: str
    ) -> AbstractContextManager[OpenSpan]:
        if not (self.tracing or self.metering):
            return _OFF
        attributes: Attributes = {
            "orcs.namespace": namespace,
            "orcs.workflow": workflow,
            "orcs.attempt": attempt,
            "orcs.agent": agent,
        }
        if task:
            attributes["orcs.task"] = task
        return self._span(name, attributes, traceparent, SpanKind.INTERNAL, current=True)

    @contextmanager
    def _span(
        self, name: str, attributes: Attributes, traceparent: str, kind: SpanKind, *, current: bool
    ) -> Iterator[OpenSpan]:
        began = time.monotonic()
        span = self._tracer.start_span(name, _context(traceparent), kind, attributes)
        opened = OpenSpan(span, _traceparent(span) or (traceparent if is_traceparent(traceparent) else ""))
        try:
            if current:
                with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                    yield opened
            else:
                yield opened
        except BaseException as error:
            # The type alone: an exception's text may hold what users or models wrote.
            opened.outcome = opened.outcome if opened.outcome != OK else type(error).__name__
            raise
        finally:
            span.set_attribute("orcs.outcome", opened.outcome)
            if opened.outcome != OK:
                span.set_status(Status(StatusCode.ERROR, opened.outcome))
            span.end()
            self._measure(name, attributes, opened.outcome, time.monotonic() - began)

    def _measure(self, name: str, attributes: Attributes, outcome: str, seconds: float) -> None:
        if name == "orcs.rpc":
            self._rpc_duration.record(seconds, {"rpc.method": attributes["rpc.method"], "orcs.outcome": outcome})
        else:
            self._attempt_duration.record(seconds, {"orcs.agent": attributes["orcs.agent"], "orcs.outcome": outcome})


TELEMETRY_OFF: Final = Telemetry()
"""Spans and measurements that go nowhere."""


def is_traceparent(text: str) -> bool:
    """Whether `text` is a W3C traceparent. One that is not is ignored, as the standard asks."""
    return len(text) <= 200 and _parsed(text) is not None


def _parsed(text: str) -> re.Match[str] | None:
    found = _TRACEPARENT.fullmatch(text)
    # Version 00 has exactly four fields; later versions may have more.
    return None if found is None or (text.startswith("00") and found[4]) else found


def _context(traceparent: str) -> Context:
    """Return the context that `traceparent` describes, empty where it describes none: the current one is never taken."""
    found = _parsed(traceparent) if len(traceparent) <= 200 else None
    if found is None:
        return Context()
    parent = SpanContext(
        int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=TraceFlags(int(found[3], 16))
    )
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


def _traceparent(span: Span) -> str:
    context = span.get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
