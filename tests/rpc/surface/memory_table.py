"""The same for the requests about memory."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from orcs_client.v1 import common_pb2, memory_pb2
from tests.rpc.surface.expected import (
    NO_CURSORS,
    NO_DURATION,
    NO_TIME,
    Expectations,
    Expected,
    accepted,
    heartbeat,
    page_size,
    page_token,
    refused,
    request_id,
    wrong,
)

_m: Final = memory_pb2
_VALUE: Final = common_pb2.Part(text="A text.")
_RULE: Final = _m.MemoryAccessRule(
    subject="agent:research_agent", scope="shared:team", permissions=[_m.MEMORY_PERMISSION_READ]
)
_GLOBAL: Final = {"scope": "global"}
_ENTRY: Final = {"scope": "global", "key": "kept"}
MEMORY_BASE: Final[dict[str, dict[str, Any]]] = {
    "GetMemory": _ENTRY,
    "PutMemory": {"put": _m.MemoryPut(scope="global", key="new", value=_VALUE)},
    "DeleteMemory": {"delete": _m.MemoryDelete(scope="global", key="none")},
    "ListMemory": _GLOBAL,
    "ListMemoryScopes": {},
    "SearchMemory": {"query": "text"},
    "ListMemoryVersions": _ENTRY,
    "BatchMemory": {"changes": [_m.MemoryChange(check=_m.MemoryCheck(scope="global", key="none", expected_version=0))]},
    "ShareMemory": {**_ENTRY, "target_scope": "shared:team"},
    "CreateSnapshot": {"scope": "shared:team"},
    "ListSnapshots": {},
    "DeleteSnapshot": {**_GLOBAL, "snapshot": 2},
    "CompareSnapshots": {**_GLOBAL, "from_snapshot": 1},
    "RestoreSnapshot": {**_GLOBAL, "snapshot": 1},
    "RevertMemory": {"version": _m.MemoryVersionName(scope="global", key="kept", version=1)},
    "PurgeMemory": {**_GLOBAL, "key": "none"},
    "GetAccessRules": {},
    "SetAccessRules": {"rules": [_RULE]},
    "GetMemoryStatistics": {},
    "WatchMemory": {},
}

_NO_SCOPES: Final = (
    *("nowhere", "global:x", "workflow:", "workflow:a/b", "task:w", "task:w/T", "agent:A", "shared:../x", "*"),
    *("workflow:\x00", "global\n", "\u202eglobal", "shared:" + "s" * 129, "x" * 300_000),
)
_BAD_KEYS: Final = ("a\x00b", "a\nb", "\x1b[2J", "a\u202eb", "a\u2028b", "é" * 257, "k" * 513, "k" * 300_000)
_NO_KEYS: Final = ("", *_BAD_KEYS)
_FAR: Final = (2**62, -1, -(2**63))
_TIMES: Final = tuple(Timestamp(**parts) for parts in NO_TIME)
_TTLS: Final = (*(Duration(**parts) for parts in NO_DURATION), Duration(), Duration(seconds=11 * 365 * 86_400))


def _scope(*, may_be_empty: bool = False) -> tuple[Expected, ...]:
    return tuple(wrong(scope=text) for text in (*_NO_SCOPES, *(() if may_be_empty else ("",))))


_KEY: Final = tuple(wrong(key=text) for text in _NO_KEYS)
_PREFIX: Final = tuple(wrong(prefix=text) for text in _BAD_KEYS)
_NO_ENTRY: Final = refused("NOT_FOUND", "MEMORY_NOT_FOUND", key="none")
_SNAPSHOT: Final = (
    *(wrong(snapshot=number) for number in (0, *_FAR)),
    refused("NOT_FOUND", "SNAPSHOT_NOT_FOUND", snapshot=77),
)
_CURSORS: Final = (*NO_CURSORS, "@cursor", "@cursor ready", "@memory beyond", "@memory of another namespace")


def _past(**more: Any) -> Expectations:
    return {
        "as_of_time": (
            *(wrong("as_of_time", as_of_time=value, **more) for value in _TIMES),
            wrong("as_of_time", as_of_time=Timestamp(seconds=4_000_000_000), **more),
            wrong("as_of_time", as_of_time=Timestamp(seconds=-1), **more),
        ),
        "as_of_cursor": (
            *(refused("INVALID_ARGUMENT", "CURSOR_INVALID", as_of_cursor=text, **more) for text in _CURSORS),
            refused("INVALID_ARGUMENT", "CURSOR_FOREIGN_EPOCH", as_of_cursor="@memory of another log", **more),
        ),
    }


def _watch_cursors() -> tuple[Expected, ...]:
    return (
        *(refused("INVALID_ARGUMENT", "CURSOR_INVALID", after_cursor=text) for text in _CURSORS),
        refused("INVALID_ARGUMENT", "CURSOR_FOREIGN_EPOCH", after_cursor="@memory of another log"),
    )


def _change(message: Any, field: str, place: str, wrap: Any) -> Expectations:
    """What is expected of a change; `wrap` makes fields of a request of it, `place` is what violations begin with."""

    def bad(name: str, *values: Any, at: str = "") -> tuple[Expected, ...]:
        sound = {"scope": "global", "key": "new", **({"value": _VALUE} if message is _m.MemoryPut else {})}
        where = f"{place}.{at or name}"
        return tuple(wrong(where, **wrap(message(**{**sound, name: value}))) for value in values)

    stale = Expected(
        wrap(
            message(
                scope="global",
                key="kept",
                expected_version=77,
                **({"value": _VALUE} if message is _m.MemoryPut else {}),
            )
        ),
        "ABORTED",
        "MEMORY_VERSION_STALE",
    )
    found: Expectations = {
        f"{field}.scope": bad("scope", "", *_NO_SCOPES),
        f"{field}.key": bad("key", *_NO_KEYS),
        f"{field}.expected_version": (*bad("expected_version", *_FAR), stale),
    }
    if message is _m.MemoryPut:
        part = common_pb2.Part
        types = ("a\nb", "text", "\u202etext/plain", "t" * 300_000)
        found |= {
            f"{field}.value.media_type": (
                *bad("value", *(part(text="x", media_type=text) for text in types), at="value.media_type"),
                *bad("value", part(json="{}", media_type="text/plain"), at="value.media_type"),
            ),
            f"{field}.value.text": bad(
                "value", part(text="x" * 1_048_577), part(text="{", media_type="application/json"), part()
            ),
            f"{field}.value.data": bad(
                "value", part(data=b"x" * 1_048_577), part(data=b"\xff", media_type="text/plain")
            ),
            f"{field}.value.uri": bad("value", part(uri="file:///etc/passwd"), part(uri="http://127.0.0.1/")),
            f"{field}.value.json": bad("value", *(part(json=text) for text in ("", "{", '{"a": NaN}', "[" * 100_000))),
            f"{field}.ttl": bad("ttl", *_TTLS),
        }
    return found


def _batch(name: str) -> Any:
    return lambda message: {"changes": [_m.MemoryChange(**{name: message})]}


def _twice() -> list[Any]:
    return [*MEMORY_BASE["BatchMemory"]["changes"], *MEMORY_BASE["BatchMemory"]["changes"]]


def _rule(field: str, *values: Any, at: str = "") -> tuple[Expected, ...]:
    sound = {"subject": "*", "scope": "*", "permissions": [_m.MEMORY_PERMISSION_READ]}
    where = f"rules[0].{at or field}"
    return tuple(wrong(where, rules=[_m.MemoryAccessRule(**{**sound, field: value})]) for value in values)


def _named(field: str, *values: Any, **sound: Any) -> tuple[Expected, ...]:
    base = {"scope": "global", "key": "kept", "version": 1}
    return tuple(
        wrong(f"version.{field}", version=_m.MemoryVersionName(**{**base, **sound, field: value})) for value in values
    )


def _run(field: str, *values: Any, **sound: Any) -> tuple[Expected, ...]:
    base = {"workflow_id": "ready"}
    return tuple(
        wrong(f"run.{field}", version=None, run=_m.MemoryRun(**{**base, **sound, field: value})) for value in values
    )


def _context(field: str, *values: str, **sound: Any) -> tuple[Expected, ...]:
    return tuple(
        wrong(f"context.{field}", scope=None, context=_m.MemoryContext(**{**sound, field: value})) for value in values
    )


MEMORY: Final[dict[str, Expectations]] = {
    "GetMemory": {
        "scope": (
            *_scope(may_be_empty=True),
            wrong("scope", scope="", version=1),
            wrong("context", context=_m.MemoryContext(workflow_id="ready")),
            refused("NOT_FOUND", "MEMORY_NOT_FOUND", scope="shared:nobody"),
        ),
        "key": (*_KEY, _NO_ENTRY, refused("NOT_FOUND", "MEMORY_NOT_FOUND", key="elsewhere")),
        "context.workflow_id": _context("workflow_id", "../a", "a/b", "a\x00", "w" * 129),
        "context.task_id": (
            *_context("task_id", "../a", "A", "t" * 64, workflow_id="ready"),
            *_context("task_id", "a"),
        ),
        "context.agent": _context("agent", "../a", "A", "a:b", "t" * 64),
        "version": (
            *(wrong(version=number) for number in (0, *_FAR)),
            refused("NOT_FOUND", "MEMORY_NOT_FOUND", version=77),
        ),
        **_past(),
    },
    "PutMemory": {"request_id": request_id(), **_change(_m.MemoryPut, "put", "put", lambda one: {"put": one})},
    "DeleteMemory": {
        "request_id": request_id(),
        **_change(_m.MemoryDelete, "delete", "delete", lambda one: {"delete": one}),
    },
    "ListMemory": {
        "scope": _scope(),
        "prefix": _PREFIX,
        "page_size": page_size(),
        "page_token": page_token("memory"),
        **_past(),
    },
    "ListMemoryScopes": {"prefix": _PREFIX, "page_size": page_size(), "page_token": page_token("scopes")},
    "SearchMemory": {
        "query": tuple(wrong(query=text) for text in ("", " ", "\x00", '"*"', "x" * 4097)),
        "scopes[]": (
            wrong("scopes[0]", scopes=["nowhere"]),
            wrong("scopes[1]", scopes=["global", ""]),
            wrong("scopes", scopes=["global"] * 101),
        ),
        "any_word": (accepted(any_word=True),),
        "page_size": page_size(),
        "page_token": page_token("hits"),
    },
    "ListMemoryVersions": {
        "scope": _scope(),
        "key": (*_KEY, accepted(key="none")),
        "page_size": page_size(),
        "page_token": page_token("versions"),
    },
    "BatchMemory": {
        "request_id": request_id(),
        "changes[]": (
            wrong("changes", changes=[]),
            wrong("changes", changes=MEMORY_BASE["BatchMemory"]["changes"] * 101),
            wrong("changes", changes=_twice()),
            wrong("changes[0]", "changes", changes=[_m.MemoryChange()]),
        ),
        **_change(_m.MemoryPut, "changes[].put", "changes[0].put", _batch("put")),
        **_change(_m.MemoryDelete, "changes[].delete", "changes[0].delete", _batch("delete")),
        **_change(_m.MemoryCheck, "changes[].check", "changes[0].check", _batch("check")),
    },
    "ShareMemory": {
        "request_id": request_id(),
        "scope": _scope(),
        "key": (*_KEY, _NO_ENTRY),
        "target_scope": tuple(wrong(target_scope=text) for text in ("", "global", *_NO_SCOPES)),
    },
    "CreateSnapshot": {
        "request_id": request_id(),
        "scope": _scope(),
        "title": tuple(wrong(title=text) for text in ("a\nb", "\x00", "\u202ea", "t" * 201)),
    },
    "ListSnapshots": {
        "scope": _scope(may_be_empty=True),
        "page_size": page_size(),
        "page_token": page_token("snapshots"),
    },
    "DeleteSnapshot": {"request_id": request_id(), "scope": _scope(), "snapshot": _SNAPSHOT},
    "CompareSnapshots": {
        "scope": _scope(),
        "from_snapshot": (
            *(wrong(from_snapshot=number) for number in (0, *_FAR)),
            refused("NOT_FOUND", "SNAPSHOT_NOT_FOUND", from_snapshot=77),
        ),
        "to_snapshot": (
            *(wrong(to_snapshot=number) for number in _FAR),
            refused("NOT_FOUND", "SNAPSHOT_NOT_FOUND", to_snapshot=77),
        ),
        "page_size": page_size(),
        "page_token": page_token("differences"),
    },
    "RestoreSnapshot": {"request_id": request_id(), "scope": _scope(), "snapshot": _SNAPSHOT},
    "RevertMemory": {
        "request_id": request_id(),
        "version.scope": _named("scope", "", *_NO_SCOPES),
        "version.key": _named("key", *_NO_KEYS),
        "version.version": (
            *_named("version", 0, *_FAR),
            Expected(
                {"version": _m.MemoryVersionName(scope="global", key="kept", version=77)},
                "NOT_FOUND",
                "MEMORY_NOT_FOUND",
            ),
        ),
        "run.workflow_id": (*_run("workflow_id", "", "../a", "a/b", "w" * 129), wrong("", version=None)),
        "run.task_id": _run("task_id", "../a", "A", "t" * 64),
        "run.attempt": (*_run("attempt", -1, -(2**31), task_id="a"), *_run("attempt", 1)),
    },
    "PurgeMemory": {
        "request_id": request_id(),
        "scope": _scope(),
        "key": (*_KEY, wrong("", key=None)),
        "prefix": tuple(wrong("prefix", key=None, prefix=text) for text in _BAD_KEYS),
    },
    "GetAccessRules": {
        "version": (
            *(wrong(version=number) for number in _FAR),
            refused("NOT_FOUND", "MEMORY_NOT_FOUND", version=10_000),
        )
    },
    "SetAccessRules": {
        "request_id": request_id(),
        "rules[]": (wrong("rules", rules=[_RULE] * 201),),
        "rules[].subject": _rule("subject", "", "ada", "agent:A", "workflow:a/b", "client:", "client:\x00", "**"),
        "rules[].scope": _rule("scope", "", "nowhere", "task:a/b/*", "global*", "\x00"),
        "rules[].prefix": _rule("prefix", *_BAD_KEYS),
        "rules[].permissions[]": (
            *_rule("permissions", [0], [99], [-1], at="permissions[0]"),
            *_rule("permissions", []),
        ),
        "rules[].deny": (
            accepted(
                rules=[
                    _m.MemoryAccessRule(
                        subject="agent:nobody", scope="shared:x", permissions=[_m.MEMORY_PERMISSION_READ], deny=True
                    )
                ]
            ),
        ),
        "expected_version": (
            *(wrong(expected_version=number) for number in _FAR),
            refused("ABORTED", "MEMORY_VERSION_STALE", expected_version=10_000),
        ),
    },
    "GetMemoryStatistics": {
        "scope": _scope(may_be_empty=True),
        "page_size": page_size(),
        "page_token": page_token("statistics"),
    },
    "WatchMemory": {
        "scope": _scope(may_be_empty=True),
        "prefix": _PREFIX,
        "after_cursor": _watch_cursors(),
        "heartbeat_interval": heartbeat(),
    },
}
