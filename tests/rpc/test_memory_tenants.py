"""Two tenants of one server: what one of them is answered is the same, byte for byte, whatever the other one does meanwhile."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orcs_client.v1 import common_pb2, memory_pb2, memory_service_pb2
from orcs_server.app import Server
from orcs_server.memory import Memory
from tests.memory.conftest import SetClock
from tests.rpc.memories import deletion, putting
from tests.rpc.servers import settings_in
from tests.rpc.wire import Wire, connected

_m, _s = memory_pb2, memory_service_pb2
KEYS = st.sampled_from(["a", "a:b", "b", "b/1"])
SCOPES = st.sampled_from(["global", "workflow:w1", "task:w1/t1", "shared:team"])
TEXTS = st.sampled_from(["green tea", "tea and coffee", "coffee coffee", "hills", "green hills and tea"])
NUMBERS = st.integers(0, 3)
EXPECTED = st.none() | NUMBERS
REQUEST_IDS = st.sampled_from(["", "", "r1", "r2"])
TTLS = st.none() | st.just(Duration(seconds=3600))
PERMISSIONS = st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=2)


class Tenant:
    """A caller, and what it was answered so far that leads on: cursors, and the last page token of each list."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.cursors: list[str] = []
        self.tokens: dict[str, str] = {}

    def cursor(self, number: int) -> str:
        """Return one of the cursors, or what is none."""
        return self.cursors[-1 - number % len(self.cursors)] if self.cursors else "none"

    async def answer(self, step: Step) -> bytes:
        """Take a step; return all that comes back, of an error its code, its text and its details."""
        request = step.make(self)
        try:
            call = self.wire.call(step.method, request)
            if step.method == "WatchMemory":
                reply = await call.read()
                call.cancel()
            else:
                reply = await call
        except grpc.aio.AioRpcError as error:
            details = [value for key, value in error.trailing_metadata() or () if key == "grpc-status-details-bin"]
            return repr((error.code(), error.details(), details)).encode()
        if reply is grpc.aio.EOF:
            return repr((await call.code(), await call.details())).encode()
        self._learn(step.method, reply)
        return bytes(reply.SerializeToString(deterministic=True))

    def _learn(self, method: str, reply: Any) -> None:
        if getattr(reply, "cursor", ""):
            self.cursors.append(reply.cursor)
        if hasattr(reply, "next_page_token"):
            self.tokens[method] = reply.next_page_token


class Step(NamedTuple):
    """One call."""

    method: str
    make: Callable[[Tenant], Message]


