"""Function tools whose calls go through the journal of the run that makes them: a registry's own, those of MCP servers, and those of
agents that are nested or handed over to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from agents import FunctionTool, Tool
from agents.tool_context import ToolContext

from orcs_server.agents.clearance import ApprovalInRuns, Clearance, clear
from orcs_server.agents.idempotence import is_idempotent
from orcs_server.agents.journal import JournalStopped, RunJournal
from orcs_server.agents.needs import InputRequired
from orcs_server.agents.observed_calls import agent_of
from orcs_server.agents.paths import within_tool
from orcs_server.agents.run_calls import current_calls
from orcs_server.agents.sensitivity import is_sensitive, is_trusted
from orcs_server.agents.tool_results import pack_result, unpack_result
from orcs_server.errors import PermissionDenied
from orcs_server.hooks.leave import TOOL_OPERATION, AgentLeave
from orcs_server.telemetry import Calls

Invoke = Callable[[ToolContext[Any], str], Awaitable[Any]]

WAITING = "This call waits."
"""What the SDK gets of a call that came to nothing in this attempt. No model ever sees it."""


class JournaledInvocation:
    """What a tool does when it is called: outside of a journaled run just what it did before."""

    def __init__(self, tool: FunctionTool, inner: Invoke) -> None:
        self._tool = tool
        self._inner = inner
        self.declared = is_idempotent(tool)
        """Of the function that the tool was made of, which the SDK does not show once its invoker is another."""
        self.sensitive = is_sensitive(tool)
        # What a nested agent has read is noted where it reads it.
        self.trusted = is_trusted(tool) or bool(getattr(tool, "_is_agent_tool", False))

    def __getattr__(self, name: str) -> Any:
        # The SDK marks invokers with attributes of its own.
        return getattr(self._inner, name)

    def __agents_bind_function_tool__(self, tool: FunctionTool) -> Invoke:
        """Return the same for a copy of the tool: the SDK asks for it."""
        bind = getattr(self._inner, "__agents_bind_function_tool__", None)
        inner = self._inner if bind is None else bind(tool)
        if tool is self._tool:
            return inner
        bound = JournaledInvocation(tool, inner)
        bound.declared |= self.declared
        bound.sensitive |= self.sensitive
        bound.trusted |= self.trusted
        return bound

    async def __call__(self, context: ToolContext[Any], arguments: str) -> Any:
        calls = current_calls.get()
        call_id = getattr(context, "tool_call_id", "")
        if calls is None:
            return await self._inner(context, arguments)
        if calls.journal is None or not call_id:
            refused = await refusal_of(calls.leave, self._tool.name)
            return await self._inner(context, arguments) if refused is None else refused
        stored = await calls.journal.result(call_id)
        if stored is not None:
            return unpack_result(stored)
        refused = await refusal_of(calls.leave, self._tool.name)
        return await self._call(calls.telemetry, calls.journal, call_id, context, arguments, refused)

    async def _call(
        self,
        telemetry: Calls,
        journal: RunJournal,
        call_id: str,
        context: ToolContext[Any],
        arguments: str,
        refused: str | None,
    ) -> Any:
        name, repeatable = self._tool.name, may_run_again(self._tool)
        reading = journal.reading
        sensitive = self.sensitive or name in reading.sensitive
        mark: object = reading.reads.mark
        try:
            cleared = Clearance(arguments, refused)
            if refused is None:
                cleared = await clear(
                    journal,
                    self._tool,
                    context,
                    arguments,
                    repeatable=repeatable,
                    sensitive=sensitive,
                    always=name in reading.needs_approval,
                )
            result: Any = cleared.instead
            if result is None:
                await journal.start_tool(call_id, name, repeatable=repeatable)
                observed = telemetry.tool_call(name, call_id, cleared.arguments, agent_of(self._tool))
                with observed, within_tool(call_id):
                    result = await self._inner(context, cleared.arguments)
                    observed.result(result)
                if not self.trusted:
                    reading.reads.external(name)
        except InputRequired as asked:
            journal.wait(call_id, asked)
            return WAITING
        except JournalStopped:
            if not journal.halted or journal.failure is not None:
                raise
            journal.wait(call_id)
            return WAITING
        await journal.finish_tool(call_id, name, pack_result(result, reading.since(mark)), repeatable=repeatable)
        return result


async def refusal_of(leave: AgentLeave | None, name: str) -> str | None:
    """Return what the model gets in place of a call that the authorization hook does not permit; None for one that it does."""
    if leave is None:
        return None
    try:
        await leave.require(TOOL_OPERATION, name)
    except PermissionDenied as error:
        return f"The call was not made: {error.message}"
    return None


def may_run_again(tool: object) -> bool:
    """Whether a tool that was cut off may run again. An agent as a tool may: what it calls has rows of its own."""
    invocation = getattr(tool, "on_invoke_tool", None)
    declared = isinstance(invocation, JournaledInvocation) and invocation.declared
    return declared or is_idempotent(tool) or bool(getattr(tool, "_is_agent_tool", False))


def journal_tools(tools: Iterable[Tool]) -> None:
    """Make the calls of these tools go through the journal of whatever run makes them. Doing it again changes nothing."""
    for tool in tools:
        if not isinstance(tool, FunctionTool):
            continue
        if not isinstance(tool.on_invoke_tool, JournaledInvocation):
            tool.on_invoke_tool = JournaledInvocation(tool, tool.on_invoke_tool)
        if tool.needs_approval is not False and not isinstance(tool.needs_approval, ApprovalInRuns):
            tool.needs_approval = ApprovalInRuns(tool.needs_approval)
