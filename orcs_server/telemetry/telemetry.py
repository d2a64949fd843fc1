"""The facade of telemetry. Off unless `OTEL_…` variables, `metrics_listen` or given providers say otherwise: then every call here is a
flag and a shared object. Nothing goes to any vendor by itself. The names of spans, attributes and metrics are public contract:
docs/telemetry.md.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Final, Self

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import SpanKind

from orcs_server.telemetry import metrics
from orcs_server.telemetry.calls import AgentScope, Calls
from orcs_server.telemetry.content import asked_for
from orcs_server.telemetry.meters import Figure, Meters
from orcs_server.telemetry.metrics import Metric
from orcs_server.telemetry.prometheus import MetricsEndpoint
from orcs_server.telemetry.providers import Providers, providers_from
from orcs_server.telemetry.spans import OFF, Attributes, Off, OpenSpan, Scope, Sink, Tracing, continued
from orcs_server.telemetry.traces import Whole, context_of, is_traceparent
from orcs_server.telemetry.trouble import Trouble

CLOSE_S: Final = 5.0
"""How long the end of the server waits for receivers to take what is left."""
FAILED: Final = "FAILED"


class Telemetry:
    """Where spans and measurements go. Without providers: nowhere, at next to no cost."""

    def __init__(
        self,
        sink: Sink | None = None,
        meter_provider: MeterProvider | None = None,
        providers: Providers | None = None,
        *,
        by_namespace: bool = False,
        captures: bool = False,
    ) -> None:
        """`by_namespace` tells some metrics apart by namespace; with `captures` spans hold what was asked and answered, bounded."""
        self.trouble = Trouble()
        self.meters = Meters(meter_provider, self.trouble, by_namespace=by_namespace)
        self._tracing = Tracing(sink, self.trouble)
        self.calls = Calls(self._tracing, self.meters, captures=captures)
        self._providers = providers
        self._on = self._tracing.on or self.meters.on
        self._endpoint: MetricsEndpoint | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, scraped: bool = False, by_namespace: bool = False) -> Self:
        """Set up what the standard `OTEL_…` variables ask for, and with `scraped` what `listen` is to show.

        Raises `StartupError` if an exporter is not installed.
        """
        providers = providers_from(environ, scraped=scraped)
        if providers is None:
            return cls()
        return cls(
            providers.sink,
            providers.meter_provider,
            providers,
            by_namespace=by_namespace,
            captures=asked_for(environ),
        )

    @property
    def tracing(self) -> bool:
        """Spans go somewhere."""
        return self._tracing.on

    @property
    def metering(self) -> bool:
        """Measurements go somewhere."""
        return self.meters.on

    @property
    def spans_dropped(self) -> int:
        """Spans that could not be sent."""
        return 0 if self._providers is None else self._providers.spans_dropped

    def listen(self, host: str, port: int) -> tuple[str, int]:
        """Show the metrics to Prometheus at this address; return it with its real port. Raises StartupError."""
        if self._providers is None or self._providers.registry is None:
            raise ValueError("set up telemetry with scraped=True first")
        self._endpoint = MetricsEndpoint(self._providers.registry, host, port)
        return self._endpoint.address

    def rpc_span(self, method: str, traceparent: str = "") -> AbstractContextManager[OpenSpan]:
        """Span a call; `traceparent` is the client's. Safe around streams: nothing is put into the current context."""
        if not self._on:
            return Off(traceparent) if is_traceparent(traceparent) else OFF

        def start() -> OpenSpan:
            opened = self._tracing.start("orcs.rpc", context_of(traceparent), {"rpc.method": method}, SpanKind.SERVER)
            opened.traceparent = opened.traceparent or continued(traceparent)
            return opened

        def measure(seconds: float, outcome: str) -> None:
            self.meters.record(metrics.RPC_DURATION, seconds, {"rpc.method": method, "orcs.outcome": outcome})

        return Scope(start, measure, current=False)

    def plan_span(self, whole: Whole, attempt: int, agent: str) -> AbstractContextManager[OpenSpan]:
        """Span one attempt to make a plan, within one asyncio task."""
        if not self._on:
            return OFF
        attributes: Attributes = {"orcs.attempt": attempt, "orcs.planning": "true"}
        return self._agent_span(whole, self._tracing.below_workflow(whole), attributes, agent)

    def attempt_span(
        self, whole: Whole, task: str, started_us: int, attempt: int, agent: str
    ) -> AbstractContextManager[OpenSpan]:
        """Span one attempt of a task, within one asyncio task. Spans that libraries open inside hang below it."""
        if not self._on:
            return OFF
        attributes: Attributes = {"orcs.attempt": attempt, "orcs.task": task}
        return self._agent_span(whole, self._tracing.below_task(whole, task, started_us), attributes, agent)

    def record_task(self, whole: Whole, task: str, agent: str, status: str, times_us: tuple[int, int]) -> None:
        """Tell of a task that has ended: `times_us` is when it was begun and when it ended."""
        attributes: Attributes = {
            "orcs.namespace": whole.namespace,
            "orcs.workflow": whole.workflow,
            "orcs.task": task,
            "orcs.agent": agent,
            "orcs.status": status,
        }
        began_us, ended_us = times_us
        if self.tracing:
            self._tracing.past(
                "orcs.task",
                self._tracing.below_workflow(whole),
                whole.task_ids(task, began_us),
                attributes,
                times_us,
                FAILED if status == FAILED else "",
            )
        by = {"orcs.agent": agent, "orcs.status": status}
        self.meters.record(metrics.TASK_DURATION, max(ended_us - began_us, 0) / 1e6, by)

    def record_workflow(self, whole: Whole, status: str, finished_us: int) -> None:
        """Tell of a workflow that has ended."""
        if self.tracing:
            self._tracing.past(
                "orcs.workflow",
                whole.parent,
                whole.ids(),
                {"orcs.namespace": whole.namespace, "orcs.workflow": whole.workflow, "orcs.status": status},
                (whole.created_us, finished_us),
                FAILED if status == FAILED else "",
            )
        seconds = max(finished_us - whole.created_us, 0) / 1e6
        self.meters.record(metrics.WORKFLOW_DURATION, seconds, {"orcs.status": status}, whole.namespace)

    def observe(self, figures: Mapping[Metric, Iterable[Figure]]) -> None:
        """Keep what was observed, for whoever collects next."""
        self.trouble.attempt(self.meters.observe, figures)

    def close(self) -> None:
        """Send out what is left and stop, within five seconds: what a receiver does not take until then is dropped. Blocks."""
        if self._endpoint is not None:
            self._endpoint.close()
        if self._providers is None:
            return
        # A thread of its own that nobody waits for at the end of the process: an exporter may hang.
        closing = threading.Thread(target=self._close_providers, name="orcs-telemetry-close", daemon=True)
        closing.start()
        closing.join(CLOSE_S)
        if closing.is_alive():
            self.trouble.note(TimeoutError())

    def _close_providers(self) -> None:
        for close in () if self._providers is None else self._providers.closers:
            self.trouble.attempt(close)

    def _agent_span(
        self, whole: Whole, context: Context, attributes: Attributes, agent: str
    ) -> AbstractContextManager[OpenSpan]:
        attributes |= {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": agent,
            "orcs.namespace": whole.namespace,
            "orcs.workflow": whole.workflow,
        }

        def start() -> OpenSpan:
            return self._tracing.start(f"invoke_agent {agent}", context, attributes)

        def measure(seconds: float, outcome: str) -> None:
            self.meters.record(metrics.ATTEMPT_DURATION, seconds, {"orcs.agent": agent, "orcs.outcome": outcome})

        return AgentScope(Scope(start, measure, current=True), self.calls, agent, whole.namespace)


TELEMETRY_OFF: Final = Telemetry()
"""Spans and measurements that go nowhere."""
