"""OpenTelemetry's SDK, set up from the standard `OTEL_…` variables and imported only then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from msgspec import Struct
from opentelemetry.metrics import MeterProvider

from orcs_server.errors import StartupError
from orcs_server.telemetry.spans import Sink

PROTOCOLS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}


class Providers(Struct, frozen=True):
    """Where spans and measurements go, as far as anyone asked for them."""

    sink: Sink | None
    meter_provider: MeterProvider | None
    closers: tuple[Callable[[], Any], ...]
    registry: Any = None
    """Of prometheus_client, where metrics are to be fetched."""
    outlets: tuple[Any, ...] = ()

    @property
    def spans_dropped(self) -> int:
        """Spans that could not be sent."""
        return sum(outlet.dropped for outlet in self.outlets)


def providers_from(environ: Mapping[str, str], *, scraped: bool = False) -> Providers | None:
    """Return providers for the exporters that the environment names; None if it names none and nobody will fetch metrics.

    An endpoint without an exporter means OTLP. Raises `StartupError` for an exporter that is not installed.
    """
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    spans = [] if disabled else _exporters(environ, "TRACES", "opentelemetry_traces_exporter")
    measurements = [] if disabled else _exporters(environ, "METRICS", "opentelemetry_metrics_exporter")
    if not spans and not measurements and not scraped:
        return None
    sink, outlets = _sink(spans)
    meter_provider, registry = _meter_provider(measurements, scraped=scraped)
    closers = [each.shutdown for each in (sink, meter_provider) if each is not None]
    return Providers(sink, meter_provider, tuple(closers), registry, outlets)


def _sink(exporters: list[Any]) -> tuple[Any, tuple[Any, ...]]:
    if not exporters:
        return None, ()
    from opentelemetry.sdk.resources import Resource

    from orcs_server.telemetry.sending import Outlet, Outlets

    outlets = tuple(Outlet(exporter()) for exporter in exporters)
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before the default name.
    return Outlets(_named(Resource), outlets), outlets


def _meter_provider(exporters: list[Any], *, scraped: bool) -> tuple[Any, Any]:
    if not exporters and not scraped:
        return None, None
    from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter
    from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource

    readers: list[MetricReader] = [PeriodicExportingMetricReader(exporter()) for exporter in exporters]
    registry = None
    if scraped:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from prometheus_client import CollectorRegistry

        registry = CollectorRegistry()
        readers.append(PrometheusMetricReader(scope_info_enabled=False, registry=registry))
    return SdkMeterProvider(
        metric_readers=readers,
        resource=_named(Resource),
        shutdown_on_exit=False,
        # Examples of traces beside each number would cost as much as the number.
        exemplar_filter=AlwaysOffExemplarFilter(),
    ), registry


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
        advice = "pip install 'orcs-server[otlp]'" if name.startswith("otlp") else f"correct {variable}"
        raise StartupError(f"{variable} asks for the OpenTelemetry exporter {name!r}, which is not installed: {advice}")
    return next(iter(found)).load()
