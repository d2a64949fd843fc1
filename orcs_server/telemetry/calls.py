"""Agents at work, their model calls and their tool calls, by the GenAI conventions. What a journal gives back was not called: it
leaves no span and no measurement.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import SpanKind

from orcs_server.telemetry import metrics
from orcs_server.telemetry.content import Message, as_json, bounded
from orcs_server.telemetry.meters import VALUE_LIMIT, Meters
from orcs_server.telemetry.spans import OK, Attributes, OpenSpan, Scope, Tracing


class Spent(NamedTuple):
    """What one model call consumed."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float = 0.0


class Invocation:
    """An agent at work: who it is, and below which span its calls hang. Spans of nested agents are made with their first call, so that
    an agent whose conversation only comes from the journal leaves none.
    """

    __slots__ = ("_began_ns", "_own", "_span", "_start", "agent", "namespace")

    def __init__(
        self, agent: str, namespace: str, start: Callable[[str, int], OpenSpan], span: OpenSpan | None = None
    ) -> None:
        """`span` is the agent's, where it has one already, and then somebody else's to end."""
        self.agent = agent
        self.namespace = namespace
        self._start = start
        self._span = span
        self._own = span is None
        self._began_ns = time.time_ns()

    @property
    def context(self) -> Context | None:
        """Where its calls hang."""
        if self._span is None:
            self._span = self._start(self.agent, self._began_ns)
        return self._span.context

    def hand_over(self, agent: str) -> None:
        """Another agent goes on with the conversation."""
        self.end()
        self.agent = agent
        self._span = None
        self._own = True
        self._began_ns = time.time_ns()

    def end(self, outcome: str = OK) -> None:
        """End the span that it made, if it made one."""
        if self._own and self._span is not None:
            self._span.outcome = outcome
            self._span.end()


_at_work: ContextVar[Invocation | None] = ContextVar("_at_work", default=None)
"""The agent that this asyncio task works for."""


class ModelCall:
    """One call of a model, from the request to its end."""

    __slots__ = ("_began", "_invocation", "_meters", "_span", "_told", "captures")

    def __init__(
        self, span: OpenSpan, meters: Meters, invocation: Invocation | None, told: dict[str, str], *, captures: bool
    ) -> None:
        self._span = span
        self._meters = meters
        self._invocation = invocation
        self._told = told
        self._began = time.monotonic()
        self.captures = captures and span.recording
        """Whether it wants to know what was asked and answered."""

    def asked(self, instructions: str | None, messages: Callable[[], Sequence[Message]]) -> None:
        """Note what the model is asked, where content was asked for."""
        if instructions:
            self._span.note("gen_ai.system_instructions", json.dumps([_text(instructions)]))
        self._note("gen_ai.input.messages", messages)

    def answered(self, model: object, response_id: object, messages: Callable[[], Sequence[Message]]) -> None:
        """Note who answered, and where content was asked for, what."""
        if model:
            self._told["gen_ai.response.model"] = str(model)[:VALUE_LIMIT]
        if self._span.recording:
            if model:
                self._span.note("gen_ai.response.model", self._told["gen_ai.response.model"])
            if response_id:
                self._span.note("gen_ai.response.id", str(response_id)[:VALUE_LIMIT])
        if self.captures:
            self._note("gen_ai.output.messages", messages)

    def end(self, spent: Spent, outcome: str = OK) -> None:
        """The call is over: `outcome` is OK or the kind of its failure."""
        span, meters, told = self._span, self._meters, self._told
        if span.recording:
            span.note("gen_ai.usage.input_tokens", spent.input_tokens)
            span.note("gen_ai.usage.output_tokens", spent.output_tokens)
            if spent.cached_input_tokens:
                span.note("gen_ai.usage.cache_read.input_tokens", spent.cached_input_tokens)
            if spent.reasoning_tokens:
                span.note("gen_ai.usage.reasoning.output_tokens", spent.reasoning_tokens)
            if spent.cost:
                span.note("orcs.cost", spent.cost)
        span.outcome = outcome
        span.end()
        if not meters.on:
            return
        failed = {} if outcome == OK else {"error.type": outcome}
        meters.record(metrics.OPERATION_DURATION, time.monotonic() - self._began, told | failed)
        agent, namespace = _whose(self._invocation)
        for direction, tokens in (("input", spent.input_tokens), ("output", spent.output_tokens)):
            if tokens:
                meters.record(metrics.TOKEN_USAGE, tokens, told | {"gen_ai.token.type": direction})
                by = {"orcs.agent": agent, "orcs.direction": direction}
                meters.record(metrics.TOKENS_USED, tokens, by, namespace)
        if spent.cost:
            by = {"orcs.agent": agent, "gen_ai.request.model": told.get("gen_ai.request.model", "")}
            meters.record(metrics.COST, spent.cost, by, namespace)

    def _note(self, name: str, messages: Callable[[], Sequence[Message]]) -> None:
        try:
            self._span.note(name, as_json(messages()))
        except Exception as error:  # noqa: BLE001 - telemetry fails open, whatever a model's answer looks like
            self._meters.trouble.note(error)


class _NoCall(ModelCall):
    """A call that nobody wants to know of."""

    __slots__ = ()

    def __init__(self) -> None:
        self.captures = False

    def answered(self, model: object, response_id: object, messages: Callable[[], Sequence[Message]]) -> None:
        """Note nothing."""

    def end(self, spent: Spent, outcome: str = OK) -> None:
        """Tell nobody."""


NO_CALL: Final = _NoCall()


