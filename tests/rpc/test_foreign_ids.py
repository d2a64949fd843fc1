"""What another namespace holds is not there: in every field of every request, its names are answered like names of nothing at all,
byte for byte, and after the same reads of the store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from orcs_client.v1 import common_pb2, memory_pb2, memory_service_pb2, workflow_pb2, workflow_service_pb2
from orcs_server.app import Server
from orcs_server.service.cursors import MemoryCursors, NamespaceCursors, WorkflowCursors
from orcs_server.service.pages import PageBinding
from orcs_server.service.requests import WorkflowWish
from tests.rpc.servers import settings_in
from tests.rpc.surface.methods import is_map, is_nested, kind_of, message_of, methods
from tests.rpc.surface.table import BASE
from tests.rpc.wire import Wire, connected, plan_of

FOREIGN, UNKNOWN = "foreign-one", "unknown-one"
SECRET = "the harbour is mined"
OURS, THEIRS, NOBODYS = "ours", "theirs", "nobodys"


class Answer(NamedTuple):
    """How a call ended; of one that was let in only that it was, and what it replied for the search for secrets."""

    code: str
    message: str = ""
    details: bytes = b""


class World:
    """A server with two namespaces, one of which tries to find out about the other."""

    def __init__(self, server: Server, us: Wire, them: Wire) -> None:
        self.server = server
        self.us = us
        self.them = them
        self.replies: list[bytes] = []
        self.twins: list[tuple[str, str]] = []
        """Texts that lead to something of theirs, and beside each one that leads to nothing."""

    async def populate(self) -> None:
        plan = plan_of(secrettask=())
        plan.tasks[0].description = SECRET
        policy = workflow_pb2.APPROVAL_POLICY_PLAN
        create = {"plan": plan, "approval_policy": policy, "title": SECRET}
        await self.them.create(workflow_id=FOREIGN, request_id=FOREIGN, **create)
        for scope in (f"workflow:{FOREIGN}", f"task:{FOREIGN}/secrettask", f"shared:{FOREIGN}", "global"):
            put = memory_pb2.MemoryPut(scope=scope, key=FOREIGN, value=common_pb2.Part(text=SECRET))
            await self.them.call("PutMemory", memory_service_pb2.PutMemoryRequest(put=put))
            await self.them.call("CreateSnapshot", memory_service_pb2.CreateSnapshotRequest(scope=scope))
        # Ours, so that requests about one's own come further than to the first lookup.
        await self.us.create(workflow_id="ready", plan=plan_of(a=(), b=("a",)), auto_start=False)
        listed = workflow_service_pb2.ListWorkflowsRequest(page_size=1)
        assert (await self.them.call("ListWorkflows", listed)).workflows
        epoch = self.server.backend.store.epoch
        self.twins = [
            (FOREIGN, UNKNOWN),
            *(
                (shape.format(FOREIGN), shape.format(UNKNOWN))
                for shape in ("workflow:{}", "task:{}/secrettask", "shared:{}", "agent:{}", "{}/secrettask")
            ),
            (WorkflowCursors(epoch, THEIRS, FOREIGN).at(1), WorkflowCursors(epoch, NOBODYS, FOREIGN).at(1)),
            (NamespaceCursors(epoch, THEIRS).at(1), NamespaceCursors(epoch, NOBODYS).at(1)),
            (MemoryCursors(epoch, THEIRS).at(1), MemoryCursors(epoch, NOBODYS).at(1)),
            (_page(THEIRS), _page(NOBODYS)),
        ]

    async def answer(self, method: str, request: Any) -> Answer:
        call = self.us.call(method, request)
        try:
            if methods()[method].server_streaming:
                await call.initial_metadata()
                if not call.done():
                    call.cancel()
                    return Answer("OK")
                await call.read()
            else:
                self.replies.append((await call).SerializeToString())
        except grpc.aio.AioRpcError as error:
            details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
            assert isinstance(details, bytes)
            self.replies += (details, (error.details() or "").encode())
            return Answer(error.code().name, error.details() or "", details)
        return Answer("OK")


def _page(namespace: str) -> str:
    return PageBinding("ListWorkflows", namespace, WorkflowWish()).token([0, FOREIGN])


@asynccontextmanager
async def world_in(folder: Path) -> AsyncIterator[World]:
    async with Server(settings_in(folder), {"XDG_STATE_HOME": str(folder)}) as server:
        assert server.registry is not None
        address = str(server.address)
        mine = server.registry.create("eve", OURS, ("administer",))
        other = server.registry.create("bob", THEIRS, ("administer",))
        async with connected(address, mine) as us, connected(address, other) as them:
            world = World(server, us, them)
            await world.populate()
            yield world


def texts_in(message: Descriptor, depth: int = 0) -> Iterator[tuple[FieldDescriptor, ...]]:
    """Yield the way to every field of text within a request."""
    for field in message.fields:
        if is_nested(field) and depth < 6:
            yield from ((field, *rest) for rest in texts_in(message_of(field), depth + 1))
        elif field.type == FieldDescriptor.TYPE_STRING and not is_map(field):
            yield (field,)


def with_text(method: str, way: tuple[FieldDescriptor, ...], text: str) -> Any:
    """Return a request in which nothing is wrong but for this field."""
    fields = {**BASE[method]}
    if method == "ResolveApproval":
        fields["subject_sha256"] = "0" * 64
    if way[0].name == "plan":
        fields.pop("query", None)
    request = kind_of(methods()[method].input_type)(**fields)
    at = request
    for field in way[:-1]:
        at = getattr(at, field.name)
        if field.is_repeated:
            at = at[0] if len(at) else at.add()
    if way[-1].is_repeated:
        getattr(at, way[-1].name)[:] = [text]
    else:
        setattr(at, way[-1].name, text)
    return request


WAYS = [(name, way) for name, method in methods().items() for way in texts_in(method.input_type)]


def test_there_are_fields_to_try() -> None:
    assert len(WAYS) > 150
    assert len({name for name, _ in WAYS}) > 45


async def test_names_of_another_namespace_are_answered_like_names_of_nothing(tmp_path: Path) -> None:
    async with world_in(tmp_path) as world:
        for method, way in WAYS:
            where = f"{method} {'.'.join(field.name for field in way)}"
            for foreign, unknown in world.twins:
                one = await world.answer(method, with_text(method, way, foreign))
                other = await world.answer(method, with_text(method, way, unknown))
                assert _translated(one, foreign, unknown) == other, where
        assert not any(SECRET.encode() in reply or b"secrettask" in _known(reply) for reply in world.replies)
        # What is theirs is as it was.
        theirs = workflow_service_pb2.GetWorkflowRequest(workflow_id=FOREIGN)
        workflow = (await world.them.call("GetWorkflow", theirs)).workflow
        assert (workflow.title, workflow.creator) == (SECRET, "bob")


def _translated(answer: Answer, foreign: str, unknown: str) -> Answer:
    return Answer(
        answer.code,
        answer.message.replace(foreign, unknown),
        answer.details.replace(foreign.encode(), unknown.encode()),
    )


def _known(reply: bytes) -> bytes:
    """Return a reply without what the request itself said."""
    return reply.replace(b"/secrettask", b"")


LOOKING_UP = [
    name
    for name, method in methods().items()
    # These do not look the workflow up.
    if "workflow_id" in method.input_type.fields_by_name
    and not name.startswith(("Create", "ListPending", "WatchPending"))
]


@pytest.mark.parametrize("method", LOOKING_UP)
async def test_the_store_is_read_as_often_for_a_foreign_id_as_for_an_unknown_one(tmp_path: Path, method: str) -> None:
    (way,) = [way for name, way in WAYS if name == method and [one.name for one in way] == ["workflow_id"]]
    async with world_in(tmp_path) as world:
        seen: list[list[str]] = []
        for text in (FOREIGN, UNKNOWN):
            with _reads(world.server) as statements:
                answer = await world.answer(method, with_text(method, way, text))
            assert answer.code == "NOT_FOUND", answer
            seen.append([one.replace(text, "ID") for one in statements if text in one])
    assert seen[0] == seen[1]
    assert seen[0], "nothing was looked up"


class _reads:  # noqa: N801 - used like a function
    """Notes the statements that the store's readers carry out within the block."""

    def __init__(self, server: Server) -> None:
        reader = server.backend.store._reader
        self._connections = (reader._brief, reader._long)
        self._statements: list[str] = []

    def __enter__(self) -> list[str]:
        for connection in self._connections:
            connection.set_trace_callback(self._statements.append)
        return self._statements

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.set_trace_callback(None)
