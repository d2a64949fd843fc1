"""Requests of every kind in any order on a handful of workflows, and what must hold between them: a request id has one answer, reads
and watches tell the same, what is refused changes nothing.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any, ClassVar, Final

from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, get_state_machine_test, initialize, rule

from orcs_client.v1 import task_service_pb2, workflow_pb2, workflow_service_pb2
from tests.rpc.surface.asking import Answer
from tests.rpc.surface.methods import kind_of, methods
from tests.rpc.surface.trials import Trials
from tests.rpc.surface.values import requests
from tests.rpc.surface.world import LATER, World
from tests.rpc.wire import plan_of, sequences

_w = workflow_service_pb2

WORKFLOWS: Final = ("@w0", "@w1", "@w2")
REQUEST_IDS: Final = ("@q0", "@q1")
REPEATABLE: Final = sorted(
    name for name, method in methods().items() if {"request_id", "workflow_id"} <= set(method.input_type.fields_by_name)
)
"""Methods of commands about a workflow, which an id makes repeatable."""
TEXTS: Final = {
    "workflow_id": WORKFLOWS,
    "continue_from": ("", "", "", *WORKFLOWS),
    "request_id": ("", *REQUEST_IDS),
    "task_id": ("a", "b"),
    "page_token": ("",),
    "after_cursor": ("",),
}
NEW: Final[dict[str, dict[str, Any]]] = {
    "runs": {"plan": plan_of(a=(), b=("a",))},
    "stays": {"plan": plan_of(a=(), b=("a",)), "auto_start": False},
    "waits": {"plan": plan_of(a=()), "not_before_time": LATER},
    "is planned": {"query": "Compare two databases"},
}
MOVES: Final = 200
"""How often a workflow is read again that has moved on between two reads."""


class Sequence(RuleBasedStateMachine):
    """A few workflows of its own, and requests about them."""

    world: ClassVar[World]
    answers: ClassVar[Counter[str]]
    _runs: ClassVar[itertools.count[int]] = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        run = next(self._runs)
        self.ids = {name: f"run{run}-{name[1:]}" for name in WORKFLOWS}
        self.world.texts |= self.ids | {name: f"run{run}-{name[1:]}" for name in REQUEST_IDS}
        self.trials = Trials(self.world, self.answers)
        self.given: dict[tuple[str, str], tuple[Any, str]] = {}
        """Method and request id -> the first request and the cursor of its answer."""
        self.begin = self._position()

    def teardown(self) -> None:
        """A watch of all workflows from the beginning on brings each as it is in the end."""
        state = self.world.state()
        resting = {workflow_id for namespace, workflow_id in state.at_rest if namespace == self.world.namespace}
        missing = resting & set(self.ids.values())
        if not missing:
            return
        request = _w.WatchWorkflowsRequest(after_cursor=self.begin)
        watch = self.world.asker.replies(methods()["WatchWorkflows"], request)
        for reply in watch:
            for summary in reply.workflows:
                if summary.id in resting:
                    missing.discard(summary.id)
                    assert summary == self._in_list(summary.id)
            if not missing:
                break
        watch.cancel()
        assert not missing

    def _position(self) -> str:
        """Return the cursor of this moment among all workflows."""
        watch = self.world.asker.replies(methods()["WatchWorkflows"], _w.WatchWorkflowsRequest(snapshot=True))
        cursor = next(reply.cursor for reply in watch if reply.snapshot_complete)
        watch.cancel()
        return str(cursor)

    # Requests

    @initialize(kinds=st.tuples(st.sampled_from(sorted(NEW)), st.sampled_from(sorted(NEW))))
    def begin_with_two(self, kinds: tuple[str, str]) -> None:
        for workflow, kind in zip(WORKFLOWS, kinds, strict=False):
            self.create(workflow, kind, "")

    @rule(
        workflow=st.sampled_from(WORKFLOWS),
        kind=st.sampled_from(sorted(NEW)),
        request_id=st.sampled_from(TEXTS["request_id"]),
    )
    def create(self, workflow: str, kind: str, request_id: str) -> None:
        self._ask("CreateWorkflow", _w.CreateWorkflowRequest(workflow_id=workflow, request_id=request_id, **NEW[kind]))

    @rule(name=st.sampled_from(sorted({*methods()} - {"FreezeNamespace", "ThawNamespace"})), data=st.data())
    def ask_anything(self, name: str, data: st.DataObject) -> None:
        self._ask(name, data.draw(requests(methods()[name].input_type, TEXTS)))

    @rule(
        name=st.sampled_from([name for name in REPEATABLE if name != "CreateWorkflow"]),
        workflow=st.sampled_from(WORKFLOWS),
        request_id=st.sampled_from(TEXTS["request_id"]),
    )
    def command(self, name: str, workflow: str, request_id: str) -> None:
        self._ask(name, kind_of(methods()[name].input_type)(workflow_id=workflow, request_id=request_id))

    # What is drawn must not depend on answers, which depend on how far workflows have got.

    @rule(name=st.sampled_from(REPEATABLE), request_id=st.sampled_from(REQUEST_IDS))
    def ask_again(self, name: str, request_id: str) -> None:
        request, cursor = self.given.get((name, self.world.texts[request_id]), (None, ""))
        if request is None:
            return
        answer = self.trials.request(methods()[name], request)
        if answer.refused:
            # Its workflow was deleted since: there is nothing left to show.
            assert answer.reason == "WORKFLOW_NOT_FOUND"
            assert self.world.call("GetWorkflow", _w.GetWorkflowRequest(workflow_id=request.workflow_id)).refused
        else:
            assert answer.reply.cursor == cursor

    @rule(name=st.sampled_from(REPEATABLE), request_id=st.sampled_from(REQUEST_IDS))
    def ask_something_else_under_the_same_id(self, name: str, request_id: str) -> None:
        request, _ = self.given.get((name, self.world.texts[request_id]), (None, ""))
        if request is None:
            return
        other = kind_of(methods()[name].input_type)()
        other.CopyFrom(request)
        other.workflow_id = "another"
        answer = self.trials.request(methods()[name], other)
        assert (answer.code, answer.reason) == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED")

    def _ask(self, name: str, request: Any) -> Answer:
        request = self.world.filled(request)
        answer = self.trials.request(methods()[name], request)
        request_id = getattr(request, "request_id", "")
        if request_id and not answer.refused and not getattr(request, "validate_only", False):
            first = self.given.setdefault((name, request_id), (request, answer.reply.cursor))
            assert answer.reply.cursor == first[1], "one request id, two answers"
        return answer

    # Reads

    @rule(workflow=st.sampled_from(WORKFLOWS))
    def look(self, workflow: str) -> None:
        workflow_id = self.ids[workflow]
        for _ in range(MOVES):
            before = self.world.call("GetWorkflow", _w.GetWorkflowRequest(workflow_id=workflow_id))
            if before.refused:
                self._is_gone(workflow_id)
                return
            told = self._told(workflow_id)
            after = self.world.call("GetWorkflow", _w.GetWorkflowRequest(workflow_id=workflow_id))
            if not after.refused and after.reply.cursor == before.reply.cursor:
                self._agree(before.reply, *told)
                return
        raise AssertionError(f"{workflow_id} does not come to rest")

    def _told(self, workflow_id: str) -> tuple[list[Any], list[Any], list[Any], Any]:
        """Return a workflow's tasks as listed and one by one, the parts of its snapshot, and it in the list."""
        which = task_service_pb2.ListTasksRequest(workflow_id=workflow_id, page_size=500)
        listed = list(self.world.reply("ListTasks", which).tasks)
        asked = [task_service_pb2.GetTaskRequest(workflow_id=workflow_id, task_id=task.id) for task in listed]
        single = [self.world.reply("GetTask", request).task for request in asked]
        parts = []
        snapshot = self.world.asker.replies(
            methods()["WatchWorkflow"], _w.WatchWorkflowRequest(workflow_id=workflow_id, snapshot=True)
        )
        for part in snapshot:
            parts.append(part)
            if part.snapshot_complete:
                break
        snapshot.cancel()
        return listed, single, parts, self._in_list(workflow_id)

    def _in_list(self, workflow_id: str) -> Any:
        token = ""
        while True:
            page = self.world.reply("ListWorkflows", _w.ListWorkflowsRequest(page_size=500, page_token=token))
            for summary in page.workflows:
                if summary.id == workflow_id:
                    return summary
            token = page.next_page_token
            if not token:
                return None

    def _agree(self, got: Any, tasks: list[Any], single: list[Any], parts: list[Any], summary: Any) -> None:
        """The workflow, its tasks, its snapshot, its place in the list and its events tell the same."""
        assert parts[0].snapshot.workflow == got.workflow
        assert [task for part in parts for task in part.snapshot.tasks] == tasks
        assert parts[-1].cursor == got.cursor
        assert summary is not None
        for field in summary.DESCRIPTOR.fields:
            assert getattr(summary, field.name) == getattr(got.workflow, field.name), field.name
        states = Counter(workflow_pb2.TaskState.Name(task.state) for task in tasks)
        counts = got.workflow.task_counts
        assert counts.total == len(tasks)
        for state in workflow_pb2.TaskState.keys()[1:]:
            assert getattr(counts, state.removeprefix("TASK_STATE_").lower()) == states[state], state
        assert single == tasks
        self._replay(got)

    def _replay(self, got: Any) -> None:
        """The events up to what was read have no hole, and a watch from any place among them goes on right after it."""
        replies = self._watched_to(got, after_cursor="")
        numbers = sequences(replies)
        assert numbers == list(range(1, len(numbers) + 1))
        first = replies[0].cursor
        if first != got.cursor:
            rest = sequences(self._watched_to(got, after_cursor=first))
            assert numbers == [*sequences(replies[:1]), *rest]

    def _watched_to(self, got: Any, after_cursor: str) -> list[Any]:
        request = _w.WatchWorkflowRequest(workflow_id=got.workflow.id, after_cursor=after_cursor)
        watch = self.world.asker.replies(methods()["WatchWorkflow"], request)
        replies = []
        for reply in watch:
            replies.append(reply)
            if reply.cursor == got.cursor:
                break
        watch.cancel()
        assert replies[-1].cursor == got.cursor
        return replies

    def _is_gone(self, workflow_id: str) -> None:
        for name, method in methods().items():
            fields = method.input_type.fields_by_name
            if "workflow_id" in fields and name not in ("CreateWorkflow", "GetTask") and "request_id" not in fields:
                answer = self.world.call(name, kind_of(method.input_type)(workflow_id=workflow_id))
                if "workflow_id" not in answer.violations and answer.reason != "FIELD_INVALID":
                    assert answer.reason == "WORKFLOW_NOT_FOUND", f"{name}: {answer}"
        assert self._in_list(workflow_id) is None


def run_sequences(world: World, answers: Counter[str], how: settings, chance: int = 0) -> None:
    """Run sequences, as many and as long as the settings say; `answers` is added to."""
    Sequence.world, Sequence.answers = world, answers
    seed(chance)(get_state_machine_test(Sequence, settings=how))()
