"""Workflows for the tests of a store, made by the core itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from orcs_server.identity import Caller
from orcs_server.storage.store import Blob, EventRecord, RequestKey, RequestRecord, Write, blob_of
from orcs_server.workflow import events as e
from orcs_server.workflow.evolve import evolve
from orcs_server.workflow.model import NO_USAGE, Failure, FailureKind, Output, PlanSource, TaskSpec, WorkflowSpec
from orcs_server.workflow.state import WorkflowState

START_US = 1_700_000_000_000_000
CALLER = Caller("ada", "default", ("admin",), (("trace", "1"),))
FAILURE = Failure(FailureKind.TIMEOUT, "took too long: raise its timeout")


def written_by(version: int, path: Path) -> Path:
    """Make a data file as this version of the schema had it; return its path."""
    script = Path(__file__).parent / "fixtures" / f"version_{version}.sql"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script.read_text())
    return path


def output_of(blob: Blob) -> Output:
    return Output(blob.digest, "text/markdown", len(blob.data))


class Draft:
    """A workflow that a test moves on, event by event, and the writes that this takes."""

    def __init__(
        self, workflow_id: str = "w1", namespace: str = "default", *, created_us: int = START_US, **spec: Any
    ) -> None:
        self.namespace = namespace
        self.id = workflow_id
        self.seq = 0
        self.time_us = created_us
        self.state: WorkflowState | None = None
        self.query = blob_of(f"query of {workflow_id}")
        self.spec = WorkflowSpec(**{"title": f"Title of {workflow_id}", "query": self.query.digest, **spec})

    @property
    def current(self) -> WorkflowState:
        assert self.state is not None
        return self.state

    def write(
        self,
        *happened: e.Event,
        touched: Iterable[str] | None = (),
        blobs: tuple[Blob, ...] = (),
        request: RequestRecord | None = None,
    ) -> Write:
        base, records = self.seq, []
        before = NO_USAGE if self.state is None else self.state.progress.usage
        for event in happened:
            self.state = evolve(self.state, event, self.time_us)
            self.seq += 1
            records.append(EventRecord(self.namespace, self.id, self.seq, self.time_us, "engine", "", event))
            self.time_us += 1
        return Write(
            self.namespace,
            self.id,
            base,
            records,
            self.current,
            None if touched is None else tuple(touched),
            blobs,
            request,
            CALLER if base == 0 else None,
            spent=self.current.progress.usage - before,
        )

    def request(self, request_id: str, command_hash: str = "hash") -> RequestRecord:
        key = RequestKey(self.namespace, "ada", "CreateWorkflow", request_id)
        return RequestRecord(key, command_hash, self.id, self.seq + 1, self.time_us)

    def create(self, request: RequestRecord | None = None) -> Write:
        return self.write(e.WorkflowCreated(self.namespace, self.id, self.spec), blobs=(self.query,), request=request)

    def plan(self, *tasks: TaskSpec) -> Write:
        blobs = tuple(blob_of(f"do {task.id}") for task in tasks)
        adopted = e.PlanAdopted(1, tasks, PlanSource.PLANNER)
        return self.write(e.PlanningStarted(1), adopted, e.WorkflowStarted(), touched=None, blobs=blobs)

    def begin(self, task_id: str) -> Write:
        started = e.AttemptStarted(task_id, 1, 1, self.time_us + 1_000_000)
        return self.write(e.TaskReady(task_id), started, touched=(task_id,))

    def complete(self, task_id: str, text: str) -> Write:
        blob = blob_of(text)
        output = output_of(blob)
        done = (e.AttemptSucceeded(task_id, 1, output), e.TaskCompleted(task_id, output))
        return self.write(*done, touched=(task_id,), blobs=(blob,))

    def fail(self) -> Write:
        return self.write(e.WorkflowFailed(FAILURE))

    def erase(self) -> Write:
        return self.write(e.WorkflowDeleted())


def task(task_id: str, *dependencies: str) -> TaskSpec:
    description = blob_of(f"do {task_id}").digest
    return TaskSpec(task_id, f"Title of {task_id}", description, "research", tuple(dependencies))
