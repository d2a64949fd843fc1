"""Spans over OpenTelemetry. Whatever the library raises is counted and goes no further; no prompt, answer, argument or result is an
attribute unless content was asked for.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import Token
from types import TracebackType
from typing import Any, Final, NamedTuple, Protocol

from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from orcs_server.telemetry.traces import (
    Whole,
    context_at,
    context_below,
    is_traceparent,
    kept_elsewhere,
    parsed,
    place_of,
    traceparent_of,
)
from orcs_server.telemetry.trouble import Trouble

OK: Final = "OK"

Attributes = dict[str, str | int | float]


class Sink(Protocol):
    """Takes spans that are over, and decides at the beginning of a trace whether it is kept."""

    def sampled(self, context: Context, trace_id: int, name: str) -> bool:
        """Whether a span is kept that begins a trace, or goes on with one that came from elsewhere."""

    def take(self, span: Ended) -> None:
        """Take a span on its way, without waiting for anything."""


class Ended(NamedTuple):
    """A span that is over."""

    name: str
    context: SpanContext
    parent: SpanContext | None
    attributes: Attributes
    kind: SpanKind
    times_ns: tuple[int, int]
    failed: str


class OpenSpan:
    """A span that is under way, and where it hangs in its trace. `traceparent` is "" while telemetry is off."""

    __slots__ = (
        "_attributes",
        "_began_ns",
        "_kind",
        "_name",
        "_parent",
        "_place",
        "_tracing",
        "outcome",
        "traceparent",
    )

    def __init__(
        self,
        tracing: Tracing | None = None,
        name: str = "",
        place: SpanContext | None = None,
        parent: SpanContext | None = None,
        attributes: Attributes | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        began_ns: int | None = None,
        traceparent: str = "",
    ) -> None:
        self._tracing = tracing
        self._name = name
        self._place = place
        self._parent = parent
        self._attributes: Attributes = {} if attributes is None else attributes
        self._kind = kind
        self._began_ns = time.time_ns() if began_ns is None else began_ns
        self.traceparent = traceparent if place is None else traceparent_of(place)
        self.outcome = OK
        """What became of it: OK, or the name of a failure kind or an error. Set it before the span ends."""

    @property
    def recording(self) -> bool:
        """Whether what is noted goes anywhere."""
        return self._tracing is not None and self._place is not None and bool(self._place.trace_flags)

    def note(self, name: str, value: Any) -> None:
        """Add an attribute."""
        self._attributes[name] = value

    def end(self) -> None:
        """End the span with its outcome, once."""
        tracing, self._tracing = self._tracing, None
        if tracing is None or self._place is None or not self._place.trace_flags:
            return
        failed = "" if self.outcome == OK else self.outcome
        times = (self._began_ns, time.time_ns())
        tracing.emit(Ended(self._name, self._place, self._parent, self._attributes, self._kind, times, failed))

    @property
    def context(self) -> Context | None:
        """Where what is below it hangs."""
        return None if self._place is None else context_below(self._place)


class Off(AbstractContextManager[OpenSpan]):
    """One object for every span while telemetry is off; hands a given `traceparent` on, so that it is stored all the same."""

    __slots__ = ("_traceparent",)

    def __init__(self, traceparent: str = "") -> None:
        self._traceparent = traceparent

    def __enter__(self) -> OpenSpan:
        return OpenSpan(traceparent=self._traceparent)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


OFF: Final = Off()


class Tracing:
    """Makes spans. They are kept as what they are until they end, which is several times as quick as the SDK's own."""

    def __init__(self, sink: Sink | None, trouble: Trouble) -> None:
        self.on = sink is not None
        self.trouble = trouble
        self._sink = sink

    def start(
        self,
        name: str,
        context: Context,
        attributes: Attributes,
        kind: SpanKind = SpanKind.INTERNAL,
        began_ns: int | None = None,
    ) -> OpenSpan:
        """Start a span; without tracing, or where the sampler fails, one that is none."""
        if not self.on:
            return OpenSpan()
        parent = place_of(context)
        try:
            place = self._place(name, context, parent)
        except Exception as error:  # noqa: BLE001 - telemetry fails open, whatever it raises
            self.trouble.note(error)
            return OpenSpan()
        return OpenSpan(self, name, place, parent, attributes, kind, began_ns)

    def below_workflow(self, whole: Whole) -> Context:
        """Where a workflow's tasks and plannings hang."""
        return context_at(*whole.ids(), self._flags(whole))

    def below_task(self, whole: Whole, task: str, started_us: int) -> Context:
        """Where a task's attempts hang."""
        return context_at(*whole.task_ids(task, started_us), self._flags(whole))

    def past(
        self,
        name: str,
        context: Context,
        ids: tuple[int, int],
        attributes: Attributes,
        times_us: tuple[int, int],
        failed: str = "",
    ) -> None:
        """Make a span, with these ids, of what is over."""
        parent = place_of(context)
        flags = parent.trace_flags if parent is not None else self._root_flags(ids[0], name)
        if not flags:
            return
        place = SpanContext(*ids, is_remote=False, trace_flags=TraceFlags(flags))
        times_ns = (times_us[0] * 1_000, max(times_us) * 1_000)
        self.emit(Ended(name, place, parent, attributes, SpanKind.INTERNAL, times_ns, failed))

    def emit(self, span: Ended) -> None:
        """Send a span on its way. Nothing is raised."""
        if self._sink is None:
            return
        try:
            self._sink.take(span)
        except Exception as error:  # noqa: BLE001 - telemetry fails open, whatever it raises
            self.trouble.note(error)

    def _place(self, name: str, context: Context, parent: SpanContext | None) -> SpanContext:
        trace_id = _random_id(128) if parent is None else parent.trace_id
        flags: int = 0 if parent is None else parent.trace_flags
        if (parent is None or kept_elsewhere(context)) and self._sink is not None:
            flags = int(self._sink.sampled(context, trace_id, name))
        return SpanContext(trace_id, _random_id(64), is_remote=False, trace_flags=TraceFlags(flags))

    def _flags(self, whole: Whole) -> int:
        """The trace's flags: those that came with it, else what the sampler says of a trace that begins here."""
        found = parsed(whole.traceparent)
        return self._root_flags(whole.ids()[0], "orcs.workflow") if found is None else int(found[3], 16) & 1

    def _root_flags(self, trace_id: int, name: str) -> int:
        try:
            return int(self._sink is not None and self._sink.sampled(Context(), trace_id, name))
        except Exception as error:  # noqa: BLE001 - telemetry fails open, whatever it raises
            self.trouble.note(error)
            return 0


