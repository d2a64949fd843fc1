"""OpenTelemetry's SDK, set up from the standard `OTEL_…` variables and imported only then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from msgspec import Struct
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from orcs_server.errors import StartupError

PROTOCOLS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}


class Providers(Struct, frozen=True):
    """Where spans and measurements go, as far as anyone asked for them."""

    tracer_provider: TracerProvider | None
    meter_provider: MeterProvider | None
    closers: tuple[Callable[[], Any], ...]

    def close(self) -> None:
        """Send out what is left. Blocks."""
        for close in self.closers:
            close()


def providers_from(environ: Mapping[str, str]) -> Providers | None:
    """Return providers for the exporters that the environment names; None if it names none.

    An endpoint without an exporter means OTLP. Raises `StartupError` for an exporter that is not installed.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    spans = _exporters(environ, "TRACES", "opentelemetry_traces_exporter")
    measurements = _exporters(environ, "METRICS", "opentelemetry_metrics_exporter")
    if not spans and not measurements:
        return None
    tracer_provider, meter_provider = _tracer_provider(spans), _meter_provider(measurements)
    closers = [each.shutdown for each in (tracer_provider, meter_provider) if each is not None]
    return Providers(tracer_provider, meter_provider, tuple(closers))


def _tracer_provider(exporters: list[Any]) -> Any:
    if not exporters:
        return None
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before this default.
    provider = SdkTracerProvider(resource=_named(Resource), shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter()))
    return provider


def _meter_provider(exporters: list[Any]) -> Any:
    if not exporters:
        return None
    from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource

    readers = [PeriodicExportingMetricReader(exporter()) for exporter in exporters]
    return SdkMeterProvider(metric_readers=readers, resource=_named(Resource), shutdown_on_exit=False)


def _named(resource: Any) -> Any:
    found = resource.create()
    # What the SDK calls a service that nobody named.
    unnamed = str(found.attributes.get("service.name", "")).startswith("unknown_service")
    return found.merge(resource({"service.name": "orcs"})) if unnamed else found


def _exporters(environ: Mapping[str, str], signal: str, group: str) -> list[Any]:
    names = environ.get(f"OTEL_{signal}_EXPORTER", "").strip()
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    if not names and any(environ.get(endpoint) for endpoint in endpoints):
        names = "otlp"
    return [
        _load(group, _entry_name(environ, signal, name.strip()), f"OTEL_{signal}_EXPORTER")
        for name in names.split(",")
        if name.strip() not in {"", "none"}
    ]


def _entry_name(environ: Mapping[str, str], signal: str, name: str) -> str:
    if name != "otlp":
        return name
    protocol = environ.get(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = protocol or "http/protobuf"
    if protocol not in PROTOCOLS:
        raise StartupError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}: use {' or '.join(PROTOCOLS)}")
    return PROTOCOLS[protocol]


def _load(group: str, name: str, variable: str) -> Any:
    found = entry_points(group=group, name=name)
    if not found:
        advice = "pip install opentelemetry-exporter-otlp" if name.startswith("otlp") else f"correct {variable}"
        raise StartupError(f"{variable} asks for the OpenTelemetry exporter {name!r}, which is not installed: {advice}")
    return next(iter(found)).load()
