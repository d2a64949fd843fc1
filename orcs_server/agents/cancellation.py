"""Work that is not left half done when the attempt that does it is cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_log = logging.getLogger("orcs.journal")


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await it; when cancelled, only once it has ended."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        if not task.cancelled() and task.exception() is not None:
            _log.warning("a call of a cancelled attempt could not be stored: %s", task.exception())
        raise
