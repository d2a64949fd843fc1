"""Reading the audit log over the wire: pages, exports that go on, verifying, and who may."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orcs_client.v1 import audit_service_pb2, control_service_pb2, memory_service_pb2, workflow_service_pb2
from orcs_server.app import Server
from orcs_server.memory import Memory
from orcs_server.service import audit as service
from orcs_server.service.auditing import Auditing
from orcs_server.storage.audit import PRUNE, AuditDraft
from tests.memory.conftest import SetClock
from tests.rpc.audits import audited, exported, verified
from tests.rpc.memories import putting
from tests.rpc.servers import settings_in
from tests.rpc.test_audit import serving
from tests.rpc.wire import Wire, connected, plan_of, refused

_a, _c, _s, _w = audit_service_pb2, control_service_pb2, memory_service_pb2, workflow_service_pb2
REQUESTS: dict[str, Message] = {
    "ListAuditRecords": _a.ListAuditRecordsRequest(),
    "VerifyAudit": _a.VerifyAuditRequest(),
    "ExportAudit": _a.ExportAuditRequest(),
}


def tamper(folder: Path, *statements: str) -> None:
    """Change the data file behind the server's back."""
    with closing(sqlite3.connect(folder / "orcs.db", timeout=10)) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement
        connection.commit()


async def fill(wire: Wire, count: int) -> None:
    for number in range(count):
        await wire.call("PutMemory", putting(f"k{number}", "x", "shared:x"))


@pytest.mark.parametrize("role", ["view", "operate", "answer", "approve"])
async def test_only_administrators_may_read_it(tmp_path: Path, role: str) -> None:
    async with serving(tmp_path, ("ann", (role,))) as (_, (_root, ann)):
        for method, request in REQUESTS.items():
            call = ann.call(method, request)
            denied = await refused(call.read() if method == "ExportAudit" else call)
            assert (denied.code, denied.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")


async def test_pages_go_either_way_and_their_tokens_fit_no_other_list(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, (root,)):
        await fill(root, 7)
        newest = await root.call("ListAuditRecords", _a.ListAuditRecordsRequest(page_size=3))
        assert [one.number for one in newest.records] == [7, 6, 5]
        token = newest.next_page_token
        following = await root.call("ListAuditRecords", _a.ListAuditRecordsRequest(page_size=3, page_token=token))
        assert [one.number for one in following.records] == [4, 3, 2]
        assert [one.number for one in await audited(root)] == [1, 2, 3, 4, 5, 6, 7]
        since = Timestamp()
        since.FromMicroseconds(newest.records[1].time_us)
        assert [one.number for one in await audited(root, from_time=since)] == [6, 7]
        assert [one.number for one in await audited(root, before_time=since)] == [1, 2, 3, 4, 5]
        assert server.registry is not None
        other = server.registry.create("bob", "blue", ("administer",))
        async with connected(str(server.address), other) as bob:
            for wire, request in (
                (root, _a.ListAuditRecordsRequest(page_token=token, oldest_first=True)),
                (root, _a.ListAuditRecordsRequest(page_token=token, principal="olga")),
                (bob, _a.ListAuditRecordsRequest(page_token=token)),
            ):
                assert (await refused(wire.call("ListAuditRecords", request))).reason == "PAGE_TOKEN_INVALID"


async def test_an_export_goes_on_after_a_number_and_ends_with_the_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SLICE", 4)
    async with serving(tmp_path) as (_, (root,)):
        assert await exported(root) == ([], _a.AuditHead())
        await fill(root, 11)
        records, head = await exported(root)
        assert [one.number for one in records] == list(range(1, 12))
        assert (head.number, head.hash) == (11, records[-1].hash)
        assert [one.number for one in (await exported(root, 8))[0]] == [9, 10, 11]
        assert await exported(root, 11) == ([], head)
        assert records == await audited(root)


async def test_an_export_of_what_was_removed_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, (root,)):
        await fill(root, 6)
        records = await audited(root)
        store = server.backend.store.audit
        await store.prune(
            "red", records[3].time_us + 1, 500, AuditDraft(records[5].time_us, PRUNE, "retention", "orcs")
        )
        export = root.call("ExportAudit", _a.ExportAuditRequest(after_number=2))
        assert (await refused(export.read())).reason == "HISTORY_EXPIRED"
        # The refusal is one more.
        assert [one.number for one in (await exported(root))[0]] == [5, 6, 7, 8]
        assert [one.number for one in (await exported(root, 4))[0]] == [5, 6, 7, 8]
        reply = await verified(root)
        assert (reply.intact, reply.first_number, reply.head.number) == (True, 5, 8)
        assert (await verified(root, 4, records[3].hash)).intact
        assert not (await verified(root, 4, "0" * 64)).intact
        old = root.call("VerifyAudit", _a.VerifyAuditRequest(expected_head=_a.AuditHead(number=2, hash="0" * 64)))
        assert (await refused(old)).reason == "HISTORY_EXPIRED"


async def test_verifying_finds_the_first_record_that_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SLICE", 3)
    async with serving(tmp_path) as (_, (root,)):
        assert await verified(root) == _a.VerifyAuditResponse(intact=True, head=_a.AuditHead())
        await fill(root, 8)
        head = (await verified(root)).head
        assert (await verified(root, head.number, head.hash)).intact
        tamper(tmp_path, "UPDATE audit_records SET principal = 'eve' WHERE number = 5 AND namespace = 'red'")
        reply = await verified(root)
        assert (reply.intact, reply.misfit_number) == (False, 5)
        assert "changed" in reply.misfit_reason
        tamper(tmp_path, "DELETE FROM audit_records WHERE number = 5 AND namespace = 'red'")
        reply = await verified(root)
        assert (reply.intact, reply.misfit_number) == (False, 5)
        assert "missing" in reply.misfit_reason
        export = root.call("ExportAudit", _a.ExportAuditRequest(after_number=4))
        assert (await refused(export.read())).reason == "HISTORY_EXPIRED"


