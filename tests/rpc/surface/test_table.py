"""Each field of each request: a bad value gets exactly the documented code, reason and field, and changes nothing."""

from __future__ import annotations

import pytest

from tests.rpc.surface.asking import Answer, check_promises
from tests.rpc.surface.control_table import REFUSED
from tests.rpc.surface.expected import Expected
from tests.rpc.surface.methods import field_paths, kind_of, methods
from tests.rpc.surface.table import BASE, TABLE
from tests.rpc.surface.world import Place, World


def test_the_table_has_every_field_of_every_request() -> None:
    there = {f"{name} {path}" for name, method in methods().items() for path in field_paths(method.input_type)}
    listed = {f"{name} {path}" for name, expectations in TABLE.items() for path in expectations}
    missing, gone = sorted(there - listed), sorted(listed - there)
    assert not missing, f"say in tests/rpc/surface/table.py what bad values of these are answered with: {missing}"
    assert not gone, f"the protos have no such fields; take them out of tests/rpc/surface/table.py: {gone}"
    without = sorted(set(methods()) - set(TABLE)) + sorted(set(methods()) - set(BASE))
    assert not without, f"add these methods to TABLE and BASE in tests/rpc/surface/table.py: {without}"
    assert all(expected for expectations in TABLE.values() for expected in expectations.values())


@pytest.mark.parametrize("name", TABLE)
def test_a_request_without_a_bad_field_is_not_refused(place: Place, name: str) -> None:
    answer = _answer(place.world("table"), name, {})
    assert (answer.code, answer.reason) == REFUSED.get(name, ("OK", "")), answer


@pytest.mark.parametrize(
    ("name", "path"), [(name, path) for name, expectations in TABLE.items() for path in expectations]
)
def test_a_bad_field_gets_its_exact_answer(place: Place, name: str, path: str) -> None:
    world = place.world("table")
    for expected in TABLE[name][path]:
        before = world.state()
        answer = _answer(world, name, expected.fields)
        _check(answer, expected)
        if answer.refused:
            before.check_unchanged(world.state())


def _answer(world: World, name: str, fields: dict[str, object]) -> Answer:
    method = methods()[name]
    given = {**BASE[name], **fields}
    if "plan" in given:
        given.pop("query", None)
    request = kind_of(method.input_type)(**{key: value for key, value in given.items() if value is not None})
    wire = world.filled(request).SerializeToString()
    waits = method.server_streaming and bool(fields) and not fields.get("include_deltas")
    answer = world.asker.ask(method, wire, wait=waits)
    check_promises(method, wire, answer)
    return answer


def _check(answer: Answer, expected: Expected) -> None:
    shown = {key: repr(value)[:200] for key, value in expected.fields.items()}
    violations = answer.violations
    if expected.listed:
        violations = {violation.field: violation.description for violation in answer.reply.violations}
    assert (answer.code, answer.reason, set(violations)) == (expected.code, expected.reason, set(expected.at)), shown
