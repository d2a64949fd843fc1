"""What model calls cost, by the price table that was frozen into the workflow. Money is whole millionths of whatever currency the
operator's prices are in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from msgspec import Struct

from orcs_server.workflow.model import Usage

_log = logging.getLogger("orcs.executor")

_PER = 1_000_000
"""Tokens that a price is for."""
_TOLD_LIMIT = 1_000
"""Models without a price that are remembered as told of: hooks may name ever new ones."""


class Price(Struct, frozen=True, omit_defaults=True):
    """What a million tokens of one model cost, in millionths of the currency unit."""

    input: int
    output: int
    """Of reasoning, too: those tokens are among the output tokens."""
    cached_input: int | None = None
    """None: like other input."""


def cost_micros(price: Price, usage: Usage) -> int:
    """Return what a call cost, rounded to the nearest millionth, halves up. Each call is rounded, so that sums add up."""
    cached = min(usage.cached_input_tokens, usage.input_tokens)
    cached_price = price.input if price.cached_input is None else price.cached_input
    fresh = usage.input_tokens - cached
    total = fresh * price.input + cached * cached_price + usage.output_tokens * price.output
    return (total + _PER // 2) // _PER


class Pricing:
    """Prices calls by the tables of their workflows, and tells the log once of each model that a table lacks."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def by(self, prices: Mapping[str, Price]) -> Callable[[str, Usage], int] | None:
        """Return what says of a call, by its model's name and its usage, what it cost; None without a table."""
        return (lambda model, usage: self._cost(prices, model, usage)) if prices else None

    def _cost(self, prices: Mapping[str, Price], model: str, usage: Usage) -> int:
        price = prices.get(model)
        if price is not None:
            return cost_micros(price, usage)
        if model not in self._told:
            if len(self._told) >= _TOLD_LIMIT:
                self._told.clear()
            self._told.add(model)
            _log.warning("the table [prices] has no model %r: its calls count as free", model)
        return 0