async def test_a_tail_that_was_cut_off_with_all_notes_of_it_is_found_by_the_head_that_was_noted(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, (root,)):
        await fill(root, 5)
        head = (await verified(root)).head
        fourth = (await audited(root))[3]
        tamper(
            tmp_path,
            "DELETE FROM audit_records WHERE number = 5 AND namespace = 'red'",
            f"UPDATE audit_chains SET number = 4, hash = '{fourth.hash}' WHERE namespace = 'red'",
        )
        assert (await verified(root)).intact
        reply = await verified(root, head.number, head.hash)
        assert (reply.intact, reply.misfit_number) == (False, 5)
        await fill(root, 2)  # The chain has grown past the place: it is another one all the same.
        reply = await verified(root, head.number, head.hash)
        assert (reply.intact, reply.misfit_number) == (False, 5)
        assert "written anew" in reply.misfit_reason


# Two tenants

KEYS = st.sampled_from(["a", "b"])
STEPS = st.one_of(
    KEYS.map(lambda key: ("PutMemory", putting(key, "x", "shared:x"))),
    KEYS.map(lambda key: ("PauseWorkflow", _c.PauseWorkflowRequest(workflow_id=key))),
    KEYS.map(lambda key: ("PurgeMemory", _s.PurgeMemoryRequest(scope="shared:x", key=key))),
    st.just(("CreateWorkflow", _w.CreateWorkflowRequest(workflow_id="w", plan=plan_of(a=()), auto_start=False))),
    st.just(("FreezeNamespace", _c.FreezeNamespaceRequest())),
    st.just(("ListAuditRecords", _a.ListAuditRecordsRequest(page_size=3))),
    st.just(("ListAuditRecords", _a.ListAuditRecordsRequest(refused_only=True, oldest_first=True))),
    st.integers(0, 4).map(lambda number: ("ExportAudit", _a.ExportAuditRequest(after_number=number))),
    st.integers(1, 4).map(
        lambda number: ("VerifyAudit", _a.VerifyAuditRequest(expected_head=_a.AuditHead(number=number, hash="0" * 64)))
    ),
    st.just(("VerifyAudit", _a.VerifyAuditRequest())),
)
Steps = list[tuple[str, Message]]


@pytest.fixture(scope="module")
def beginning() -> object:
    with tempfile.TemporaryDirectory() as folder:
        yield asyncio.run(_begin(Path(folder)))


Beginning = tuple[Path, str, str, int]
"""A folder, the tokens of the two, and the time at which everything happens: one that nothing old is older than."""


async def _begin(folder: Path) -> Beginning:
    async with Server(settings_in(folder), {"XDG_STATE_HOME": str(folder)}) as server:
        assert server.registry is not None
        roles = ("administer",)
        mine, theirs = (server.registry.create(*who, roles) for who in (("bob", "tenant:b"), ("ada", "tenant")))
        return folder, mine, theirs, server.backend.clock.now_us()


async def _answers(begin: Beginning, mine: Steps, theirs: list[Steps]) -> list[bytes]:
    """Return what B is answered about its audit log, while A takes some steps of its own with each of B's."""
    folder, token, other, time_us = begin
    with tempfile.TemporaryDirectory() as copied:
        shutil.copytree(folder, copied, dirs_exist_ok=True)
        server = Server(settings_in(Path(copied)), {"XDG_STATE_HOME": copied})
        clock = SetClock()
        clock.time_us = time_us
        backend = server.backend
        backend.auditing = Auditing(backend.store.audit, clock)
        backend.memory = Memory(backend.store, clock, backend.auditing.memory_refused)
        async with (
            server,
            connected(str(server.address), token) as b,
            connected(str(server.address), other) as a,
        ):
            found: list[bytes] = []
            for number, step in enumerate(mine):
                clock.time_us += 1000
                load = theirs[number % len(theirs)] if theirs else []
                async with asyncio.TaskGroup() as together:
                    answer = together.create_task(_answer(b, *step))
                    for one in load:
                        together.create_task(_answer(a, *one))
                if "Audit" in step[0]:
                    found.append(answer.result())
            records, head = await exported(b)
            return [*found, *(one.SerializeToString() for one in records), head.SerializeToString()]


async def _answer(wire: Wire, method: str, request: Message) -> bytes:
    call = wire.call(method, request)
    try:
        replies = [reply async for reply in call] if method == "ExportAudit" else [await call]
    except grpc.aio.AioRpcError as error:
        return repr((error.code(), error.details())).encode()
    return b"".join(reply.SerializeToString(deterministic=True) for reply in replies)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEPS, min_size=6, max_size=16), st.lists(st.lists(STEPS, max_size=5), min_size=1, max_size=4))
def test_what_a_tenants_audit_log_says_does_not_depend_on_the_other(
    beginning: Beginning, mine: Steps, theirs: list[Steps]
) -> None:
    alone = asyncio.run(_answers(beginning, mine, []))
    assert asyncio.run(_answers(beginning, mine, theirs)) == alone
