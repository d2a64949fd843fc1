"""The clock of the whole server."""

from __future__ import annotations

import time


class Clock:
    """Microseconds UTC that never go back, however the machine's clock is set.

    When the machine's clock is set back, this one goes on at half its speed until the other has caught up.
    """

    def __init__(self) -> None:
        self._last_us = 0
        self._steady_ns = time.monotonic_ns()

    def now_us(self) -> int:
        steady_ns = time.monotonic_ns()
        passed_us = (steady_ns - self._steady_ns) // 2000
        now_us = max(time.time_ns() // 1000, self._last_us + passed_us)
        if now_us > self._last_us:
            self._last_us, self._steady_ns = now_us, steady_ns
        return self._last_us
