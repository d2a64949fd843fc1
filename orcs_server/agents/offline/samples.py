"""The least JSON value that meets a schema: what the offline model answers where a schema is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

DEPTH = 24
MOST_VALUES = 2_000
"""Values within one sample; a schema that refers to itself may ask for more than there are atoms."""
_FORMATS = {
    "date-time": "2000-01-01T00:00:00Z",
    "date": "2000-01-01",
    "time": "00:00:00Z",
    "duration": "PT0S",
    "email": "offline@example.org",
    "hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-0000-0000-000000000000",
}
_TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")


def least_value(schema: Any, text: str) -> Any:
    """Return a small value for a schema, with `text` wherever free text is wanted.

    Covers types, enums, constants, defaults, required properties, lengths, bounds, formats, combinations and local references.
    What it cannot meet, such as a contradiction, comes out as near as it gets.
    """
    return _Sampling(schema, text).value(schema, 0)


class _Sampling:
    """The making of one sample."""

    def __init__(self, root: Any, text: str) -> None:
        self._root = root
        self._text = text
        self._left = MOST_VALUES

    def value(self, schema: Any, depth: int) -> Any:
        self._left -= 1
        if not isinstance(schema, Mapping) or depth > DEPTH or self._left < 0:
            return None
        schema = _resolved(schema, self._root)
        given = _given(schema)
        return given[0] if given else self._of_kind(_kind(schema), schema, depth)

    def _of_kind(self, kind: str, schema: Mapping[str, Any], depth: int) -> Any:
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "string":
                return _least_string(schema, self._text)
            case "integer" | "number":
                return _least_number(schema, whole=kind == "integer")
            case _:
                return False if kind == "boolean" else None

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        required = schema.get("required")
        names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
        return {name: self.value(properties.get(name, {}), depth + 1) for name in names}

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        first = schema.get("prefixItems")
        first = first if isinstance(first, list) else []
        count = min(_count(schema, "minItems"), 100)
        shapes = [first[index] if index < len(first) else schema.get("items", {}) for index in range(count)]
        return [self.value(shape, depth + 1) for shape in shapes]


def _given(schema: Mapping[str, Any]) -> list[Any]:
    """Return the values that the schema itself names."""
    values = [schema[key] for key in ("const", "default") if key in schema]
    return values or (schema["enum"] if isinstance(schema.get("enum"), list) else [])


def _resolved(schema: Mapping[str, Any], root: Any) -> Mapping[str, Any]:
    """Follow references and the first way through each combination, as far as that takes."""
    for _ in range(DEPTH):
        pointer = schema.get("$ref")
        if isinstance(pointer, str):
            target = _at(root, pointer)
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            schema = {**target, **rest} if isinstance(target, Mapping) else rest
            continue
        branch = next((schema[key] for key in ("anyOf", "oneOf", "allOf") if schema.get(key)), None)
        if not isinstance(branch, list):
            return schema
        parts = branch if "allOf" in schema and branch is schema["allOf"] else branch[:1]
        merged = {key: value for key, value in schema.items() if value is not branch}
        for part in parts:
            merged = _merged(merged, part if isinstance(part, Mapping) else {})
        schema = merged
    return schema


def _merged(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    both = {**left, **right}
    for key in ("properties", "$defs"):
        if isinstance(left.get(key), Mapping) and isinstance(right.get(key), Mapping):
            both[key] = {**left[key], **right[key]}
    if isinstance(left.get("required"), list) and isinstance(right.get("required"), list):
        both["required"] = [*left["required"], *right["required"]]
    return both


def _at(root: Any, pointer: str) -> Any:
    found = root
    for part in pointer.removeprefix("#").split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if key and isinstance(found, Mapping):
            found = found.get(key)
    return found


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in _TYPES if one in kind), None)
    if isinstance(kind, str):
        return kind
    if "properties" in schema or "required" in schema:
        return "object"
    return "array" if "items" in schema or "minItems" in schema else "string"


def _least_string(schema: Mapping[str, Any], text: str) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    shortest = min(_count(schema, "minLength"), 10_000)
    longest = _count(schema, "maxLength") if "maxLength" in schema else max(shortest, len(text))
    return text[:longest].ljust(min(shortest, longest), ".")


def _least_number(schema: Mapping[str, Any], *, whole: bool) -> int | float:
    """Return the first of a few likely numbers that is within the bounds, else the first of all."""
    given = schema.get("multipleOf")
    stride = given if _is_number(given) and given > 0 else 1
    low, high = _bound(schema, "minimum", "exclusiveMinimum"), _bound(schema, "maximum", "exclusiveMaximum")
    likely: list[int | float] = [0]
    if low is not None:
        multiple = -(-low // stride) * stride
        likely += [low, multiple, multiple + stride]
    if high is not None:
        multiple = high // stride * stride
        likely += [high, multiple, multiple - stride]
    if low is not None and high is not None:
        likely.append((low + high) / 2)
    fitting = [value for value in likely if _within(value, schema, whole=whole)]
    value = fitting[0] if fitting else likely[0]
    return int(value) if whole else value


def _bound(schema: Mapping[str, Any], inclusive: str, exclusive: str) -> int | float | None:
    values = (schema.get(key) for key in (inclusive, exclusive))
    return next((value for value in values if _is_number(value)), None)


def _within(value: float, schema: Mapping[str, Any], *, whole: bool) -> bool:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    stride = schema.get("multipleOf")
    return (
        (not whole or value == int(value))
        and not (_is_number(low) and value < low)
        and not (_is_number(above) and value <= above)
        and not (_is_number(high) and value > high)
        and not (_is_number(below) and value >= below)
        and not (_is_number(stride) and stride > 0 and value % stride)
    )


def _count(schema: Mapping[str, Any], key: str) -> int:
    value = schema.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
