"""Access rules of the memory, read from a JSON file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcs_client.plans import invalid, plainly, read_file
from orcs_client.v1 import memory_service_pb2

if TYPE_CHECKING:
    from pathlib import Path

    from orcs_client.v1.memory_pb2 import MemoryAccessRule


def load_access_rules(path: str | Path) -> tuple[MemoryAccessRule, ...]:
    """Return the rules in a file of protojson, `{"rules": [{"subject": "agent:writer", …}]}`; a `version` in it is passed over.

    Raises `InvalidArgument`, naming the place, for what cannot be read as rules.
    """
    from google.protobuf import json_format  # most programs never need it

    text, name = read_file(path), str(path)
    if not text.lstrip().startswith("{"):
        raise invalid(name, 'these are no access rules: it must be a JSON object like {"rules": […]}')
    # What GetAccessRules replies, with its version, can be given back as it is.
    reply = memory_service_pb2.GetAccessRulesResponse()
    try:
        json_format.Parse(text, reply)
    except (json_format.ParseError, RecursionError) as error:
        raise invalid(name, f"these are no access rules: {plainly(str(error))}") from error
    return tuple(reply.rules)
