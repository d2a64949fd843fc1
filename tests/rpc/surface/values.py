"""Requests of any kind, out of the descriptors: values that make sense, values at the limits, and values that are meant badly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st

from tests.rpc.surface.methods import is_map, is_nested, kind_of, message_of
from tests.rpc.surface.world import ELSEWHERE, FORGED_KEYS, STORED

_LISTS: Final = ("tasks", "workflows", "agents", "memory", "hits", "versions", "snapshots")
PAGE_TOKENS: Final = (
    *(f"@page {name}" for name in _LISTS),
    *(f"@page cut {name}" for name in _LISTS),
    *(f"@page forged {name} {number}" for name in _LISTS for number in range(len(FORGED_KEYS))),
)
CURSORS: Final = (
    *("@memory", "@memory beyond", "@memory of another namespace", "@memory of another log"),
    *("@cursor", "@cursor beyond", "@cursor of another namespace", "@cursor cut"),
    *(f"@cursor {name}" for name in (*STORED, ELSEWHERE)),
    *(f"@cursor {what} ready" for what in ("beyond", "of another log")),
)
SCHEMA: Final = (
    '{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false}'
)

SENSIBLE: Final[dict[str, tuple[str, ...]]] = {
    "workflow_id": (*STORED, *STORED, ELSEWHERE, "none", *(f"new{number}" for number in range(20))),
    "continue_from": ("", "", "", "done", ELSEWHERE),
    "task_id": ("a", "b", "t1", "none"),
    "id": ("", "", "", "a", "b"),
    "dependencies": ("a", "b"),
    "agent_id": ("research_agent", "writing_agent", "research_agent", "planner", "nobody", "kept_poet"),
    "tools": ("ask_user", "memory_get"),
    "request_id": ("", "r1", "r2"),
    "page_token": ("", *PAGE_TOKENS),
    "after_cursor": ("", *CURSORS),
    "cursor": ("", *CURSORS),
    "as_of_cursor": ("@memory", "@memory", *CURSORS),
    "scope": ("global", "global", "shared:team", "workflow:ready", "task:ready/a", "agent:research_agent"),
    "scopes": ("global", "shared:team"),
    "target_scope": ("shared:team", "workflow:ready"),
    "key": ("kept", "other", "none"),
    "prefix": ("", "k"),
    "agent": ("", "research_agent"),
    "subject": ("agent:*", "workflow:ready", "client:somebody"),
    "title": ("A title",),
    "query": ("Compare two databases",),
    "json": ("{}", '{"a": [1, 2.5, null, "é"]}'),
    "resource_requirements": ("", '{"gpu": 1}'),
    "output_schema": ("", SCHEMA),
}
"""By the name of a field, whatever message it is in; all other texts are `a text`."""

DEEP: Final = 20_000
HOSTILE_TEXTS: Final = (
    *(
        "",
        " ",
        "\n",
        "\t\n\r ",
        "\x00",
        "a\x00b",
        "\x1b[2J\x1b]0;x\x07",
        "\x7f",
        "a\x85b",
        "a\u2028b",
        "\u202eevil",
        "\u2066x",
    ),
    *(
        "..",
        "../../etc/passwd",
        "/",
        "a/b",
        "/etc/passwd",
        "C:\\x",
        "%2e%2e%2f",
        "a\\..\\b",
        ".",
        "-",
        "--help",
        "~root",
    ),
    *("'; DROP TABLE workflows; --", "%s%n", "{0}", "${HOME}", "<script>alert(1)</script>", "`id`", "*", "?", "[", "]"),
    *(
        "\ufeff",
        "\ufffe",
        "\uffff",
        "\U0010ffff",
        "\u0130",
        "e\u0301" * 40,
        "\u200b",
        "\U0001d518",
        "é",
        "null",
        "0",
        "-1",
        "NaN",
    ),
    *("a" * 63, "a" * 64, "a" * 128, "a" * 129, "a" * 200, "a" * 201, "a" * 256, "b" * 1025, "c" * 70_000),
    *("é" * 140_000, "d" * (5 * 1024 * 1024)),
    *(
        "{",
        "[1]",
        '"a"',
        "3",
        "true",
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": 1e999}',
        '{"a": 9007199254740993}',
        '{"a": -0.0}',
    ),
    *(
        '{"a": 1, "a": 2}',
        '{"a": "\\ud800"}',
        '{"\\u0000": "\\u0000"}',
        '{"a": 1' + "0" * 400 + "}",
        '{"a": 1' + "0" * 5000 + "}",
    ),
    *(
        "[" * DEEP + "]" * DEEP,
        '{"a":' * DEEP + "1" + "}" * DEEP,
        '{"a": ' + "[" * 400 + "]" * 400 + "}",
        '{"__proto__": {}}',
    ),
    *(
        '{"$ref": "#"}',
        '{"$ref": "file:///etc/passwd"}',
        '{"type": 3}',
        '{"type": "object", "properties": {"a": {"$ref": "#"}}}',
    ),
    '{"type": "object", "properties": {"a": {"type": "string", "pattern": "(a+)+$"}}}',
    '{"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}',
    '{"type": "object", "minProperties": 1e400}',
    *CURSORS,
    *PAGE_TOKENS,
)
_I32: Final = (-(2**31), -1001, -1, 0, 1, 2, 64, 65, 100, 101, 1000, 1001, 10_000, 10_001, 2**31 - 1)
_I64: Final = (*_I32, -(2**63), -(2**62), 2**32, 2**53 + 1, 2**62, 2**63 - 1)
_SECONDS: Final = (
    *(
        -(2**63),
        -62_135_596_801,
        -62_135_596_800,
        -1,
        0,
        1,
        30 * 86_400,
        30 * 86_400 + 1,
        315_576_000_000,
        315_576_000_001,
    ),
    *(4_000_000_000, 253_402_300_799, 253_402_300_800, 2**63 - 1),
)
_NANOS: Final = (-(2**31), -1, 0, 0, 1, 999_999_999, 1_000_000_000, 2**31 - 1)
_DOUBLES: Final = (math.nan, math.inf, -math.inf, -1.0, -0.0, 0.0, 5e-324, 0.999, 1.0, 1.5, 10.0, 10.001, 1e308)

_F = FieldDescriptor


Texts = Mapping[str, tuple[str, ...]]
"""Texts that make sense, by the name of their field."""


def sensible(field: FieldDescriptor, texts: Texts) -> st.SearchStrategy[Any]:
    """Values that a field may well have."""
    if field.type == _F.TYPE_STRING:
        return st.sampled_from(texts.get(field.name) or SENSIBLE.get(field.name, ("a text",)))
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.message_type is not None:
        seconds = (4_000_000_000, 5_000_000_000) if field.message_type.name == "Timestamp" else (1, 60)
        return st.builds(kind_of(field.message_type), seconds=st.sampled_from(seconds))
    if field.type == _F.TYPE_BOOL:
        return st.booleans()
    if field.type == _F.TYPE_BYTES:
        return st.just(b"bytes")
    return st.sampled_from((1, 2, 10))


def hostile(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """Values at a field's limits and beyond."""
    if field.type == _F.TYPE_STRING:
        return st.sampled_from(HOSTILE_TEXTS) | st.text(max_size=12)
    if field.type == _F.TYPE_BYTES:
        return st.sampled_from((b"", b"\x00", b"\xff\xfe", b"x" * 70_000))
    if field.message_type is not None:
        return st.builds(kind_of(field.message_type), seconds=st.sampled_from(_SECONDS), nanos=st.sampled_from(_NANOS))
    return st.sampled_from(_numbers(field))


