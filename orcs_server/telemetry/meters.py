"""Measurements over OpenTelemetry: cheap to take, bounded in what tells them apart, and never an error to whoever takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from opentelemetry.metrics import CallbackOptions, MeterProvider, NoOpMeterProvider, Observation

from orcs_server.telemetry.metrics import OBSERVED, RECORDED, Metric
from orcs_server.telemetry.trouble import Trouble

VALUES_KEPT: Final = 100
"""Values of one attribute that are told apart; whatever comes later is counted as `_OTHER`."""
VALUE_LIMIT: Final = 128
"""Characters of a value."""
OTHER: Final = "_OTHER"

NAMESPACE: Final = "orcs.namespace"
Values = Mapping[str, str]


class Figure(NamedTuple):
    """What was observed: a number, and by what it is told apart."""

    value: float
    attributes: Values = MappingProxyType({})


class Meters:
    """Takes measurements, and tells those who ask what was observed last. Observations come from other threads: they are handed over
    whole and never looked up in what the event loop works with.
    """

    def __init__(self, provider: MeterProvider | None, trouble: Trouble, *, by_namespace: bool = False) -> None:
        self.on = provider is not None
        self.by_namespace = by_namespace
        self.trouble = trouble
        self._known: dict[str, dict[str, str]] = {}
        self._sums: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        self._observed: Mapping[str, Sequence[Figure]] = {}
        meter = (provider or NoOpMeterProvider()).get_meter("orcs")
        self._record: dict[str, Callable[..., None]] = {}
        for metric in RECORDED:
            if metric.kind == "histogram":
                made = meter.create_histogram(
                    metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=metric.buckets
                )
                self._record[metric.name] = made.record
            else:
                self._record[metric.name] = self._summing(metric)
                meter.create_observable_counter(metric.name, [self._summed(metric)], metric.unit, metric.description)
        for metric in OBSERVED:
            create = (
                meter.create_observable_gauge if metric.kind == "observed gauge" else meter.create_observable_counter
            )
            create(metric.name, [self._reader(metric)], metric.unit, metric.description)

    def record(self, metric: Metric, value: float, attributes: Values | None = None, namespace: str = "") -> None:
        """Take one measurement. Nothing that goes wrong is raised."""
        if not self.on:
            return
        try:
            told = {} if attributes is None else {name: self._bounded(name, one) for name, one in attributes.items()}
            if self.by_namespace and metric.by_namespace:
                told[NAMESPACE] = self._bounded(NAMESPACE, namespace)
            self._record[metric.name](value, told)
        except Exception as error:  # noqa: BLE001 - telemetry fails open, whatever it raises
            self.trouble.note(error)

    def observe(self, figures: Mapping[Metric, Iterable[Figure]]) -> None:
        """Keep what was observed, for whoever collects next."""
        kept: dict[str, Sequence[Figure]] = {}
        for metric, seen in figures.items():
            together: dict[tuple[tuple[str, str], ...], float] = {}
            for figure in seen:
                key = tuple((name, self._bounded(name, value)) for name, value in figure.attributes.items())
                together[key] = together.get(key, 0) + figure.value
            kept[metric.name] = [Figure(value, dict(key)) for key, value in together.items()]
        self._observed = kept

    def _summing(self, metric: Metric) -> Callable[..., None]:
        # A sum is several times as quick as the SDK's counter.
        sums = self._sums[metric.name] = {}

        def add(value: float, told: Values) -> None:
            key = tuple(told.items())
            sums[key] = sums.get(key, 0) + value

        return add

    def _summed(self, metric: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def read(_options: CallbackOptions) -> Iterable[Observation]:
            return [Observation(value, dict(key)) for key, value in list(self._sums[metric.name].items())]

        return read

    def _reader(self, metric: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def read(_options: CallbackOptions) -> Iterable[Observation]:
            return [Observation(value, dict(attributes)) for value, attributes in self._observed.get(metric.name, ())]

        return read

    def _bounded(self, name: str, value: Any) -> str:
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = {}
        found = known.get(value)
        if found is None:
            if len(known) >= VALUES_KEPT:
                return OTHER
            found = known[value] = str(value)[:VALUE_LIMIT]
        return found
