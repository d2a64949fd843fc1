"""One agent run over a real store with the real Agents SDK, attempt by attempt; only the model is scripted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents import (
    Agent,
    FunctionTool,
    RunContextWrapper,
    function_tool,
)
from agents.testing import ScriptedModel, function_call
from agents.testing.model import ModelScriptItem

from orcs_server.agents.catalog import definition_of
from orcs_server.agents.context import RunContext
from orcs_server.agents.journal import RunJournal
from orcs_server.agents.runner import AgentResult, AgentRun, AgentRunner
from orcs_server.agents.steering import Steering
from orcs_server.storage.journal import JournalKey
from orcs_server.storage.sqlite import SqliteStore
from orcs_server.storage.store import blob_of
from orcs_server.telemetry import TELEMETRY_OFF
from orcs_server.workflow.people import MessageMode, PendingInput, PersonMessage, Resolution
from tests.agents.support import OneModel

KEY = JournalKey("default", "w1", "t1", 1)
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


class Bench:
    """One run, attempt by attempt, over one data file. Every attempt gets a new runner and a journal read from the file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "orcs.db"
        self.counted = folder / "tools.txt"
        self.counted.touch()
        self.store = SqliteStore(self.path)
        self.key = KEY
        self.telemetry = TELEMETRY_OFF.calls
        self.attempts = 0
        self.mismatches: list[tuple[str, int]] = []
        self.blocked = asyncio.Event()
        self.mail: list[PersonMessage] = []
        """What the next attempt finds in its box."""
        self.inputs: list[PendingInput] = []
        """What was asked of people up to now."""
        self.ways: dict[str, Any] = {}
        """How the next attempt turns to its workflow."""
        self.steering = Steering()
        """That of the attempt that runs."""

    async def resolve(self, result: AgentResult, *resolutions: Resolution, answer: str = "", reason: str = "") -> None:
        """Resolve what an attempt has asked for, need by need, and store what it refers to."""
        assert len(result.needs) == len(resolutions), result
        await self.store.put_blobs("default", [*result.blobs, blob_of(answer)])
        for need, resolution in zip(result.needs, resolutions, strict=True):
            ordinal = len(self.inputs) + 1
            given = need.default if resolution is Resolution.DEFAULTED else blob_of(answer).digest if answer else None
            self.inputs.append(
                PendingInput(
                    f"i{ordinal}",
                    ordinal,
                    need,
                    0,
                    self.key.task_id,
                    self.attempts,
                    self.key.run if self.key.task_id else 0,
                    resolution=resolution,
                    answer=given,
                    reason=reason,
                )
            )

    async def say(self, text: str, mode: MessageMode = MessageMode.QUEUE) -> None:
        """Send a message; the attempt that runs, if one does, is told."""
        blob = blob_of(text)
        await self.store.put_blobs("default", [blob])
        ordinal = len(self.mail) + 1
        self.mail.append(PersonMessage(f"m{ordinal}", ordinal, mode, blob.digest, 0))
        self.steering.deliver(tuple(self.mail))

    async def reopen(self) -> None:
        await self.store.close()
        self.store = SqliteStore(self.path)
        await self.store.open()

    @property
    def runs(self) -> list[str]:
        return self.counted.read_text().split()

    def tool(self, name: str, *, blocks: bool = False, **options: Any) -> FunctionTool:
        """Return a tool that counts itself; one that blocks does so the first time, after it has acted."""

        async def act(context: RunContextWrapper[RunContext], n: int) -> str:
            key = context.context.idempotency_key(context.tool_call_id)[:8]  # type: ignore[attr-defined]  # a ToolContext
            with self.counted.open("a") as file:
                file.write(f"{name}:{n}:{key}\n" if name == "keyed" else f"{name}:{n}\n")
            if blocks and not self.blocked.is_set():
                self.blocked.set()
                await asyncio.Event().wait()
            return f"{name} did {n}"

        return function_tool(act, name_override=name, **options)

    async def attempt(
        self,
        agent: Agent[Any],
        steps: Sequence[ModelScriptItem],
        *,
        cut: bool = False,
        text: str = "go",
        **request: Any,
    ) -> AgentResult | None:
        """Run the next attempt with these answers of the model, all of which it has to use; cut it in the blocking tool."""
        self.attempts += 1
        await self.reopen()
        model = ScriptedModel(steps)
        self.steering = Steering(mail=self.mail, inputs=self.inputs, **self.ways)
        journal = await RunJournal.open(
            self.store,
            self.key,
            self.attempts,
            lambda path, turn: self.mismatches.append((path, turn)),
            self.steering,
        )
        definition = replace(definition_of("tester", agent), max_turns=99)
        run = AgentRunner(OneModel(model), telemetry=self.telemetry).run(
            AgentRun(definition, text, RunContext(*self.key[:3], run=self.key.run), journal=journal, **request)
        )
        if not cut:
            result = await run
            model.assert_complete()
            return result
        running = asyncio.create_task(run)
        await self.blocked.wait()
        # Whatever runs beside the blocking tool gets the time to end.
        await asyncio.sleep(0.05)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        return None

    async def done(self, agent: Agent[Any], steps: Sequence[ModelScriptItem], **options: Any) -> AgentResult:
        result = await self.attempt(agent, steps, **options)
        assert result is not None
        return result


def call(name: str, n: int = 1, call_id: str | None = None) -> Any:
    return function_call(name, {"n": n}, call_id=call_id or f"{name}_{n}")


def nested(name: str, text: str, call_id: str) -> Any:
    return function_call(name, {"input": text}, call_id=call_id)
