"""A server for bad input, with a few workflows of each kind, and what lies in its store."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from orcs_client.v1 import (
    agent_service_pb2,
    audit_service_pb2,
    common_pb2,
    control_service_pb2,
    memory_pb2,
    memory_service_pb2,
    task_service_pb2,
    workflow_pb2,
    workflow_service_pb2,
)
from orcs_server.service.cursors import MemoryCursors, NamespaceCursors, WorkflowCursors
from orcs_server.service.memoryrequests import MemoryPast
from orcs_server.service.pages import PageBinding
from orcs_server.service.requests import TaskWish, WorkflowWish
from orcs_server.storage.audit import AuditFilter
from tests.rpc.surface.asking import Answer, Asker
from tests.rpc.surface.methods import is_map, methods
from tests.rpc.wire import plan_of
from tests.server_process import ServerProcess

_w, _s = workflow_service_pb2, memory_service_pb2

LATER: Final = Timestamp(seconds=4_000_000_000)
SPARE: Final = tuple(f"{kind}{number}" for kind in ("ready", "done") for number in range(6))
GATED: Final = ("gated", "gated0")
STORED: Final = ("ready", "done", "later", "planned", *GATED, *SPARE)
"""The workflows of a world: ready to start, completed, waiting for a time to come, planned from a query, waiting for approval;
and spare ones.
"""
ELSEWHERE: Final = "elsewhere"
"""A workflow of another namespace."""
FORGED_KEYS: Final[tuple[object, ...]] = (
    (2**63, "x"), (-(2**63), ""), (0, "\x00"), (1.5, "x"), ("x", 1), [], {}, None, True, "", 2**70, -1, [[1]], "x" * 900,
)  # fmt: skip


class World:
    """A caller with a namespace of its own, its workflows, and texts of theirs that requests hold."""

    def __init__(self, server: ServerProcess, namespace: str, token: str) -> None:
        self.namespace = namespace
        self.asker = Asker(server.address, token)
        self._store = sqlite3.connect(f"file:{server.data}?mode=ro", uri=True, isolation_level=None)
        self.texts: dict[str, str] = {}
        """Placeholders, and what takes their place in requests: tokens and cursors differ from run to run."""

    def close(self) -> None:
        self.asker.close()
        self._store.close()

    # Calls

    def call(self, name: str, request: Message) -> Answer:
        return self.asker.ask(methods()[name], request.SerializeToString())

    def reply(self, name: str, request: Message) -> Any:
        """Make a call that must not be refused; return its reply."""
        answer = self.call(name, request)
        assert not answer.refused, answer
        return answer.reply

    def events(self, workflow_id: str) -> list[Any]:
        """Return the replies of a watch from a workflow's first event to its end."""
        watch = _w.WatchWorkflowRequest(workflow_id=workflow_id)
        return list(self.asker.replies(methods()["WatchWorkflow"], watch))

    # Workflows

    def populate(self) -> None:
        """Create the workflows, and take note of the texts that lead to them."""
        plan = plan_of(a=(), b=("a",))
        self._create(workflow_id="ready", plan=plan, auto_start=False)
        self._create(workflow_id="done", plan=plan)
        self._create(workflow_id="later", plan=plan, not_before_time=LATER)
        self._create(workflow_id="planned", query="Compare two databases", auto_start=False)
        for workflow_id in GATED:
            policy = workflow_pb2.APPROVAL_POLICY_PLAN
            self._create(workflow_id=workflow_id, plan=plan, approval_policy=policy)
        asked = control_service_pb2.GetPendingInputRequest(workflow_id="gated", input_id="i1")
        self.texts["@shown"] = self.reply("GetPendingInput", asked).input.subject_sha256
        for workflow_id in SPARE:
            self._create(workflow_id=workflow_id, plan=plan, auto_start=workflow_id.startswith("done"))
        for workflow_id in STORED:
            if workflow_id.startswith("done"):
                self.events(workflow_id)
        self._await_plan("planned")
        epoch = self._store.execute("SELECT epoch FROM log").fetchone()[0]
        for workflow_id in (*STORED, ELSEWHERE):
            cursors = WorkflowCursors(epoch, self.namespace, workflow_id)
            self.texts[f"@cursor {workflow_id}"] = cursors.at(1)
            self.texts[f"@cursor beyond {workflow_id}"] = cursors.at(2**63)
            self.texts[f"@cursor of another log {workflow_id}"] = WorkflowCursors(
                "00" * 8, self.namespace, workflow_id
            ).at(1)
        all_workflows = NamespaceCursors(epoch, self.namespace)
        self.texts["@cursor"] = all_workflows.at(1)
        self.texts["@cursor beyond"] = all_workflows.at(2**64 - 1)
        self.texts["@cursor of another namespace"] = NamespaceCursors(epoch, "other").at(1)
        self.texts["@cursor cut"] = all_workflows.at(1)[:-1]
        self._remember(epoch)
        for agent_id in ("kept_poet", "spare_poet"):
            poet = agent_service_pb2.AgentDeclaration(id=agent_id, description="Rhymes.", instructions="Rhyme.")
            self.reply("RegisterAgent", agent_service_pb2.RegisterAgentRequest(agent=poet))
        self._note_pages()

    def _remember(self, epoch: str) -> None:
        """Store entries and snapshots of them."""
        for key in ("kept", "other"):
            value = common_pb2.Part(text=f"A text about {key} things.")
            for _ in range(2):
                put = memory_pb2.MemoryPut(scope="global", key=key, value=value)
                self.texts["@memory"] = self.reply("PutMemory", _s.PutMemoryRequest(put=put)).cursor
        for _ in range(3):
            self.reply("CreateSnapshot", _s.CreateSnapshotRequest(scope="global"))
        log = MemoryCursors(epoch, self.namespace)
        self.texts["@memory beyond"] = log.at(2**62)
        self.texts["@memory of another namespace"] = MemoryCursors(epoch, "other").at(1)
        self.texts["@memory of another log"] = MemoryCursors("00" * 8, self.namespace).at(1)

    def _note_pages(self) -> None:
        tasks = self.reply("ListTasks", task_service_pb2.ListTasksRequest(workflow_id="ready", page_size=1))
        workflows = self.reply("ListWorkflows", _w.ListWorkflowsRequest(page_size=1))
        agents = self.reply("ListAgents", agent_service_pb2.ListAgentsRequest(page_size=1))
        entries = self.reply("ListMemory", _s.ListMemoryRequest(scope="global", page_size=1))
        hits = self.reply("SearchMemory", _s.SearchMemoryRequest(query="text", page_size=1))
        versions = self.reply(
            "ListMemoryVersions", _s.ListMemoryVersionsRequest(scope="global", key="kept", page_size=1)
        )
        snapshots = self.reply("ListSnapshots", _s.ListSnapshotsRequest(page_size=1))
        scopes = self.reply("ListMemoryScopes", _s.ListMemoryScopesRequest(page_size=1))
        audit = self.reply("ListAuditRecords", audit_service_pb2.ListAuditRecordsRequest(page_size=1))
        lists = {"audit": audit, "tasks": tasks, "workflows": workflows, "agents": agents}
        lists |= {"memory": entries, "hits": hits, "versions": versions, "snapshots": snapshots, "scopes": scopes}
        for name, reply in lists.items():
            assert reply.next_page_token
            self.texts[f"@page {name}"] = reply.next_page_token
            self.texts[f"@page cut {name}"] = reply.next_page_token[:-4]
        for number, key in enumerate(FORGED_KEYS):
            # What somebody could write who has read the server's source.
            bindings = {
                "audit": PageBinding("ListAuditRecords", self.namespace, (AuditFilter(), False)),
                "tasks": PageBinding("ListTasks", self.namespace, ("ready", TaskWish())),
                "workflows": PageBinding("ListWorkflows", self.namespace, WorkflowWish()),
                "agents": PageBinding("ListAgents", self.namespace),
                "memory": PageBinding("ListMemory", self.namespace, ("global", "", MemoryPast())),
                "hits": PageBinding("SearchMemory", self.namespace, ("text", (), False)),
                "versions": PageBinding("ListMemoryVersions", self.namespace, ("global", "kept")),
                "snapshots": PageBinding("ListSnapshots", self.namespace, ""),
                "scopes": PageBinding("ListMemoryScopes", self.namespace, ""),
            }
            for name, binding in bindings.items():
                self.texts[f"@page forged {name} {number}"] = binding.token(key)

    def _create(self, **fields: Any) -> None:
        self.reply("CreateWorkflow", _w.CreateWorkflowRequest(**fields))

    def _await_plan(self, workflow_id: str) -> None:
        watch = self.asker.replies(methods()["WatchWorkflow"], _w.WatchWorkflowRequest(workflow_id=workflow_id))
        for reply in watch:
            if any(event.HasField("plan_adopted") for event in reply.events):
                watch.cancel()
                return
        raise AssertionError(f"{workflow_id} got no plan")

    # Requests

    def filled(self, message: Any) -> Any:
        """Return a request with texts in the place of placeholders."""
        copy = type(message)()
        copy.CopyFrom(message)
        self._fill(copy)
        return copy

    def _fill(self, message: Any) -> None:
        for field, value in message.ListFields():
            if field.message_type is not None and not is_map(field):
                for nested in value if field.is_repeated else (value,):
                    self._fill(nested)
            elif isinstance(value, str) and value in self.texts:
                setattr(message, field.name, self.texts[value])

    # The store

    def state(self) -> State:
        """Return what lies in the store, as far as nothing but a request changes it."""
        query = self._store.execute
        soon = int((time.time() + 60) * 1_000_000)
        workflows = query(
            "SELECT namespace, id, seq, status, updated_us, live = 0 OR (idle = 1 AND coalesce(wake_at_us, ?1) >= ?1)"
            " FROM workflows",
            (soon,),
        ).fetchall()
        still = all(at_rest for *_, at_rest in workflows)
        requests = query("SELECT count(*) FROM requests").fetchone()[0]
        return State(
            frozenset((namespace, workflow_id) for namespace, workflow_id, *_ in workflows),
            {(row[0], row[1]): tuple(row[2:5]) for row in workflows if row[5]},
            requests,
            self._sizes() if still else {},
        )

    def _sizes(self) -> dict[str, int]:
        tables = self._store.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        # How often entries are read is stored now and then, and an index's own tables are no rows of anybody's.
        # What is refused is written down in the audit log.
        apart = ("memory_reads", "audit_records", "audit_chains")
        counted = [name for (name,) in tables if name not in apart and not name.startswith("memory_text_")]
        return {name: self._store.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in counted}


