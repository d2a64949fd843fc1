"""The clock of the whole server."""

from __future__ import annotations

import time


class Clock:
    """Microseconds UTC that never go back, however the machine's clock is set."""

    def __init__(self) -> None:
        self._last = 0

    def now_us(self) -> int:
        now = time.time_ns() // 1000
        self._last = max(now, self._last)
        return self._last
