"""Where spans hang. A trace travels as its W3C `traceparent` string, which is stored with the workflow.

The spans of a workflow and of its tasks are made in one go when they end, since no process need see them from end to end. What hangs
below them has to know their ids before: so these ids are computed from what is stored (decision 21).
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context, create_key, set_value
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_LONGEST = 200
_NOTHING = Context()
_FROM_CLIENT = create_key("from-client")


class Whole(NamedTuple):
    """A workflow as telemetry knows it: what it is, and which trace its creation belongs to."""

    namespace: str
    workflow: str
    created_us: int
    traceparent: str = ""

    @property
    def parent(self) -> Context:
        """Where the workflow's own span hangs: below the call that created it."""
        return context_of(self.traceparent)

    def ids(self) -> tuple[int, int]:
        """(trace id, span id) of the workflow's span."""
        found = parsed(self.traceparent)
        name = f"{self.namespace}\0{self.workflow}\0{self.created_us}"
        trace_id = _number(f"trace\0{name}", 16) if found is None else int(found[1], 16)
        return trace_id, _number(f"{trace_id:x}\0{name}", 8)

    def task_ids(self, task: str, started_us: int) -> tuple[int, int]:
        """(trace id, span id) of the span of a task that was begun at this time."""
        trace_id, span_id = self.ids()
        return trace_id, _number(f"{span_id:x}\0{task}\0{started_us}", 8)


def is_traceparent(text: str) -> bool:
    """Whether `text` is a W3C traceparent. One that is not is ignored, as the standard asks."""
    return parsed(text) is not None


def parsed(text: str) -> re.Match[str] | None:
    """Return the groups trace id, span id and flags; None for what is no traceparent."""
    found = _TRACEPARENT.fullmatch(text) if len(text) <= _LONGEST else None
    # Version 00 has exactly four fields; later versions may have more.
    return None if found is None or (text.startswith("00") and found[4]) else found


def context_of(traceparent: str) -> Context:
    """Return the context that `traceparent` describes, empty where it describes none: the current one is never taken."""
    found = parsed(traceparent)
    if found is None:
        return _NOTHING
    below = context_at(int(found[1], 16), int(found[2], 16), int(found[3], 16))
    return set_value(_FROM_CLIENT, True, below)


def context_at(trace_id: int, span_id: int, flags: int) -> Context:
    """Return the context below a span that is known by its ids alone."""
    parent = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return context_below(parent)


def context_below(place: SpanContext) -> Context:
    """Return the context below a span of ours; libraries find it there as they find any other."""
    return trace.set_span_in_context(NonRecordingSpan(place), _NOTHING)


def place_of(context: Context) -> SpanContext | None:
    """Return the span that a context is below, None where there is none."""
    found = trace.get_current_span(context).get_span_context()
    return found if found.is_valid else None


def kept_elsewhere(context: Context) -> bool:
    """Whether the span that a context is below was said to be kept by somebody else, and not by us."""
    return context.get(_FROM_CLIENT) is not None


def traceparent_of(context: SpanContext) -> str:
    """Return the traceparent that leads to a span."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def trace_fields(traceparent: str) -> dict[str, str]:
    """Return the fields by which a log line says which trace it belongs to; none without one."""
    found = parsed(traceparent)
    return {} if found is None else {"trace_id": found[1], "span_id": found[2]}


def _number(text: str, size: int) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()) or 1