@dataclass(frozen=True)
class State:
    """What is stored, as far as nothing but a request changes it."""

    workflows: frozenset[tuple[str, str]]
    at_rest: dict[tuple[str, str], tuple[int, str, int]]
    """Of workflows in which nothing is due within a minute: seq, status, time of the last change."""
    requests: int
    """Request ids that are remembered."""
    rows: dict[str, int]
    """Of every table, while all workflows are at rest; otherwise empty."""

    def check_unchanged(self, later: State) -> None:
        """Fail if a request has changed something since."""
        assert later.workflows == self.workflows
        for workflow, row in self.at_rest.items():
            assert later.at_rest.get(workflow) == row, workflow
        assert later.requests == self.requests
        if self.rows and later.rows:
            assert later.rows == self.rows


class Place:
    """A server whose namespaces are worlds; `open` before the first test, `close` after the last."""

    def __init__(self, folder: Path, *namespaces: str) -> None:
        self._server = ServerProcess(folder)
        self._tokens = {
            name: self._server.create_token("caller", name, "operate", "approve", "administer")
            for name in (*namespaces, "others")
        }
        self._worlds: dict[str, World] = {}

    def open(self) -> None:
        self._server.start()
        others = World(self._server, "others", self._tokens["others"])
        others.reply("CreateWorkflow", _w.CreateWorkflowRequest(workflow_id=ELSEWHERE, plan=plan_of(a=())))
        others.events(ELSEWHERE)
        others.close()

    @property
    def address(self) -> str:
        return self._server.address

    def world(self, namespace: str) -> World:
        """Return the world of a namespace, which is populated at the first time."""
        if namespace not in self._worlds:
            world = self._worlds[namespace] = World(self._server, namespace, self._tokens[namespace])
            world.populate()
        return self._worlds[namespace]

    def log(self) -> str:
        """Return what the server has written to its log."""
        return self._server.errors.read_text()

    def close(self) -> None:
        for world in self._worlds.values():
            world.close()
        self._server.kill()
