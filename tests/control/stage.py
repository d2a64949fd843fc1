"""A server that is killed and started again in the middle of a test, its client, and what can be known of it from outside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from orcs_client import Event, NotFound, OrcsClient, plan
from orcs_client.v1 import event_pb2, workflow_pb2
from orcs_server.identity.tokens import TokenRegistry, token_file
from orcs_server.storage.sqlite.examination import examine
from tests.control.calls import Call, Death, look_at, noted, repeated
from tests.torture.calls import BEGUN

ROOT = Path(__file__).parents[2]
READY = "orcs listening on "
LIMIT_S = 40.0
"""No wait is longer."""
PAUSE_S = 0.01

W = workflow_pb2
COMPLETED, FAILED, CANCELLED, PAUSED, PAUSING, RUNNING = (
    W.WORKFLOW_STATE_COMPLETED,
    W.WORKFLOW_STATE_FAILED,
    W.WORKFLOW_STATE_CANCELLED,
    W.WORKFLOW_STATE_PAUSED,
    W.WORKFLOW_STATE_PAUSING,
    W.WORKFLOW_STATE_RUNNING,
)
APPROVE, REJECT, EDIT = W.DECISION_APPROVE, W.DECISION_REJECT, W.DECISION_EDIT


class Zygote:
    """Forks servers."""

    def __init__(self) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.control.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            cwd=ROOT,
        )

    def order(self, **order: Any) -> int:
        """Give an order; return what came of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(order)}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the zygote has died"
        return int(line)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(LIMIT_S)
        self._process.stdout.close()


