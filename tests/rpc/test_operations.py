"""Everything is denied unless a role allows it: every RPC there is, called with tokens of every role, against the published table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest

from orcs_server.app import Server
from orcs_server.hooks import HookSet, Origin, inline
from orcs_server.hooks.leave import AGENT_OPERATIONS
from orcs_server.identity import ROLES, Caller
from orcs_server.service.authorisation import ANYTHING, INCLUDING, OPERATIONS
from tests.rpc.servers import settings_in
from tests.rpc.surface.methods import kind_of, methods
from tests.rpc.surface.table import BASE
from tests.rpc.wire import Wire, connected

DOCUMENT = Path(__file__).parents[2] / "docs" / "hooks.md"


class Row(NamedTuple):
    """What is published of an operation."""

    role: str
    resource: str
    methods: tuple[str, ...]


@cache
def published() -> dict[str, Row]:
    """Return the table of operations as docs/hooks.md has it."""
    found = {}
    for line in DOCUMENT.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and re.fullmatch(r"`[a-z]+\.[a-z_]+`", cells[0]) and cells[1].strip("`") in ROLES:
            found[cells[0].strip("`")] = Row(
                cells[1].strip("`"), cells[2], tuple(re.findall(r"`([A-Za-z]+)`", cells[3]))
            )
    return found


def needed(method: str) -> list[str]:
    """Return the roles that the published table asks for before this method; one of several operations may be what it takes."""
    return [row.role for row in published().values() if method in row.methods]


def test_the_published_table_is_the_one_that_holds() -> None:
    assert {operation: row.role for operation, row in published().items()} == OPERATIONS
    called = {method for row in published().values() for method in row.methods}
    missing, gone = set(methods()) - called, called - set(methods()) - {"ServerReflectionInfo"}
    assert not missing, f"say in docs/hooks.md which operation these are: {sorted(missing)}"
    assert not gone, f"there are no such RPCs, take them out of docs/hooks.md: {sorted(gone)}"
    text = DOCUMENT.read_text()
    of_agents = text[text.index("## What agents do") :]
    assert set(re.findall(r"^\| `([a-z.]+)` \|", of_agents, re.MULTILINE)) == set(AGENT_OPERATIONS)


def request_of(method: str) -> Any:
    """Return a request in which nothing is wrong."""
    fields = {**BASE[method]}
    if method == "ResolveApproval":
        fields["subject_sha256"] = "0" * 64
    return kind_of(methods()[method].input_type)(**fields)


async def refusal(wire: Wire, method: str) -> str:
    """Return the code with which a call was refused, or "" if it was let in."""
    call = wire.call(method, request_of(method))
    try:
        if methods()[method].server_streaming:
            # A stream that was let in says so at once.
            await call.initial_metadata()
            if not call.done():
                call.cancel()
                return ""
            await call.read()
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return ""


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_lets_in_to_what_is_published_and_to_nothing_else(server: Server, role: str) -> None:
    assert server.registry is not None
    token = server.registry.create("ann", f"of-{role}", (role,))
    async with connected(str(server.address), token) as wire:
        for method in methods():
            allowed = any(
                one == "view" or role in {one, "administer", *INCLUDING.get(one, ())} for one in needed(method)
            )
            code = await refusal(wire, method)
            if allowed:
                assert code not in ("PERMISSION_DENIED", "UNAUTHENTICATED"), method
            else:
                assert code == "PERMISSION_DENIED", (method, code)


async def test_without_a_token_nothing_is_let_in(server: Server) -> None:
    async with connected(str(server.address), None) as wire:
        for method in methods():
            assert await refusal(wire, method) == "UNAUTHENTICATED", method


# Hooks

asked: list[tuple[str, str]] = []


class _Notes:
    """Lets everybody do everything, or nothing, and notes what for."""

    allows = True

    @inline
    def check_permission(self, operation: str, resource_id: str, /) -> bool:
        asked.append((operation, resource_id))
        return _Notes.allows


def hooks(caller: Caller, /, origin: Origin) -> HookSet:
    return HookSet(authorization=_Notes())


@contextmanager
def forbidding() -> Iterator[None]:
    _Notes.allows = False
    try:
        yield
    finally:
        _Notes.allows = True


async def test_the_hook_is_asked_for_every_rpc_with_the_published_words_and_its_no_counts(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, hooks=f"{__name__}:hooks")
    async with Server(settings, {"XDG_STATE_HOME": str(tmp_path)}) as server:
        assert server.registry is not None
        token = server.registry.create("ann", "red", ("administer",))
        async with connected(str(server.address), token) as wire:
            for method in methods():
                asked.clear()
                with forbidding():
                    assert await refusal(wire, method) == "PERMISSION_DENIED", method
                operation, resource = asked[0]
                row = published()[operation]
                assert method in row.methods, (method, operation)
                _check_resource(method, row.resource, resource)


def _check_resource(method: str, kind: str, resource: str) -> None:
    request = request_of(method)
    workflow = getattr(request, "workflow_id", "") or ANYTHING
    expected = {
        "workflow": workflow,
        "workflow/task": f"{workflow}/{getattr(request, 'task_id', '')}",
        "`*`": ANYTHING,
        "agent": getattr(request, "agent_id", "") or getattr(getattr(request, "agent", None), "id", ""),
    }
    if kind == "scope":
        assert resource == ANYTHING or resource.startswith(("global", "shared:", "workflow:", "task:", "agent:"))
    else:
        assert resource == expected[kind], (method, kind)


async def test_lists_hold_what_the_hook_permits(tmp_path: Path) -> None:
    """A list shows what getting each of its items would show; asked with the operation of that get."""
    settings = settings_in(tmp_path, hooks=f"{__name__}:hooks")
    listed = {
        "ListWorkflows": "workflows.get",
        "ListPendingInputs": "inputs.get",
        "ListAgents": "agents.get",
        "ListSnapshots": "memory.read",
    }
    async with Server(settings, {"XDG_STATE_HOME": str(tmp_path)}) as server:
        assert server.registry is not None
        token = server.registry.create("ann", "red", ("administer",))
        async with connected(str(server.address), token) as wire:
            for method in ("CreateWorkflow", "CreateSnapshot"):
                assert await refusal(wire, method) == ""
            gated = {"plan": {"tasks": [{"id": "a", "title": "a", "description": "b", "agent_id": "research_agent"}]}}
            await wire.create(**gated, approval_policy=2, workflow_id="gated")
            for method, operation in listed.items():
                asked.clear()
                reply = await wire.call(method, kind_of(methods()[method].input_type)())
                assert [name for name, _ in asked].count(operation) >= 1, (method, asked)
                assert len(reply.ListFields()[0][1]) >= 1, method
