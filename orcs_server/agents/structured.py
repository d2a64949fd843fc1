"""Structured output: which schema a model is asked to meet, and reading what came back. The SDK is told to hand over the text as it
is, because its own parser would lose the usage of an answer that does not parse.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from agents import AgentOutputSchema, AgentOutputSchemaBase
from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    import jsonschema

SCHEMA_LIMIT = 64 * 1024
"""Characters of a JSON schema, as compact JSON."""
SCHEMA_DEPTH = 32
PROBLEM_LIMIT = 10
"""Problems reported about one output."""
_SLOW = frozenset({"pattern", "patternProperties"})
_NAMED = frozenset({"properties", "$defs", "definitions", "dependentSchemas"})
_VALUES = frozenset({"enum", "const", "default", "examples"})
CHECK_LIMIT = 100_000
"""Keywords checked for one answer, at most."""


class RawJson(AgentOutputSchemaBase):
    """Asks the model for JSON of a schema and hands its text over unread."""

    def __init__(self, name: str, schema: dict[str, Any], *, strict: bool) -> None:
        self._name = name
        self._schema = schema
        self._strict = strict

    def is_plain_text(self) -> bool:
        return False

    def name(self) -> str:
        return self._name

    def json_schema(self) -> dict[str, Any]:
        return self._schema

    def is_strict_json_schema(self) -> bool:
        return self._strict

    def validate_json(self, json_str: str) -> str:
        return json_str


@lru_cache(maxsize=256)
def raw_json_for(output_type: type[BaseModel]) -> RawJson:
    """Return the strict schema of a type, as an output schema that hands over the text."""
    return RawJson(output_type.__name__, AgentOutputSchema(output_type).json_schema(), strict=True)


def schema_problems(schema: object) -> tuple[str, ...]:
    """Return what is wrong with a JSON schema for a task's output; empty if it can be used."""
    if not isinstance(schema, Mapping):
        return ("the schema must be a JSON object",)
    # Imported where it is used, here and below: most servers never see a schema, and it takes some megabytes.
    import jsonschema

    problems: list[str] = []
    try:
        if len(json.dumps(schema)) > SCHEMA_LIMIT:
            return (f"the schema must not be longer than {SCHEMA_LIMIT} characters",)
        problems += _walk(schema, 0)
        if schema.get("type") != "object":
            problems.append(
                'the schema\'s root must have "type": "object"; wrap other values into an object\'s property'
            )
        jsonschema.Draft202012Validator.check_schema(dict(schema))
    except jsonschema.SchemaError as error:
        problems.append(f"not a valid JSON schema (draft 2020-12) at {error.json_path}: {_cut(error.message)}")
    except (TypeError, ValueError, RecursionError):
        return ("the schema is not JSON, or nested without end",)
    return tuple(problems[:PROBLEM_LIMIT])


def _walk(schema: object, depth: int, *, keywords: bool = True) -> Iterator[str]:
    """Yield what ORCS does not support; `keywords` is False where the keys of an object are names of the user's."""
    if depth > SCHEMA_DEPTH:
        yield f"the schema must not be nested deeper than {SCHEMA_DEPTH} levels"
    elif isinstance(schema, Mapping):
        for key, value in schema.items():
            if keywords and key in _SLOW:
                yield f'"{key}" is not supported, since a hostile pattern can stall the server; use "enum" or "format"'
            if keywords and key == "$ref" and not (isinstance(value, str) and value.startswith("#")):
                yield '"$ref" must point into the schema itself and begin with "#"'
            if not (keywords and key in _VALUES):
                yield from _walk(value, depth + 1, keywords=not (keywords and key in _NAMED))
    elif isinstance(schema, list):
        for value in schema:
            yield from _walk(value, depth + 1)


