"""What the server tells of itself: log lines, spans and measurements. The only package that knows OpenTelemetry."""

from __future__ import annotations

from orcs_server.telemetry import metrics
from orcs_server.telemetry.calls import NO_TOOL, Calls, ModelCall, Spent
from orcs_server.telemetry.logs import configure_logging
from orcs_server.telemetry.meters import Figure
from orcs_server.telemetry.spans import OK, OpenSpan
from orcs_server.telemetry.telemetry import TELEMETRY_OFF, Telemetry
from orcs_server.telemetry.traces import Whole, trace_fields

__all__ = [
    "NO_TOOL",
    "OK",
    "TELEMETRY_OFF",
    "Calls",
    "Figure",
    "ModelCall",
    "OpenSpan",
    "Spent",
    "Telemetry",
    "Whole",
    "configure_logging",
    "metrics",
    "trace_fields",
]
