"""What tools return, as the journal stores it. No Agents SDK here."""

from __future__ import annotations

import json
import logging
from typing import Any

_log = logging.getLogger("orcs.journal")


def pack_result(value: object, reads: bytes | None = None) -> bytes:
    """Return a tool's result for storing: as JSON where that gives it back exactly, else the text that the model sees.

    `reads` is the run's read set, as JSON, where the call has added to it.
    """
    more = {} if reads is None else {"reads": json.loads(reads)}
    try:
        if isinstance(value, str):
            return json.dumps({"value": value, **more}).encode()
        dump = getattr(value, "model_dump", None)
        plain = dump(mode="json", exclude_none=True) if dump is not None and hasattr(value, "type") else value
        packed = json.dumps({"value": plain, **more})
        if dump is not None or str(json.loads(packed)["value"]) == str(value):
            return packed.encode()
    except (TypeError, ValueError, RecursionError):
        _log.debug("a tool's result is no JSON: %s", type(value).__name__)
    return json.dumps({"value": str(value), **more}).encode()


def unpack_result(result: bytes) -> Any:
    """Return what `pack_result` was given, or its text."""
    return json.loads(result)["value"]


def reads_in(result: bytes) -> bytes | None:
    """Return the read set that is stored with a result; None if there is none."""
    reads = json.loads(result).get("reads")
    return None if reads is None else json.dumps(reads).encode()
