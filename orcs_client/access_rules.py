"""Access rules of memory, read from a JSON file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orcs_client.plans import invalid, read_file, read_json
from orcs_client.v1 import memory_pb2, memory_service_pb2

if TYPE_CHECKING:
    from pathlib import Path


def load_access_rules(path: str | Path) -> tuple[memory_pb2.MemoryAccessRule, ...]:
    """Return the rules in a file, as `parse_access_rules` reads them. Raises `InvalidArgument` also if it cannot be read."""
    return parse_access_rules(read_file(path), str(path))


def parse_access_rules(text: str, name: str = "rules") -> tuple[memory_pb2.MemoryAccessRule, ...]:
    """Return the rules that `text` holds in protojson: `{"rules": [{"subject": "agent:*", "scope": "shared:team", "permissions":
    ["MEMORY_PERMISSION_READ"]}]}`. The version that `GetAccessRules` gives with them is passed over.

    Raises `InvalidArgument`, naming the place, for what is not JSON, an unknown or repeated field, and a wrong type. No rules at
    all must be written out: `{"rules": []}`.
    """
    made = memory_service_pb2.GetAccessRulesResponse()
    rules = tuple(read_json(text, made, name, "these are no access rules", '{"rules": […]}').rules)
    if not rules and "rules" not in json.loads(text):
        raise invalid(name, 'it holds no rules: write {"rules": []} if there shall be none')
    return rules