class ToolScope(AbstractContextManager["ToolScope"]):
    """One call of a tool, which did happen. What the tool does hangs below it; an agent as a tool is at work there."""

    __slots__ = ("_agent", "_began", "_calls", "_invocation", "_name", "_span", "_token", "_work")

    def __init__(self, calls: Calls, name: str, span: OpenSpan, agent: str) -> None:
        self._calls = calls
        self._name = name
        self._span = span
        self._agent = agent
        self._invocation: Invocation | None = None
        self._token: Token[Context] | None = None
        self._work: Token[Invocation | None] | None = None

    def result(self, value: Any) -> None:
        """Note what the tool gave, where content was asked for."""
        if self._calls.captures and self._span.recording:
            self._span.note("gen_ai.tool.call.result", bounded(value))

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        context = self._span.context
        if context is not None:
            self._token = attach(context)
        if self._agent:
            outer = _at_work.get()
            self._invocation = self._calls.invocation(self._agent, "" if outer is None else outer.namespace, context)
            self._work = _at_work.set(self._invocation)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        outcome = OK if kind is None else kind.__name__
        if self._work is not None:
            _at_work.reset(self._work)
        if self._invocation is not None:
            self._invocation.end(outcome)
        if self._token is not None:
            detach(self._token)
        self._span.outcome = outcome
        self._span.end()
        told = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": self._name}
        failed = {} if kind is None else {"error.type": outcome}
        self._calls.meters.record(metrics.OPERATION_DURATION, time.monotonic() - self._began, told | failed)


class _NoTool(AbstractContextManager["_NoTool"]):
    """A call of a tool that nobody wants to know of."""

    __slots__ = ()

    def result(self, value: Any) -> None:
        """Note nothing."""

    def __exit__(self, *_: object) -> None:
        return None


NO_TOOL: Final = _NoTool()


class Calls:
    """Makes the spans and measurements of what agents call."""

    def __init__(self, tracing: Tracing, meters: Meters, *, captures: bool = False) -> None:
        self.meters = meters
        self.captures = captures
        """Content was asked for."""
        self._tracing = tracing
        self._on = tracing.on or meters.on

    def invocation(
        self, agent: str, namespace: str, context: Context | None, span: OpenSpan | None = None
    ) -> Invocation:
        """Return an agent at work below a span, or anywhere; `span` is the one it has already."""
        return Invocation(agent, namespace, self._starter(context), span)

    def hand_over(self, agent: str) -> None:
        """The agent at work hands over to another one."""
        invocation = _at_work.get()
        if self._on and invocation is not None:
            invocation.hand_over(agent)

    def model_call(self, provider: str, model: str, address: tuple[str, int] = ("", 0)) -> ModelCall:
        """A model is asked; `address` is host and port of its server, where it has one."""
        if not self._on:
            return NO_CALL
        invocation = _at_work.get()
        told = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": provider, "gen_ai.request.model": model}
        if not model:
            del told["gen_ai.request.model"]  # A model that is an object need not have a name.
        attributes: Attributes = {**told}
        if invocation is not None:
            attributes["gen_ai.agent.name"] = invocation.agent
        if address[0]:
            attributes["server.address"], attributes["server.port"] = address
        context = None if invocation is None or not self._tracing.on else invocation.context
        span = self._tracing.start(f"chat {model}".rstrip(), context or Context(), attributes, SpanKind.CLIENT)
        return ModelCall(span, self.meters, invocation, told, captures=self.captures)

    def tool_call(self, name: str, call_id: str, arguments: str, agent: str = "") -> ToolScope | _NoTool:
        """A tool is called; `agent` is the name of the agent that it is, if it is one."""
        if not self._on:
            return NO_TOOL
        invocation = _at_work.get()
        attributes: Attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.call.id": call_id,
            "gen_ai.tool.type": "function",
        }
        if invocation is not None:
            attributes["gen_ai.agent.name"] = invocation.agent
        if self.captures:
            attributes["gen_ai.tool.call.arguments"] = bounded(arguments)
        context = None if invocation is None or not self._tracing.on else invocation.context
        span = self._tracing.start(f"execute_tool {name}", context or Context(), attributes)
        return ToolScope(self, name, span, agent)

    def _starter(self, context: Context | None) -> Callable[[str, int], OpenSpan]:
        def start(agent: str, began_ns: int) -> OpenSpan:
            attributes: Attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent}
            return self._tracing.start(f"invoke_agent {agent}", context or Context(), attributes, began_ns=began_ns)

        return start


class AgentScope(AbstractContextManager[OpenSpan]):
    """The span of an attempt; while it lasts its agent is at work."""

    __slots__ = ("_agent", "_calls", "_invocation", "_namespace", "_scope", "_token")

    def __init__(self, scope: Scope, calls: Calls, agent: str, namespace: str) -> None:
        self._scope = scope
        self._calls = calls
        self._agent = agent
        self._namespace = namespace

    def __enter__(self) -> OpenSpan:
        span = self._scope.__enter__()
        self._invocation = self._calls.invocation(self._agent, self._namespace, span.context, span)
        self._token = _at_work.set(self._invocation)
        return span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _at_work.reset(self._token)
        self._invocation.end(OK if kind is None else kind.__name__)
        self._scope.__exit__(kind, error, traceback)


def _whose(invocation: Invocation | None) -> tuple[str, str]:
    return ("", "") if invocation is None else (invocation.agent, invocation.namespace)


def _text(content: str) -> dict[str, str]:
    return {"type": "text", "content": bounded(content)}
