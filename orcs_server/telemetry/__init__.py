"""What the server tells of itself: log lines, spans and measurements. The only package that knows OpenTelemetry."""

from __future__ import annotations

from orcs_server.telemetry.logs import configure_logging
from orcs_server.telemetry.spans import TELEMETRY_OFF, OpenSpan, Telemetry

__all__ = ["TELEMETRY_OFF", "OpenSpan", "Telemetry", "configure_logging"]
