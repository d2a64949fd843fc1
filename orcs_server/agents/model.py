"""The wrapper around every model that a run asks: it streams, publishes deltas, counts usage (of failed calls too), keeps
tool-call ids unique, and turns whatever goes wrong into a `ModelCallError`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, nullcontext, suppress
from typing import Any

from agents import (
    Agent,
    AgentOutputSchemaBase,
    Handoff,
    Model,
    ModelProvider,
    ModelResponse,
    ModelSettings,
    ModelTracing,
    Tool,
)
from agents import Usage as SdkUsage
from agents.items import TResponseInputItem, TResponseStreamEvent
from openai.types.responses import Response, ResponseCompletedEvent, ResponseOutputItem, ResponseUsage
from openai.types.responses.response_prompt_param import ResponsePromptParam

from orcs_server.agents.asking import Asking
from orcs_server.agents.failures import ModelCallError, ending_failure, truncated
from orcs_server.agents.journaled_tools import journal_tools
from orcs_server.agents.observed_calls import begin_model_call, note_answer, observe_handoffs, spent_of
from orcs_server.agents.paths import ROOT
from orcs_server.agents.providers import endpoint_of
from orcs_server.agents.run_calls import RunCalls, current_calls
from orcs_server.agents.steering import Steering
from orcs_server.agents.watchdog import GivenUpError
from orcs_server.telemetry import OK
from orcs_server.workflow.model import Usage

_REQUEST_ONLY = Usage(requests=1)
_FAILED_ENDINGS = frozenset({"response.failed", "response.incomplete", "error", "response.error"})
_UNFINISHED = frozenset({"incomplete", "failed", "cancelled"})
"""Some servers end with `response.completed` and tell only in the status that it is not."""


class RunModel(Model):
    """A model as one run sees it. The seam for whatever must lie between an agent and its model, per call."""

    def __init__(self, inner: Model, calls: RunCalls, *, publishes: bool = True) -> None:
        self._inner = inner
        self._calls = calls
        self._publishes = publishes
        endpoint = None if calls.breakers is None else endpoint_of(inner)
        self._breaker = None if calls.breakers is None or endpoint is None else calls.breakers.of(endpoint)

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002 - the SDK's name
        model_settings: ModelSettings,
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff[Any, Any]],
        tracing: ModelTracing,
        *,
        previous_response_id: str | None,
        conversation_id: str | None,
        prompt: ResponsePromptParam | None,
    ) -> ModelResponse:
        """Ask the model by streaming and return its whole response. Raises ModelCallError."""
        response: Response | None = None
        events = self.stream_response(
            system_instructions,
            input,
            model_settings,
            tools,
            output_schema,
            handoffs,
            tracing,
            previous_response_id=previous_response_id,
            conversation_id=conversation_id,
            prompt=prompt,
        )
        async for event in events:
            if event.type == "response.completed":
                response = event.response
        if response is None:
            raise ModelCallError(truncated())
        return ModelResponse(
            output=response.output,
            usage=_sdk_usage(response.usage),
            response_id=response.id,
            request_id=getattr(response, "_request_id", None),
        )

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002 - the SDK's name
        model_settings: ModelSettings,
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff[Any, Any]],
        tracing: ModelTracing,
        *,
        previous_response_id: str | None,
        conversation_id: str | None,
        prompt: ResponsePromptParam | None,
    ) -> AsyncIterator[TResponseStreamEvent]:
        """Stream the model's events, the last one once the journal has the response; or only that one, if the journal had it.

        A call that a message interrupts is made again, with the message. A stream without a proper end, or beyond its time limit,
        raises ModelCallError, like any other trouble; JournalStopped where the run must not go on.
        """
        journal = self._calls.journal
        rest = (model_settings, tools, output_schema, handoffs, tracing)
        observe_handoffs(handoffs)
        more = {"previous_response_id": previous_response_id, "conversation_id": conversation_id, "prompt": prompt}
        if journal is None:
            async for event in self._ask(None, system_instructions, input, *rest, **more):
                yield event
            return
        journal_tools(tools)
        turn = await journal.begin(input)
        response = await journal.replayed(turn, {tool.name for tool in tools})
        if response is not None:
            self._calls.adopt_ids(response.output)
            yield ResponseCompletedEvent(type="response.completed", sequence_number=0, response=response)
            return
        answered = False
        while not answered:
            turn = await journal.live(turn)
            steering = journal.steering if turn.path == ROOT else None
            asked = self._ask(steering, system_instructions, turn.shown, *rest, **more)
            with suppress(GivenUpError):
                async with aclosing(asked):
                    async for event in asked:
                        if event.type == "response.completed":
                            await journal.keep(turn, event.response)
                        yield event
                answered = True

    async def _ask(
        self, steering: Steering | None, *question: Any, **more: Any
    ) -> AsyncGenerator[TResponseStreamEvent, None]:
        """Ask the model itself; `question` is what `stream_response` takes. Raises GivenUpError when it is interrupted, too."""
        name = _name_of(self._inner)
        charge = self._calls.begin(name)
        asking = Asking(self._calls, self._breaker)
        call = begin_model_call(self._calls, self._inner, name, question[0], question[1])
        outcome = "cancelled"
        spent = _REQUEST_ONLY
        completed = False
        items: list[ResponseOutputItem] = []
        stream = self._inner.stream_response(*question, **more)
        try:
            events = aiter(stream)
            with nullcontext() if steering is None else steering.interrupts(asking.give_up):
                while (event := await asking.next(events)) is not None:
                    self._take(event, items)
                    if event.type == "response.completed":
                        completed = True
                        asking.answered()
                        # Before it is handed on: whoever stores this response stores its usage with it.
                        charge.record(_usage(event.response.usage), event.response.model)
                        outcome = OK
                        note_answer(call, event.response)
                    yield event
            if not completed:
                raise ModelCallError(truncated())
        except GivenUpError:
            if not completed:
                outcome = "interrupted"
                raise
        except Exception as error:
            known = error.spent if isinstance(error, ModelCallError) else None
            spent = known or spent
            failure = asking.failure_of(error)
            outcome = failure.kind.value
            raise ModelCallError(failure, known) from error
        finally:
            asking.close()
            charge.record(spent)
            call.end(spent_of(charge.spent), outcome)
            await _close(stream)

    def _take(self, event: TResponseStreamEvent, items: list[ResponseOutputItem]) -> None:
        """Do what an event calls for. Raises ModelCallError for a bad end."""
        if event.type == "response.output_text.delta":
            if self._publishes:
                self._calls.publish(event.delta)
        elif event.type == "response.output_item.done":
            items.append(event.item)
        elif event.type == "response.completed":
            self._complete(event.response, items)
        elif event.type in _FAILED_ENDINGS:
            raise _ending_error(event.type, getattr(event, "response", None) or event)

    def _complete(self, response: Response, items: list[ResponseOutputItem]) -> None:
        """Give a finished response the output that counts. Raises ModelCallError for one that is not finished."""
        _require_finished(response)
        # Some servers leave the final list empty: the items that were streamed are the output then.
        output = self._calls.with_unique_ids(response.output or items)
        if output is not response.output:
            response.output = output

    async def close(self) -> None:
        await self._inner.close()


class ObservedModel(Model):
    """A model that a nested agent was given as an object: within a run its calls count towards the run."""

    def __init__(self, inner: Model) -> None:
        self.inner = inner

    def _seen(self) -> Model:
        calls = current_calls.get()
        return self.inner if calls is None else RunModel(self.inner, calls, publishes=False)

    async def get_response(self, *question: Any, **rest: Any) -> ModelResponse:
        return await self._seen().get_response(*question, **rest)

    def stream_response(self, *question: Any, **rest: Any) -> AsyncIterator[TResponseStreamEvent]:
        return self._seen().stream_response(*question, **rest)

    async def close(self) -> None:
        await self.inner.close()


def observe(agents: Sequence[object]) -> None:
    """Put the models that agents were given as objects, and those of all agents that they can reach, within sight of runs."""
    seen: set[int] = set()
    waiting = list(agents)
    while waiting:
        agent = waiting.pop()
        if not isinstance(agent, Agent) or id(agent) in seen:
            continue
        seen.add(id(agent))
        if isinstance(agent.model, Model) and not isinstance(agent.model, ObservedModel):
            agent.model = ObservedModel(agent.model)
        waiting += [getattr(tool, "_agent_instance", None) for tool in agent.tools]
        waiting += [_target(handoff) for handoff in agent.handoffs]


def _target(handoff: object) -> object:
    reference = getattr(handoff, "_agent_ref", None)
    return handoff if reference is None else reference()


class ObservedModels(ModelProvider):
    """Resolves model names for agents nested in a run (tools, handoffs), so that their calls count towards the run too. Their
    text is not published: it is not the run's answer.
    """

    def __init__(self, models: ModelProvider) -> None:
        self._models = models

    def get_model(self, model_name: str | None) -> Model:
        inner = self._models.get_model(model_name)
        calls = current_calls.get()
        return inner if calls is None else RunModel(inner, calls, publishes=False)


def _name_of(model: Model) -> str:
    """Return the name under which a model is asked for; "" for one that does not tell."""
    name = getattr(model, "model", "")
    return name if isinstance(name, str) else ""


async def _close(stream: AsyncIterator[TResponseStreamEvent]) -> None:
    aclose = getattr(stream, "aclose", None)
    if aclose is not None:
        await aclose()


def _require_finished(response: Response) -> None:
    if response.status in _UNFINISHED:
        raise _ending_error(f"response.{response.status}", response)


def _ending_error(kind: str, ended: object) -> ModelCallError:
    """Return the error for a response, or an error event, with which a stream ended badly."""
    error = getattr(ended, "error", None) or ended
    details = getattr(ended, "incomplete_details", None)
    failure = ending_failure(
        kind,
        getattr(error, "code", None),
        getattr(error, "message", None),
        getattr(details, "reason", None),
    )
    return ModelCallError(failure, _usage(getattr(ended, "usage", None)))


def _usage(usage: ResponseUsage | None) -> Usage:
    """Return what a response says that it consumed. Servers leave out details, and some send null for numbers."""
    if usage is None:
        return _REQUEST_ONLY
    return Usage(
        requests=1,
        input_tokens=_count(usage.input_tokens),
        cached_input_tokens=_count(getattr(usage.input_tokens_details, "cached_tokens", 0)),
        output_tokens=_count(usage.output_tokens),
        reasoning_tokens=_count(getattr(usage.output_tokens_details, "reasoning_tokens", 0)),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _sdk_usage(usage: ResponseUsage | None) -> SdkUsage:
    if usage is None:
        return SdkUsage(requests=1)
    return SdkUsage(
        requests=1,
        input_tokens=usage.input_tokens or 0,
        output_tokens=usage.output_tokens or 0,
        total_tokens=usage.total_tokens or 0,
        input_tokens_details=usage.input_tokens_details,
        output_tokens_details=usage.output_tokens_details,
    )
