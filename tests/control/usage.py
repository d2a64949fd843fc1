"""What a call of the tests' model uses, and what that costs."""

from __future__ import annotations

MODEL_NAME = "by-rule"
INPUT_TOKENS, OUTPUT_TOKENS = 6, 4
"""Of every model call."""
TOKENS = INPUT_TOKENS + OUTPUT_TOKENS
PRICE = {MODEL_NAME: {"input": 1_000_000, "output": 2_000_000}}
COST_MICROS = INPUT_TOKENS + 2 * OUTPUT_TOKENS
