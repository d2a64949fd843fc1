"""From request messages of memory to what the service takes. What a message cannot mean goes into findings."""

from __future__ import annotations

from orcs_client.v1 import common_pb2, memory_pb2, memory_service_pb2
from orcs_server.memory import Check, Delete, Put, Rule, Value
from orcs_server.memory.values import BYTES, JSON, TEXT
from orcs_server.rpc.conversion.memory import PERMISSION
from orcs_server.rpc.conversion.requests import heartbeat_us
from orcs_server.rpc.conversion.times import duration_us, time_us
from orcs_server.service.memoryrequests import MemoryChangeWish, MemoryLookup, MemoryPast, MemoryWatchWish
from orcs_server.service.validation import Findings
from orcs_server.storage.memory_rows import EntrySource, RunFilter
from orcs_server.storage.memory_text import is_json

_m, _s = memory_pb2, memory_service_pb2
NO_VALUE = Value(BYTES, b"")


def value(part: common_pb2.Part, field: str, findings: Findings) -> Value:
    """Return what a part holds; a URI is nothing that the server would fetch."""
    match part.WhichOneof("content"):
        case "text":
            return Value(part.media_type or TEXT, part.text.encode())
        case "json":
            if part.media_type and not is_json(part.media_type):
                findings.add(f"{field}.media_type", f"It is none of JSON: use {JSON}, or send a text.")
            return Value(part.media_type or JSON, part.json.encode())
        case "data":
            return Value(part.media_type or BYTES, part.data)
        case "uri":
            findings.add(field, "The server fetches nothing from elsewhere: send the content itself.")
        case _:
            findings.add(field, "It is empty: set the part's text, json or data.")
    return NO_VALUE


def put(message: _m.MemoryPut, at: str, findings: Findings) -> MemoryChangeWish:
    ttl = duration_us(message.ttl, f"{at}.ttl", findings) if message.HasField("ttl") else None
    expected = message.expected_version if message.HasField("expected_version") else None
    stored = value(message.value, f"{at}.value", findings)
    return MemoryChangeWish(at, Put(message.scope, message.key, stored, ttl, expected))


def delete(message: _m.MemoryDelete, at: str) -> MemoryChangeWish:
    expected = message.expected_version if message.HasField("expected_version") else None
    return MemoryChangeWish(at, Delete(message.scope, message.key, expected))


def changes(message: _s.BatchMemoryRequest, findings: Findings) -> list[MemoryChangeWish]:
    found: list[MemoryChangeWish] = []
    for index, one in enumerate(message.changes):
        at = f"changes[{index}]"
        match one.WhichOneof("change"):
            case "put":
                found.append(put(one.put, f"{at}.put", findings))
            case "delete":
                found.append(delete(one.delete, f"{at}.delete"))
            case "check":
                check = Check(one.check.scope, one.check.key, one.check.expected_version)
                found.append(MemoryChangeWish(f"{at}.check", check))
            case _:
                findings.add(at, "It is empty: set put, delete or check.")
    return found


def past(message: _s.GetMemoryRequest | _s.ListMemoryRequest, findings: Findings) -> MemoryPast:
    match message.WhichOneof("at"):
        case "version":
            return MemoryPast(version=message.version if isinstance(message, _s.GetMemoryRequest) else None)
        case "as_of_time":
            return MemoryPast(time_us=time_us(message.as_of_time, "as_of_time", findings))
        case "as_of_cursor":
            return MemoryPast(cursor=message.as_of_cursor)
        case _:
            return MemoryPast()


def lookup(message: _m.MemoryContext) -> MemoryLookup:
    return MemoryLookup(message.workflow_id, message.task_id, message.agent)


def version_name(message: _m.MemoryVersionName) -> EntrySource:
    return EntrySource(message.scope, message.key, message.version)


def run(message: _m.MemoryRun) -> RunFilter:
    return RunFilter(message.workflow_id, message.task_id or None, message.attempt or None)


def rules(message: _s.SetAccessRulesRequest, findings: Findings) -> list[Rule]:
    return [
        Rule(
            one.subject,
            one.scope,
            PERMISSION.all_from_wire(one.permissions, f"rules[{index}].permissions", findings),
            one.prefix,
            not one.deny,
        )
        for index, one in enumerate(message.rules)
    ]


def watch(message: _s.WatchMemoryRequest, findings: Findings) -> MemoryWatchWish:
    return MemoryWatchWish(message.scope, message.prefix, message.after_cursor, heartbeat_us(message, findings))