class Stage:
    """One data file and the server on it. Each workflow that is created is watched to its end, whatever happens to the server."""

    client: OrcsClient
    """Made anew for each server."""
    watching: OrcsClient
    """Outlives them."""

    def __init__(self, zygote: Zygote, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.data = folder / "data" / "orcs.db"
        self.deaths: list[Death] = []
        self.failed = False
        """Its test has failed, so that there is nothing to check."""
        self.histories: dict[str, list[event_pb2.Event]] = {}
        self._zygote = zygote
        self._settings = settings
        self._address = "127.0.0.1:0"
        self._pid = 0
        self._watches: dict[str, asyncio.Task[None]] = {}
        (folder / "gates").mkdir(parents=True)

    # The server

    async def start(self) -> None:
        """Start it, on the port that it had before."""
        said = self.folder / "stdout.txt"
        said.write_text("")
        settings = {
            "listen": self._address,
            "data": str(self.data),
            "agent_registry": "tests.control.agents:REGISTRY",
            "offline_pace": 0,
            "log_level": "warning",
            "drain_grace": 30,
            "retry": {"initial_backoff": 0.05, "max_backoff": 0.2},
            **self._settings,
        }
        self._pid = self._zygote.order(start=settings, folder=str(self.folder))
        await until(lambda: said.read_text().startswith(READY) and said.read_text().endswith("\n"), self.errors)
        self._address = said.read_text().removeprefix(READY).strip()
        token = token_file(self.data).read_text().strip()
        self.client = OrcsClient(self._address, token=token)
        if not self.deaths:
            self.watching = OrcsClient(self._address, token=token)
            # From here on its silence is a cut and not a wrong address, even if the server dies before the first watch has come up.
            await self.watching.get_server_info()

    def errors(self) -> str:
        return (self.folder / "stderr.txt").read_text()[-4000:]

    def client_of(self, principal: str, *roles: str) -> OrcsClient:
        """Return a client of somebody else's; its token holds within a second."""
        text = TokenRegistry(self.data).create(principal, "default", roles)
        return OrcsClient(self._address, token=text)

    async def kill(self) -> None:
        """End the server as a power cut would."""
        await self.end(signal.SIGKILL)

    async def terminate(self) -> None:
        """Ask the server to end in good order. It must exit with 0."""
        await self.end(signal.SIGTERM)

    async def end(self, number: signal.Signals) -> None:
        os.kill(self._pid, number)
        status = await asyncio.to_thread(self._zygote.order, reap=self._pid)
        self._pid = 0
        assert status == (0 if number == signal.SIGTERM else -number), (status, self.errors())
        await self.client.close()
        self.deaths.append(look_at(self.data, len(noted(self.folder))))

    async def restart(self) -> None:
        """Kill it and start it again."""
        await self.kill()
        await self.start()

    # Workflows

    async def create(self, *tasks: dict[str, Any], **options: Any) -> str:
        """Create a workflow of these tasks, unless there is a query, and begin to watch it; return its id."""
        if tasks:
            options["plan"] = plan(tasks)  # type: ignore[arg-type]  # fields of tasks
        workflow_id = (await self.client.create_workflow(**options)).workflow.id
        self.histories[workflow_id] = []
        self._watches[workflow_id] = asyncio.create_task(self._watch(workflow_id))
        return workflow_id

    async def _watch(self, workflow_id: str) -> None:
        async with aclosing(self.watching.watch(workflow_id)) as items:
            async for item in items:
                assert isinstance(item, Event)
                self.histories[workflow_id].append(item.message)

    async def watched(self, workflow_id: str) -> None:
        """Wait until the watch has seen the workflow's end."""
        async with asyncio.timeout(LIMIT_S):
            await self._watches[workflow_id]

    async def workflow(self, workflow_id: str) -> W.Workflow:
        return (await self.client.get_workflow(workflow_id)).workflow

    async def until(self, workflow_id: str, *states: W.WorkflowState.ValueType) -> W.Workflow:
        """Wait until the workflow is in one of these states; return it."""
        async with asyncio.timeout(LIMIT_S):
            while (workflow := await self.workflow(workflow_id)).state not in states:  # noqa: ASYNC110 - another process changes it
                await asyncio.sleep(PAUSE_S)
        return workflow

    async def end_of(self, workflow_id: str, state: W.WorkflowState.ValueType = COMPLETED) -> W.Workflow:
        """Wait until the workflow has ended like this."""
        workflow = await self.until(workflow_id, COMPLETED, FAILED, CANCELLED)
        assert workflow.state == state, workflow
        return workflow

    async def task(self, workflow_id: str, task_id: str) -> W.Task:
        return (await self.client.get_task(workflow_id, task_id, full=True)).task

    async def task_until(self, workflow_id: str, task_id: str, state: str) -> W.Task:
        """Wait until there is the task, in this state."""
        wanted = W.TaskState.Value(f"TASK_STATE_{state}")
        async with asyncio.timeout(LIMIT_S):
            while True:
                with suppress(NotFound):
                    if (found := await self.task(workflow_id, task_id)).state == wanted:
                        return found
                await asyncio.sleep(PAUSE_S)

    async def output(self, workflow_id: str, task_id: str) -> list[str]:
        """Return all that a task's model has read, as its answer says."""
        found = await self.task(workflow_id, task_id)
        return list(json.loads(found.output.text))

    async def inputs(self, workflow_id: str, count: int = 1) -> list[W.PendingInput]:
        """Wait until so many inputs of the workflow wait; return them whole."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                found = [one async for one in self.client.list_pending_inputs(workflow_id=workflow_id)]
                if len(found) >= count:
                    break
                await asyncio.sleep(PAUSE_S)
        assert len(found) == count, found
        return [(await self.client.get_pending_input(workflow_id, one.id)).input for one in found]

    async def input(self, workflow_id: str) -> W.PendingInput:
        """Wait for the one input that the workflow waits for."""
        return (await self.inputs(workflow_id))[0]

    async def decide(self, asked: W.PendingInput, decision: W.Decision.ValueType, **rest: Any) -> None:
        """Decide about exactly what was shown."""
        await self.client.resolve_approval(
            asked.workflow_id, asked.id, decision, subject_sha256=asked.subject_sha256, **rest
        )

    async def log(self, workflow_id: str) -> list[event_pb2.Event]:
        """Return the whole log of a workflow that has ended for the first time or again."""
        async with aclosing(self.client.watch(workflow_id)) as items:
            return [item.message async for item in items if isinstance(item, Event)]

    # Outside

    def open(self, *gates: str) -> None:
        """Open gates."""
        for gate in gates:
            (self.folder / "gates" / gate).touch()

    def calls(self, task_id: str, word: str = BEGUN) -> list[str]:
        """Return `kind name` of every call that was made for a task, in order, with the path before the name."""
        return [_name(call) for said, call in noted(self.folder) if said == word and call.task_id == task_id]

    async def begun(self, task_id: str, name: str, times: int = 1) -> None:
        """Wait until a call was begun so often, such as `tool look1`."""
        await until(lambda: self.calls(task_id).count(name) >= times, self.errors)

    # In the end

    async def check(self) -> None:
        """Stop the server; nothing that was stored was made again, the histories have no gaps, and the file is sound."""
        for workflow_id in self._watches:
            await self.watched(workflow_id)
            seen = self.histories[workflow_id]
            assert [one.sequence for one in seen] == list(range(1, len(seen) + 1))
            try:
                log = await self.log(workflow_id)
            except NotFound:
                continue
            assert [one.sequence for one in log] == list(range(1, len(log) + 1))
            assert log[: len(seen)] == seen
        assert self.deaths, "no server was killed in the middle"
        await self.terminate()
        again = repeated(noted(self.folder), self.deaths)
        assert not again, again
        found = examine(self.data).findings
        assert not found, found

    async def close(self) -> None:
        """End whatever there still is."""
        for watch in self._watches.values():
            watch.cancel()
        await asyncio.gather(*self._watches.values(), return_exceptions=True)
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            self._zygote.order(reap=self._pid)
            await self.client.close()
        if hasattr(self, "watching"):
            await self.watching.close()


def _name(call: Call) -> str:
    return f"{call.kind} {call.path}/{call.name}" if call.path else f"{call.kind} {call.name}"


async def until(condition: Callable[[], bool], otherwise: Callable[[], str] = str) -> None:
    """Wait for something that another process does."""
    ends = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < ends, otherwise()
        await asyncio.sleep(PAUSE_S)


@asynccontextmanager
async def staged(zygote: Zygote, folder: Path, **settings: Any) -> AsyncIterator[Stage]:
    """A stage with a server up, which is checked in the end unless the test has failed."""
    stage = Stage(zygote, folder, **settings)
    try:
        await stage.start()
        yield stage
        if not stage.failed:
            await stage.check()
    finally:
        await stage.close()
