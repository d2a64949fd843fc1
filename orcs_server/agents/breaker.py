"""A circuit breaker for each model server: while one is down, it is asked by one call at a time and with growing pauses, and
whoever wants to call meanwhile is told so at once, which costs none of the attempts that it has.

Nothing here knows asyncio or the Agents SDK; the clock is given in.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec.structs import replace

from orcs_server.workflow.model import Failure, FailureKind

_log = logging.getLogger("orcs.models")

ENDPOINTS_KEPT = 1_000
"""Endpoints that are remembered although they are up."""
RETRY_AFTER_LIMIT_US = 300_000_000
"""One answer keeps everybody away; it is not believed for longer than this."""

_OUTAGES = frozenset(
    {FailureKind.CONNECTION, FailureKind.SERVER_ERROR, FailureKind.TIMEOUT, FailureKind.TRUNCATED},
)
_UNTOLD = frozenset({FailureKind.INTERNAL, FailureKind.TOOL_FAILED})
"""What says nothing about the endpoint. Any other failure is an answer of its."""


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When an endpoint counts as down, and when it is asked again."""

    failures: int = 3
    """So many failed calls in a row, without an answer in between: no more than an attempt budget by default has."""
    first_pause_us: int = 1_000_000
    longest_pause_us: int = 30_000_000
    patience_us: int = 3_600_000_000
    """An outage that lasts longer costs attempts again, so that nothing waits for ever."""


class Leave:
    """Leave to make one call; each is settled by `answered`, `failed` or `dropped`."""

    __slots__ = ("term",)

    def __init__(self, term: int) -> None:
        self.term = term


class Breaker:
    """What is known of one endpoint: up, down, or being asked whether it is up again."""

    def __init__(
        self,
        endpoint: str,
        rules: BreakerRules,
        now_us: Callable[[], int],
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`endpoint` is shown to people; `draw` gives the jitter, from [0, 1)."""
        self.endpoint = endpoint
        self._rules = rules
        self._now_us = now_us
        self._draw = draw
        self._term = 0
        """Counts outages and their ends: a call that began in another term says nothing about this one."""
        self._failures = 0
        self._last: Failure | None = None
        """The last failure of the outage; None while the endpoint is up."""
        self._since_us = 0
        self._pauses = 0
        self._pause_us = 0
        self._probe_at_us = 0
        self._probe: Leave | None = None
        self._impatient = False

    @property
    def is_open(self) -> bool:
        """Whether the endpoint counts as down."""
        return self._last is not None

    @property
    def since_us(self) -> int:
        """Since when it has been down, if it is."""
        return self._since_us

    @property
    def last_kind(self) -> str:
        """As what the last call failed; "" while it is up."""
        return "" if self._last is None else self._last.kind.value

    def enter(self) -> Leave | Failure:
        """Return leave to call the endpoint, or the failure to give instead of a call."""
        if self._last is None:
            return Leave(self._term)
        now_us = self._now_us()
        if self._probe is None and now_us >= self._probe_at_us:
            self._probe = Leave(self._term)
            return self._probe
        return self._during(replace(self._last, retry_after_us=None if self._probe is None else self._pause_us))

    def answered(self, leave: Leave) -> None:
        """The endpoint gave an answer, if only a refusal: it is up."""
        if leave.term != self._term:
            return
        self._failures = 0
        if self._last is not None:
            down_s = (self._now_us() - self._since_us) / 1e6
            _log.warning("the model server at %s answers again, after %.0f s", self.endpoint, down_s)
            self._term += 1
            self._last = self._probe = None

    def failed(self, leave: Leave, failure: Failure) -> Failure:
        """A call failed. Return its failure, as one that spares the attempt's budget where the endpoint is at fault."""
        if not is_outage(failure):
            if failure.kind not in _UNTOLD:
                self.answered(leave)
            self.dropped(leave)
            return failure
        if leave.term != self._term:
            # It began before an outage that is under way, or is over by now.
            return self._during(failure) if self.is_open else replace(failure, spares_budget=True)
        if self._last is None:
            self._failures += 1
            if self._failures < self._rules.failures:
                return failure
            self._open(failure)
        self._probe = None
        self._last = failure
        self._wait(failure)
        return self._during(failure)

    def dropped(self, leave: Leave) -> None:
        """The call ended without telling anything about the endpoint. Nothing happens to a leave that is settled."""
        if self._probe is leave:
            self._probe = None

    def _open(self, failure: Failure) -> None:
        self._term += 1
        self._since_us = self._now_us()
        self._pauses = 0
        self._impatient = False
        _log.warning(
            "the model server at %s is down: %d calls in a row failed, the last one as %s; tasks wait until it answers",
            self.endpoint,
            self._failures,
            failure.kind,
        )

    def _wait(self, failure: Failure) -> None:
        rules = self._rules
        bound = min(rules.first_pause_us << min(self._pauses, 40), rules.longest_pause_us)
        self._pauses += 1
        asked = min(failure.retry_after_us or 0, RETRY_AFTER_LIMIT_US)
        self._pause_us = max(int(bound * (1 + self._draw()) / 2), asked)
        self._probe_at_us = self._now_us() + self._pause_us

    def _during(self, failure: Failure) -> Failure:
        """Return a failure in an outage: its cause, since when, and when to come back."""
        now_us = self._now_us()
        patient = now_us - self._since_us <= self._rules.patience_us
        if not patient and not self._impatient:
            self._impatient = True
            _log.warning(
                "the model server at %s has been down for more than %g s: from now on this costs tasks their attempts",
                self.endpoint,
                self._rules.patience_us / 1e6,
            )
        again_us = max(self._probe_at_us, now_us)
        pause_us = max(failure.retry_after_us or 0, again_us - now_us)
        known = f"The model server at {self.endpoint} has been down since {_time(self._since_us)}"
        again = f"is asked again at {_time(again_us)}" if self._probe is None else "is being asked again"
        cost = "until then the task waits, at no cost" if patient else "this has lasted too long to wait at no cost"
        return replace(
            failure,
            message=f"{known} and {again}; {cost}. {failure.message}",
            retry_after_us=pause_us,
            spares_budget=patient,
        )


class Breakers:
    """The breakers of all endpoints, made as they are asked for."""

    def __init__(
        self, rules: BreakerRules, now_us: Callable[[], int], draw: Callable[[], float] = random.random
    ) -> None:
        self._rules = rules
        self._now_us = now_us
        self._draw = draw
        self._breakers: dict[str, Breaker] = {}

    @property
    def down(self) -> tuple[Breaker, ...]:
        """Those of endpoints that count as down."""
        return tuple(one for one in self._breakers.values() if one.is_open)

    def of(self, endpoint: str) -> Breaker:
        """Return the one breaker of an endpoint, which is named as people may see it."""
        breaker = self._breakers.get(endpoint)
        if breaker is None:
            if len(self._breakers) >= ENDPOINTS_KEPT:
                self._breakers = {name: one for name, one in self._breakers.items() if one.is_open}
            breaker = self._breakers[endpoint] = Breaker(endpoint, self._rules, self._now_us, self._draw)
        return breaker


def is_outage(failure: Failure) -> bool:
    """Whether a model call failed in a way in which every call to this endpoint may fail now."""
    return failure.retryable and failure.kind in _OUTAGES


def _time(time_us: int) -> str:
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%H:%M:%S UTC")