def _step(method: str, make: Callable[..., Message], *values: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    """Draw a call: the function takes the tenant and what was drawn."""
    return st.tuples(*values).map(lambda drawn: Step(method, lambda tenant: make(tenant, *drawn)))


def _paged(method: str, make: Callable[..., Any], *values: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    """The same for a list, the next page of which may be asked for."""

    def page(tenant: Tenant, size: int, onward: bool, *drawn: Any) -> Message:
        request = make(*drawn)
        request.page_size = size
        request.page_token = tenant.tokens.get(method, "") if onward else ""
        return request  # type: ignore[no-any-return]

    return _step(method, page, st.integers(1, 3), st.booleans(), *values)


def _batch(check: str, key: str, number: int, text: str, request_id: str) -> Message:
    put = _m.MemoryPut(scope="workflow:w1", key=key, value=common_pb2.Part(text=text))
    changes = [
        _m.MemoryChange(check=_m.MemoryCheck(scope="global", key=check, expected_version=number)),
        _m.MemoryChange(put=put),
        _m.MemoryChange(delete=_m.MemoryDelete(scope="shared:team", key=key)),
    ]
    return _s.BatchMemoryRequest(changes=changes, request_id=request_id)


def _rules(scope: str, key: str, permissions: list[Any], deny: bool, expected: int | None) -> Message:
    subject = "client:somebody" if deny else "agent:*"
    rule = _m.MemoryAccessRule(subject=subject, scope=scope, prefix=key, permissions=permissions, deny=deny)
    return _s.SetAccessRulesRequest(rules=[rule], expected_version=expected)


STEPS = st.one_of(
    _step(
        "PutMemory",
        lambda _, k, t, s, r, ttl, e: putting(k, t, s, r, ttl=ttl, expected_version=e),
        KEYS, TEXTS, SCOPES, REQUEST_IDS, TTLS, EXPECTED,
    ),
    _step("PutMemory", lambda _, k, t, s: putting(k, t, s), KEYS, TEXTS, SCOPES),
    _step("DeleteMemory", lambda _, k, s, r, e: deletion(k, s, r, expected_version=e), KEYS, SCOPES, REQUEST_IDS, EXPECTED),
    _step("BatchMemory", lambda _, *drawn: _batch(*drawn), KEYS, KEYS, NUMBERS, TEXTS, REQUEST_IDS),
    _step("ShareMemory", lambda _, k, s: _s.ShareMemoryRequest(scope=s, key=k, target_scope="shared:x"), KEYS, SCOPES),
    _step("GetMemory", lambda _, k, s: _s.GetMemoryRequest(key=k, scope=s), KEYS, SCOPES),
    _step("GetMemory", lambda _, k, s, v: _s.GetMemoryRequest(key=k, scope=s, version=v), KEYS, SCOPES, NUMBERS),
    _step(
        "GetMemory", lambda at, k, s, v: _s.GetMemoryRequest(key=k, scope=s, as_of_cursor=at.cursor(v)), KEYS, SCOPES, NUMBERS
    ),
    _step(
        "GetMemory",
        lambda _, k: _s.GetMemoryRequest(key=k, context=_m.MemoryContext(workflow_id="w1", task_id="t1")),
        KEYS,
    ),
    _paged("ListMemory", lambda s: _s.ListMemoryRequest(scope=s), SCOPES),
    _paged("ListMemoryScopes", lambda p: _s.ListMemoryScopesRequest(prefix=p), st.sampled_from(["", "workflow:"])),
    _paged("SearchMemory", lambda t, y: _s.SearchMemoryRequest(query=t, any_word=y), TEXTS, st.booleans()),
    _paged("ListMemoryVersions", lambda k, s: _s.ListMemoryVersionsRequest(scope=s, key=k), KEYS, SCOPES),
    _step("CreateSnapshot", lambda _, s, r: _s.CreateSnapshotRequest(scope=s, request_id=r), SCOPES, REQUEST_IDS),
    _paged("ListSnapshots", _s.ListSnapshotsRequest),
    _step("DeleteSnapshot", lambda _, s, n: _s.DeleteSnapshotRequest(scope=s, snapshot=n), SCOPES, NUMBERS),
    _paged("CompareSnapshots", lambda s, n: _s.CompareSnapshotsRequest(scope=s, from_snapshot=n), SCOPES, NUMBERS),
    _step(
        "RestoreSnapshot", lambda _, s, n, r: _s.RestoreSnapshotRequest(scope=s, snapshot=n, request_id=r),
        SCOPES, NUMBERS, REQUEST_IDS,
    ),
    _step(
        "RevertMemory",
        lambda _, k, s, n: _s.RevertMemoryRequest(version=_m.MemoryVersionName(scope=s, key=k, version=n)),
        KEYS, SCOPES, NUMBERS,
    ),
    _step("RevertMemory", lambda _: _s.RevertMemoryRequest(run=_m.MemoryRun(workflow_id="w1"))),
    _step("PurgeMemory", lambda _, s, k: _s.PurgeMemoryRequest(scope=s, prefix=k), SCOPES, KEYS),
    _step("GetAccessRules", lambda _, n: _s.GetAccessRulesRequest(version=n), NUMBERS),
    _step("SetAccessRules", lambda _, *drawn: _rules(*drawn), SCOPES, KEYS, PERMISSIONS, st.booleans(), EXPECTED),
    _paged("GetMemoryStatistics", lambda s: _s.GetMemoryStatisticsRequest(scope=s), SCOPES),
    _step("WatchMemory", lambda at, n: _s.WatchMemoryRequest(after_cursor=at.cursor(n)), st.integers(0, 20)),
    _step("WatchMemory", lambda at, s, n: _s.WatchMemoryRequest(scope=s, after_cursor=at.cursor(n)), SCOPES, NUMBERS),
)  # fmt: skip


PRIME = [
    Step("PutMemory", lambda _: putting("a", "green tea")),
    Step("PutMemory", lambda _: putting("b", "tea and coffee", "workflow:w1")),
    Step("CreateSnapshot", lambda _: _s.CreateSnapshotRequest(scope="global")),
    Step("PutMemory", lambda _: putting("a", "hills")),
    Step("CreateSnapshot", lambda _: _s.CreateSnapshotRequest(scope="workflow:w1")),
]
"""What each tenant begins with, so that there is a past."""


class Beginning(NamedTuple):
    """A data file from which each run starts, so that all of them have the same log, and the callers' tokens."""

    folder: Path
    mine: str
    theirs: str
    time_us: int


@pytest.fixture(scope="module")
def beginning() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        yield asyncio.run(_begin(Path(folder)))


async def _begin(folder: Path) -> Beginning:
    async with Server(settings_in(folder), {"XDG_STATE_HOME": str(folder)}) as server:
        assert server.registry is not None
        mine = server.registry.create("bob", "tenant:b", ("administer",))
        theirs = server.registry.create("ada", "tenant", ("administer",))
    return Beginning(folder, mine, theirs, time.time_ns() // 1000)


async def _answers(
    begin: Beginning, mine: list[Step], theirs: list[list[Step]], *, as_other: bool = True
) -> list[bytes]:
    """Return what B is answered, while A takes some steps of its own with each of B's."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(begin.folder, folder, dirs_exist_ok=True)
        server = Server(settings_in(Path(folder)), {"XDG_STATE_HOME": folder})
        clock = SetClock()
        clock.time_us = begin.time_us
        server.backend.memory = Memory(server.backend.store, clock)
        async with (
            server,
            connected(str(server.address), begin.mine) as b,
            connected(str(server.address), begin.theirs if as_other else begin.mine) as a,
        ):
            found: list[bytes] = []
            one, other = Tenant(b), Tenant(a)
            for number, step in enumerate([*PRIME, *mine]):
                load = [*(PRIME if number == 0 else ()), *theirs[number % len(theirs)]] if theirs else []
                clock.time_us += 1000
                async with asyncio.TaskGroup() as together:
                    answer = together.create_task(one.answer(step))
                    together.create_task(_all(other, load))
                found.append(answer.result())
            return found


async def _all(tenant: Tenant, steps: list[Step]) -> None:
    for step in steps:
        await tenant.answer(step)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(STEPS, min_size=8, max_size=25),
    st.lists(st.lists(STEPS, max_size=5), min_size=1, max_size=5),
)
def test_what_one_tenant_is_answered_does_not_depend_on_the_other(
    beginning: Beginning, mine: list[Step], theirs: list[list[Step]]
) -> None:
    alone = asyncio.run(_answers(beginning, mine, []))
    assert asyncio.run(_answers(beginning, mine, theirs)) == alone


def test_the_answers_would_show_a_difference(beginning: Beginning) -> None:
    """The comparison itself can fail: what is done in the same namespace does show."""
    put = Step("PutMemory", lambda _: putting("a", "green tea"))
    find = Step("SearchMemory", lambda _: _s.SearchMemoryRequest(query="tea"))
    more = Step("PutMemory", lambda _: putting("b", "tea tea"))
    alone = asyncio.run(_answers(beginning, [put, put, find], []))
    assert asyncio.run(_answers(beginning, [put, put, find], [[more]], as_other=False)) != alone
    assert asyncio.run(_answers(beginning, [put, put, find], [[more]])) == alone