def _numbers(field: FieldDescriptor) -> tuple[Any, ...]:
    match field.type:
        case _F.TYPE_BOOL:
            return (False, True)
        case _F.TYPE_DOUBLE | _F.TYPE_FLOAT:
            return _DOUBLES
        case _F.TYPE_INT32 | _F.TYPE_ENUM:
            return _I32
        case _F.TYPE_INT64:
            return _I64
        case _:
            raise AssertionError(f"{field.full_name}: give values of its type here")


KEYS: Final = frozenset(
    {"workflow_id", "task_id", "PlanTask.title", "PlanTask.description", "PlanTask.agent_id", "tasks"}
)
"""Fields without which a request gets nowhere."""
SELDOM: Final = frozenset({"output_schema", "budget", "dependencies"})
"""Fields that go with few of the others."""


@st.composite
def requests(draw: st.DrawFn, message: Descriptor, texts: Texts = SENSIBLE) -> Any:
    """Draw a request: one that makes sense, one with a single bad field, or one of which anything may be bad."""
    mood = draw(st.sampled_from(("good", "one", "one", "any")))
    bad = frozenset[str]()
    if message.fields and mood == "one":
        bad = frozenset((draw(st.sampled_from([field.name for field in message.fields])),))
    elif mood == "any":
        bad = frozenset(field.name for field in message.fields if draw(st.booleans()))
    return _Drawing(draw, texts).message(message, bad, all_bad=mood == "any")


