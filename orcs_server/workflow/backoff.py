"""When to try again: exponential backoff with full jitter. The jitter is given in, never drawn here."""

from __future__ import annotations

from orcs_server.workflow.model import Failure, RetryPolicy

RETRY_AFTER_LIMIT_US = 3_600_000_000
"""A server that asks for more patience than an hour is not believed."""

SPREAD = 4
"""Those who wait for the same thing come back over a quarter of their pause."""


def backoff_us(policy: RetryPolicy, failures: int, jitter: float, failure: Failure) -> int:
    """Return the pause in microseconds after the given number of failures, at least what the failing party asked for.

    `jitter` in [0, 1] picks a point between zero and the exponential bound (full jitter, as in AWS's "Exponential
    Backoff And Jitter").
    """
    bound = float(policy.initial_backoff_us)
    for _ in range(failures - 1):
        bound *= policy.multiplier
        if bound >= policy.max_backoff_us:
            break
    pause = int(min(bound, policy.max_backoff_us) * min(max(jitter, 0.0), 1.0))
    asked = min(failure.retry_after_us or 0, RETRY_AFTER_LIMIT_US)
    if failure.spares_budget:
        # Many are told the same time: they come after it, and not all at once.
        return asked + max(pause, int(asked / SPREAD * min(max(jitter, 0.0), 1.0)))
    return max(pause, asked)
