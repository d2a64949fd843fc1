"""An agent for workflows that are taken up again: its model calls a tool once, and after that takes longer than any benchmark.

When it is asked for the first time after a start, it writes the time to the file that `ORCS_BENCH_ASKED` names.
"""

from __future__ import annotations

import asyncio
import os
import time
from functools import cache
from pathlib import Path
from typing import Any

from agents import Agent
from openai.types.responses import Response

from benchmarks.instant import response_of
from benchmarks.tooled import TooledModel, look_up, tool_calls

ASKED = Path(os.environ.get("ORCS_BENCH_ASKED", os.devnull))
LONG_S = 3600.0


@cache
def note_first() -> None:
    """Write down when this was called for the first time."""
    ASKED.write_text(str(time.time()))


class WaitingModel(TooledModel):
    """Calls a tool in the first turn; in the second one it does not answer."""

    async def answer(self, shown: Any) -> Response:
        """Return the response of the first turn."""
        if isinstance(shown, str) or len(shown) == 1:
            return response_of(tool_calls("first turn", 1))
        note_first()
        await asyncio.sleep(LONG_S)
        raise RuntimeError("no benchmark is to take that long")


registry = {
    "waiting_agent": Agent(
        name="waiting_agent", instructions="You look things up, then answer.", tools=[look_up], model=WaitingModel()
    )
}