def _sides(fields: Sequence[FieldDescriptor]) -> list[str]:
    """Return the sides of a oneof, JSON more often than others: where it is wanted nothing else will do."""
    names = [field.name for field in fields]
    return [*names, *(["json"] * 8 if "json" in names else [])]


class _Drawing:
    """Draws messages, field by field."""

    def __init__(self, draw: st.DrawFn, texts: Texts) -> None:
        self._draw = draw
        self._texts = texts

    def message(self, message: Descriptor, bad: frozenset[str], *, all_bad: bool) -> Any:
        built = kind_of(message)()
        chosen = {
            oneof.name: self._draw(st.sampled_from(_sides(oneof.fields)))
            for oneof in message.oneofs
            if len(oneof.fields) > 1
        }
        # Few fields at a time get far, many find what goes wrong between them.
        often = self._draw(st.sampled_from((0, 1, 1, 4)))
        for field in message.fields:
            oneof = field.containing_oneof
            is_bad = field.name in bad
            if oneof is not None and len(oneof.fields) > 1 and not is_bad:
                wanted = chosen[oneof.name] == field.name
            else:
                key = field.name in KEYS or f"{message.name}.{field.name}" in KEYS
                often_enough = often // 2 if field.name in SELDOM else often
                wanted = is_bad or (key and not all_bad) or self._draw(st.integers(0, 7)) < often_enough
            if wanted:
                self._set(built, field, is_bad=is_bad)
        return built

    def _set(self, built: Any, field: FieldDescriptor, *, is_bad: bool) -> None:
        if is_map(field):
            self._set_map(getattr(built, field.name), message_of(field), is_bad=is_bad)
        elif field.is_repeated:
            values = [self._value(field, is_bad=is_bad) for _ in range(self._draw(st.integers(0 if is_bad else 1, 3)))]
            if is_bad and values and self._draw(st.integers(0, 9)) == 0:
                values = values[:1] * self._draw(st.sampled_from((65, 1001, 10_001)))
                if values[0].ByteSize() > 100 if is_nested(field) else isinstance(values[0], str):
                    values = values[:65]
            getattr(built, field.name).extend(values)
        elif field.message_type is not None:
            getattr(built, field.name).CopyFrom(self._value(field, is_bad=is_bad))
        else:
            setattr(built, field.name, self._value(field, is_bad=is_bad))

    def _value(self, field: FieldDescriptor, *, is_bad: bool) -> Any:
        if is_nested(field):
            bad = frozenset(
                each.name for each in message_of(field).fields if is_bad and self._draw(st.integers(0, 2)) == 0
            )
            return self.message(message_of(field), bad, all_bad=False)
        return self._draw(hostile(field) if is_bad else sensible(field, self._texts))

    def _set_map(self, entries: Any, entry: Descriptor, *, is_bad: bool) -> None:
        key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
        assert value.message_type is None, f"{entry.full_name}: say here how messages get into a map"
        for number in range(self._draw(st.sampled_from((1, 2, 65, 1001) if is_bad else (1, 2)))):
            if number < 3:
                entries[self._draw(hostile(key) if is_bad else sensible(key, self._texts))] = self._draw(
                    hostile(value) if is_bad else sensible(value, self._texts)
                )
            else:
                entries[f"key{number}"] = "value"