def _random_id(bits: int) -> int:
    # Ids need to differ, and keep no secret.
    return random.getrandbits(bits) or 1


class Scope(AbstractContextManager[OpenSpan]):
    """A span for as long as a `with` lasts, and what is measured at its end."""

    __slots__ = ("_began", "_context", "_current", "_measure", "_start", "_token", "opened")

    def __init__(self, start: Callable[[], OpenSpan], measure: Callable[[float, str], None], *, current: bool) -> None:
        self._start = start
        self._measure = measure
        self._current = current
        """Spans that libraries open inside hang below it."""
        self._token: Token[Context] | None = None

    def __enter__(self) -> OpenSpan:
        self._began = time.monotonic()
        self.opened: OpenSpan = self._start()
        context = self.opened.context if self._current else None
        if context is not None:
            self._token = attach(context)
        return self.opened

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        opened = self.opened
        if kind is not None and opened.outcome == OK:
            # The type alone: an exception's text may hold what users or models wrote.
            opened.outcome = kind.__name__
        if self._token is not None:
            detach(self._token)
        opened.note("orcs.outcome", opened.outcome)
        opened.end()
        self._measure(time.monotonic() - self._began, opened.outcome)


def continued(traceparent: str) -> str:
    """Return the traceparent if it is one, else ""."""
    return traceparent if is_traceparent(traceparent) else ""
