"""`ORCSRunHooks`: the link between a run of the Agents SDK and ORCS's memory, on the SDK's seven current callbacks. For ORCS's own runs
and for `Runner.run(..., hooks=ORCSRunHooks(memory, workflow_id))` in a program of one's own.
"""

from __future__ import annotations

import inspect
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from agents import Agent, AgentHookContext, ModelResponse, RunContextWrapper, RunHooks, Tool
from agents.items import TResponseInputItem
from pydantic_core import to_jsonable_python

from orcs_server.agents.context import RunContext, RunMemory

logger = logging.getLogger(__name__)

RunEventName = Literal["agent_start", "agent_end", "llm_start", "llm_end", "tool_start", "tool_end", "handoff"]


@dataclass(frozen=True, slots=True)
class RunEvent:
    """Something that happened in a run, for an observer."""

    name: RunEventName
    run_id: str
    agent: str
    detail: str = ""
    """The tool's name, or the name of the agent that takes over."""
    time_us: int = 0


class ORCSRunHooks(RunHooks[Any]):
    """Stores when an agent run began and what came of it, and tells an observer of every callback.

    Memory keys are `agent_run:{run_id}:start` and `agent_run:{run_id}:result`, in the scope `workflow:{workflow_id}`. Run and
    workflow ids come from the run context if it is a `RunContext`, else from the arguments; without a run id each run gets a random
    one. Use one instance for one run at a time. Nothing that memory or the observer raises reaches the run: it is logged.
    """

    def __init__(
        self,
        memory_system: RunMemory | None = None,
        workflow_id: str = "",
        *,
        run_id: str = "",
        on_event: Callable[[RunEvent], object] | None = None,
    ) -> None:
        self.memory = memory_system
        self.workflow_id = workflow_id
        self._given_run_id = run_id
        self._run_id = run_id
        self._on_event = on_event

    async def on_agent_start(self, context: AgentHookContext[Any], agent: Any) -> None:
        if not self._run_id:
            self._run_id = uuid.uuid4().hex
        await self._store(context, "start", {"time_us": _now_us(), "agent_name": agent.name})
        await self._tell(context, "agent_start", agent)

    async def on_agent_end(self, context: AgentHookContext[Any], agent: Any, output: Any) -> None:
        record = {"time_us": _now_us(), "agent_name": agent.name, "output": _plain(output)}
        await self._store(context, "result", record)
        await self._tell(context, "agent_end", agent)
        self._run_id = self._given_run_id

    async def on_llm_start(
        self,
        context: RunContextWrapper[Any],
        agent: Agent[Any],
        system_prompt: str | None,  # noqa: ARG002 - the SDK's signature
        input_items: list[TResponseInputItem],  # noqa: ARG002
    ) -> None:
        await self._tell(context, "llm_start", agent)

    async def on_llm_end(
        self,
        context: RunContextWrapper[Any],
        agent: Agent[Any],
        response: ModelResponse,  # noqa: ARG002
    ) -> None:
        await self._tell(context, "llm_end", agent)

    async def on_tool_start(self, context: RunContextWrapper[Any], agent: Any, tool: Tool) -> None:
        await self._tell(context, "tool_start", agent, tool.name)

    async def on_tool_end(
        self,
        context: RunContextWrapper[Any],
        agent: Any,
        tool: Tool,
        result: object,  # noqa: ARG002
    ) -> None:
        await self._tell(context, "tool_end", agent, tool.name)

    async def on_handoff(self, context: RunContextWrapper[Any], from_agent: Any, to_agent: Any) -> None:
        await self._tell(context, "handoff", from_agent, to_agent.name)

    async def _store(self, context: RunContextWrapper[Any], what: str, record: dict[str, object]) -> None:
        run = context.context if isinstance(context.context, RunContext) else None
        memory = self.memory or (run.memory if run else None)
        if memory is None:
            return
        workflow_id = self.workflow_id or (run.workflow_id if run else "")
        key = f"agent_run:{self._name_of(run)}:{what}"
        try:
            stored = memory.store(key=key, value=record, scope=f"workflow:{workflow_id}")
            if inspect.isawaitable(stored):
                await stored
        except Exception:
            logger.exception("could not store %s in memory; the agent's run goes on without it", key)

    async def _tell(self, context: RunContextWrapper[Any], name: RunEventName, agent: Any, detail: str = "") -> None:
        if self._on_event is None:
            return
        run = context.context if isinstance(context.context, RunContext) else None
        try:
            answer = self._on_event(RunEvent(name, self._name_of(run), agent.name, detail, _now_us()))
            if inspect.isawaitable(answer):
                await answer
        except Exception:
            logger.exception("the observer of agent runs failed on %s; the run goes on", name)

    def _name_of(self, run: RunContext | None) -> str:
        return self._given_run_id or (run.run_id if run else self._run_id)


def _now_us() -> int:
    return time.time_ns() // 1000


def _plain(output: object) -> object:
    return output if isinstance(output, str) else to_jsonable_python(output, fallback=repr)
