from __future__ import annotations

from typing import Any

import pytest

from orcs_server.agents.structured import SCHEMA_LIMIT, read_by_schema, schema_problems

GOOD = {
    "type": "object",
    "properties": {"pattern": {"type": "string"}, "$ref": {"enum": [{"pattern": "x"}]}},
    "$defs": {"patternProperties": {"type": "null"}},
}


def test_properties_may_be_called_like_keywords() -> None:
    assert schema_problems(GOOD) == ()


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ("object", "must be a JSON object"),
        ({"type": "array"}, "wrap"),
        ({"type": "object", "properties": {"a": {"type": "text"}}}, "not a valid JSON schema"),
        ({"type": "object", "properties": {"a": {"pattern": "(a+)+$"}}}, "not supported"),
        ({"type": "object", "patternProperties": {"(a+)+$": {}}}, "not supported"),
        ({"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:1/s"}}}, "into the schema itself"),
        ({"type": "object", "description": "x" * SCHEMA_LIMIT}, "longer than"),
        ({"type": "object", "default": {1, 2}}, "not JSON"),
    ],
)
def test_a_schema_that_cannot_be_used_says_why(schema: Any, problem: str) -> None:
    assert problem in " ".join(schema_problems(schema))


def test_a_schema_nested_too_deeply_is_refused() -> None:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(40):
        schema = {"type": "object", "properties": {"a": schema}}
    assert "nested deeper" in " ".join(schema_problems(schema))


def test_a_schema_that_refers_to_itself_or_to_nothing_is_a_problem_and_no_crash() -> None:
    for pointer in ("#", "#/$defs/missing"):
        value, problems = read_by_schema('{"a": 1}', {"$ref": pointer, "type": "object"})
        assert value is None
        assert problems


def test_a_schema_that_doubles_at_every_level_is_given_up() -> None:
    levels = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(40)}
    schema = {"type": "object", "$ref": "#/$defs/l0", "$defs": {**levels, "l40": {"type": "object"}}}
    assert schema_problems(schema) == ()
    assert "too long" in " ".join(read_by_schema("{}", schema)[1])


def test_items_are_told_apart_by_their_content() -> None:
    schema = {"type": "object", "properties": {"a": {"uniqueItems": True}}}
    assert read_by_schema('{"a": [{"x": 1, "y": 2}, {"x": 1}, 1, true, "1"]}', schema)[1] == ()
    assert read_by_schema('{"a": [{"x": 1, "y": 2}, {"y": 2, "x": 1}]}', schema)[1]


def test_many_problems_are_cut_to_a_few() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "string"}}
    text = "{" + ",".join(f'"k{number}": {number}' for number in range(500)) + "}"
    assert len(read_by_schema(text, schema)[1]) == 10
