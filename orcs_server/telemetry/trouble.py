"""What telemetry does with its own trouble: it counts it, says so in the log now and then, and goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

LOG_EVERY = 1_000
"""The first trouble is logged, then every thousandth."""

_log = logging.getLogger("orcs.telemetry")


class Trouble:
    """Counts what did not work."""

    def __init__(self) -> None:
        self.failed = 0

    def note(self, error: Exception) -> None:
        """Count an error of the telemetry library. Its type is logged; its text might hold what users wrote."""
        if self.failed % LOG_EVERY == 0:
            _log.warning(
                "telemetry failed %d times so far, the last time with %s", self.failed + 1, type(error).__name__
            )
        self.failed += 1

    def attempt(self, work: Callable[..., object], *arguments: Any, **keywords: Any) -> None:
        """Do something for telemetry's sake; whatever it raises is noted and goes no further."""
        try:
            work(*arguments, **keywords)
        except Exception as error:  # noqa: BLE001 - telemetry fails open, whatever it raises
            self.note(error)