def read_typed(text: str, output_type: type[BaseModel]) -> tuple[BaseModel | None, tuple[str, ...]]:
    """Return the text as an instance of the type, or the problems with it."""
    value, problems = read_json(text)
    if problems:
        return None, problems
    try:
        return output_type.model_validate(value), ()
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return None, tuple(f"{_path(one['loc'])}: {_cut(one['msg'])}" for one in found[:PROBLEM_LIMIT])
    except RecursionError:
        return None, ("nested too deeply",)


def read_by_schema(text: str, schema: Mapping[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """Return the text as a JSON value that meets the schema, or the problems with it."""
    value, problems = read_json(text)
    if not problems:
        problems = value_problems(value, schema)
    return (None, problems) if problems else (value, ())


def value_problems(value: Any, schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what keeps a JSON value from meeting the schema; empty if it does."""
    _checks_left.set([CHECK_LIMIT])
    found = []
    try:
        for error in _validator()(dict(schema)).iter_errors(value):
            found.append(f"{error.json_path}: {_cut(error.message)}")
            if len(found) == PROBLEM_LIMIT:
                break
    except (RecursionError, _TooMuchWork):
        return ("the schema, applied to this answer, is without end or takes too long",)
    except Exception as error:  # noqa: BLE001 - unresolvable references have a private class; the schema is the user's
        return (f"the schema cannot be applied: {_cut(str(error))}",)
    return tuple(found)


class _TooMuchWork(Exception):
    """A schema and an answer that together take longer than any honest ones."""


_checks_left: ContextVar[list[int]] = ContextVar("_checks_left")
"""What the answer that is being checked may still cost, as a list of one number."""


def _bounded(check: Callable[..., Any]) -> Callable[..., Any]:
    """Count the checks: schemas whose references double at each level would run for years otherwise."""

    def counted(validator: Any, wanted: Any, instance: Any, parent: Any) -> Any:
        left = _checks_left.get()
        left[0] -= 1
        if left[0] < 0:
            raise _TooMuchWork
        return check(validator, wanted, instance, parent)

    return counted


@cache
def _validator() -> Callable[[dict[str, Any]], Any]:
    """Return what makes a validator of a schema: it counts its checks, and looks references up within the schema only."""
    import jsonschema
    from referencing import Registry

    checks = {**jsonschema.Draft202012Validator.VALIDATORS, "uniqueItems": _unique_items}
    counted = {name: _bounded(check) for name, check in checks.items()}
    bounded: Any = jsonschema.validators.extend(jsonschema.Draft202012Validator, counted)  # type: ignore[no-untyped-call]
    nothing: Registry[Any] = Registry()
    return lambda schema: bounded(schema, registry=nothing)


def _unique_items(_: Any, wanted: Any, instance: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    """Compare by canonical text: the library's own way compares each item with every other."""
    import jsonschema

    if wanted and isinstance(instance, list):
        texts = {json.dumps(item, sort_keys=True) for item in instance}
        if len(texts) < len(instance):
            yield jsonschema.ValidationError("the items are not all different")


def read_json(text: str) -> tuple[Any, tuple[str, ...]]:
    """Return the JSON object in a model's answer, or why there is none. Fences and prose around it are tolerated."""
    value, problem = _decoded(text)
    if problem is None:
        return value, ()
    start, end = text.find("{"), text.rfind("}")
    if start < 0:
        return None, ("the answer holds no JSON object",)
    if end <= start:
        return None, ("the answer's JSON breaks off",)
    # Prose may hold braces too, so each of the first few is tried as the beginning.
    for _ in range(8):
        value, inner = _decoded(text[start : end + 1])
        if inner is None:
            return value, ()
        start = text.find("{", start + 1, end)
        if start < 0:
            break
    return None, (f"the answer is not valid JSON: {problem}",)


def _decoded(text: str) -> tuple[Any, str | None]:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        return None, "nested too deeply"
    except ValueError as error:
        return None, _cut(str(error))
    return (value, None) if isinstance(value, dict) else (None, "a JSON object is needed")


def _refuse_constant(name: str) -> None:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "the answer"


def _cut(text: str, limit: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
