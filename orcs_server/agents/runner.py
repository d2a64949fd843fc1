"""One agent run, from a request that knows no SDK to a result that knows no SDK."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field, fields, replace
from typing import Any

from agents import (
    Agent,
    FunctionTool,
    Model,
    ModelBehaviorError,
    ModelProvider,
    ModelRetrySettings,
    ModelSettings,
    RunConfig,
    RunHooks,
    Runner,
    TResponseInputItem,
)
from agents.models import get_default_model_settings
from pydantic import BaseModel
from pydantic_core import to_json, to_jsonable_python

from orcs_server.agents.breaker import BreakerRules, Breakers
from orcs_server.agents.context import RunContext
from orcs_server.agents.definition import AgentDefinition
from orcs_server.agents.failures import run_failure
from orcs_server.agents.journal import JournalStopped, RunJournal
from orcs_server.agents.mcp.servers import McpServers
from orcs_server.agents.model import ObservedModel, ObservedModels, RunModel, observe
from orcs_server.agents.providers import model_settings
from orcs_server.agents.run_calls import RunCalls, current_calls
from orcs_server.agents.structured import RawJson, raw_json_for, read_by_schema, read_typed, schema_problems
from orcs_server.agents.toolbox import Toolbox, ToolTrouble
from orcs_server.agents.tracing import silence_vendor_tracing
from orcs_server.agents.watchdog import CallLimits
from orcs_server.config.models import ModelChoice
from orcs_server.hooks.leave import AgentLeave
from orcs_server.storage.store import Blob
from orcs_server.telemetry import TELEMETRY_OFF, Calls
from orcs_server.workflow.model import NO_USAGE, Failure, FailureKind, Usage
from orcs_server.workflow.people import Need

_log = logging.getLogger("orcs.journal")

MARKDOWN = "text/markdown"
JSON = "application/json"
PROTOTYPES_KEPT = 1_000
"""Agents that stay ready for copying. Old workflows may hold old revisions."""

silence_vendor_tracing()


@dataclass(frozen=True, slots=True)
class AgentRun:
    """What to run. At most one of `output_type` and `output_schema` is given; with neither the output is text."""

    definition: AgentDefinition
    input: str
    context: RunContext = field(default_factory=RunContext)
    output_type: type[BaseModel] | None = None
    output_schema: Mapping[str, Any] | None = None
    """A JSON schema that the output must meet."""
    model: str | None = None
    """Overrides the definition's model."""
    on_delta: Callable[[str], None] | None = None
    """Gets the text as it comes. The texts of two turns are parted by an empty line; only the last turn's is the result."""
    on_usage: Callable[[int, Usage], None] | None = None
    """Called after every model call, failed ones included, with the calls and the usage of this run so far."""
    price: Callable[[str, Usage], int] | None = None
    """Says what a call of a model cost, in millionths of the currency unit; None: nothing costs."""
    hooks: RunHooks[Any] | None = None
    """Such as `ORCSRunHooks`."""
    journal: RunJournal | None = None
    """What earlier attempts called, and where this one notes its calls; without it nothing is kept."""
    leave: AgentLeave | None = None
    """Is asked before each tool is called; without it all may be."""


@dataclass(frozen=True, slots=True)
class AgentResult:
    """What came of a run: text (and, if asked for, the parsed output), or a failure; the usage in either case."""

    text: str = ""
    """JSON if `media_type` says so."""
    output: Any = None
    """The parsed output: an instance of `output_type`, or the JSON value that meets `output_schema`; else None."""
    media_type: str = MARKDOWN
    usage: Usage = NO_USAGE
    calls: int = 0
    """Model calls made, failed ones included."""
    failure: Failure | None = None
    problems: tuple[str, ...] = ()
    """With the failure INVALID_OUTPUT: what is wrong with the output, for a repair."""
    halted: bool = False
    """The run stopped in good order: the next attempt goes on from there."""
    needs: tuple[Need, ...] = ()
    """What people have to give before that."""
    blobs: tuple[Blob, ...] = ()
    """The texts that the needs refer to."""


class OpaqueSettings(ModelSettings):
    """Model settings that the SDK names instead of walking through.

    Twice a run the SDK writes out every field of an agent to tell agents of equal names apart, and for what is callable it
    writes the name alone. The walk is an eighth of a run's time, and a run of ours has one root agent.
    """

    @classmethod
    def of(cls, settings: ModelSettings) -> OpaqueSettings:
        """Return the same settings."""
        return cls(**{one.name: getattr(settings, one.name) for one in fields(settings)})

    def __call__(self) -> None:
        """Raise TypeError: being callable is all that is wanted."""
        raise TypeError("model settings are not to be called")


class AgentRunner:
    """Runs agents with the models of one provider. One per server, for any number of concurrent runs on one event loop."""

    def __init__(
        self,
        models: ModelProvider,
        *,
        settings: Mapping[str, Any] | None = None,
        call_timeout_us: int | None = None,
        stall_timeout_us: int | None = None,
        breakers: Breakers | None = None,
        toolbox: Toolbox | None = None,
        mcp: McpServers | None = None,
        telemetry: Calls = TELEMETRY_OFF.calls,
    ) -> None:
        """Use these models. `settings` hold for agents that do not set the same themselves; None is no limit of time.

        `stall_timeout_us` is how long a model may fall silent in the middle of an answer. With `breakers` a server that is down
        is left alone.

        Raises StartupError for settings that there are not.
        """
        self._models = models
        self._shared = dict(settings or {})
        self._limits = CallLimits(_seconds(call_timeout_us), _seconds(stall_timeout_us))
        self.breakers = breakers
        """What is known of the model servers; None where nobody keeps watch."""
        self._toolbox = toolbox or Toolbox()
        self._mcp = mcp or McpServers({}, {})
        self._telemetry = telemetry
        model_settings(self._shared, "model.settings")
        self._config = RunConfig(
            model_provider=ObservedModels(models),
            # Over whatever an agent says: neither the SDK nor the HTTP client of any model tries again, ORCS does.
            model_settings=ModelSettings(retry=ModelRetrySettings(max_retries=0)),
            tracing_disabled=True,
            trace_include_sensitive_data=False,
            tool_not_found_behavior="return_error_to_model",
        )
        self._prototypes: dict[str, Agent[Any]] = {}
        """By digest. Each run gets a copy: the SDK slows down with every run that shares an agent, and making one takes long."""

    @classmethod
    def configured(
        cls,
        models: ModelProvider,
        choice: ModelChoice,
        now_us: Callable[[], int],
        toolbox: Toolbox | None = None,
        mcp: McpServers | None = None,
        telemetry: Calls = TELEMETRY_OFF.calls,
    ) -> AgentRunner:
        """Return what runs agents with these models as the settings say. Raises StartupError."""
        return cls(
            models,
            settings=choice.settings,
            call_timeout_us=choice.timeout_us,
            stall_timeout_us=choice.stall_timeout_us,
            breakers=Breakers(BreakerRules(patience_us=choice.patience_us), now_us) if choice.patience_us else None,
            toolbox=toolbox,
            mcp=mcp,
            telemetry=telemetry,
        )

    async def run(self, request: AgentRun) -> AgentResult:
        """Run an agent to its end. Trouble with models, tools and outputs comes back as `failure`; cancellation propagates."""
        journal = request.journal
        calls = RunCalls(
            request.on_delta,
            request.on_usage,
            journal,
            request.price,
            breakers=self.breakers,
            limits=self._limits,
            leave=request.leave,
            telemetry=self._telemetry,
        )
        schema, problems = _output_schema(request)
        if problems:
            return _invalid(calls, "The task's output schema cannot be used", problems, FailureKind.MODEL_REQUEST, "")
        if journal is not None:
            journal.holds_answers = not _looks_at_answer(request.definition.template)
        token = current_calls.set(calls)
        try:
            final = await self._final(request, await self._agent(request, schema, calls))
        except asyncio.CancelledError:
            await _keep_answer(journal)
            raise
        except ToolTrouble as error:
            outcome = AgentResult(usage=calls.usage, calls=calls.count, failure=error.failure)
        except Exception as error:  # noqa: BLE001 - tools, hooks and dynamic instructions are anyone's code
            outcome = AgentResult(usage=calls.usage, calls=calls.count, failure=_run_failure(error, journal))
        else:
            halted = journal is not None and journal.halted
            outcome = AgentResult(usage=calls.usage, calls=calls.count) if halted else _result(request, final, calls)
        finally:
            current_calls.reset(token)
        return outcome if journal is None else await _journaled(outcome, journal)

    async def _final(self, request: AgentRun, agent: Agent[Any]) -> object:
        """Return the answer that ends the run: one that does not know of a message that has come by then does not."""
        given: str | list[TResponseInputItem] = request.input
        while True:
            result = await Runner.run(
                agent,
                given,
                context=request.context,
                max_turns=request.definition.max_turns,
                run_config=self._config,
                hooks=request.hooks,
            )
            if result.interruptions:
                # Approvals are asked for by way of the journal; the SDK asks where it cannot read a call's arguments.
                raise ModelBehaviorError("The arguments of a call that needs approval are no JSON object.")
            journal = request.journal
            if journal is None or journal.halted or journal.failure is not None or not journal.notes.unread:
                return result.final_output
            agent, given = result.last_agent, result.to_input_list()

    async def _agent(self, request: AgentRun, schema: RawJson | None, calls: RunCalls) -> Agent[Any]:
        """Return an agent for this run alone."""
        definition = request.definition
        prototype = self._prototypes.get(definition.digest)
        if prototype is None:
            if len(self._prototypes) >= PROTOTYPES_KEPT:
                self._prototypes.clear()
            prototype = self._prototypes[definition.digest] = self._prototype(definition)
        agent = copy(prototype)
        agent.tools = [*prototype.tools, *await self._mcp_tools(request)]
        wanted = request.model or definition.model or prototype.model
        if isinstance(wanted, ObservedModel):
            wanted = wanted.inner
        inner = wanted if isinstance(wanted, Model) else self._models.get_model(wanted)
        agent.model = RunModel(inner, calls)
        if schema is not None:
            agent.output_type = schema
        return agent

    async def _mcp_tools(self, request: AgentRun) -> list[FunctionTool]:
        """Return the tools of the agent's MCP servers, which stay what they are for the whole attempt. Raises ToolTrouble."""
        if not request.definition.mcp:
            return []
        return await self._mcp.tools(request.context.namespace, request.definition.mcp)

    def _prototype(self, definition: AgentDefinition) -> Agent[Any]:
        template = definition.template
        shared = model_settings(self._shared, "model.settings")
        if template is None:
            settings = shared.resolve(model_settings(definition.settings, f"agents.{definition.id}.settings"))
            return Agent(
                name=definition.id,
                instructions=definition.instructions,
                model_settings=OpaqueSettings.of(settings),
                tools=self._toolbox.named(definition.tools),
            )
        if not isinstance(template, Agent):
            raise TypeError(
                f"agent {definition.id}: the template must be an agents.Agent, not {type(template).__name__}"
            )
        observe([template])
        # What the SDK adds for its own default model, where none is named, would be wrong for any other.
        unset = template.model is None and template.model_settings == get_default_model_settings()
        settings = shared if unset else shared.resolve(template.model_settings)
        return replace(template, model_settings=OpaqueSettings.of(settings))


def _looks_at_answer(template: object) -> bool:
    """Whether code of the agent, or of one that it may hand over to, gets the final answer before it is stored.

    That code may take its time, and may fail so that the attempt is tried again. Our own run hooks do neither.
    """
    if not isinstance(template, Agent):
        return False
    return bool(template.output_guardrails or template.hooks or template.handoffs)


def _seconds(us: int | None) -> float | None:
    return None if us is None else us / 1_000_000


def _run_failure(error: Exception, journal: RunJournal | None) -> Failure | None:
    """Return why the run failed; the journal knows better, where it stopped the run. None: it has not failed, it has halted."""
    if journal is None or (journal.failure is None and not journal.halted):
        return run_failure(error)
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, JournalStopped):
        cause = cause.__cause__
    return journal.failure or (run_failure(error) if cause is None else None)


async def _keep_answer(journal: RunJournal | None) -> None:
    """Have a final answer stored whose attempt is cut off between it and its end."""
    if journal is not None:
        try:
            await journal.keep_answer()
        except JournalStopped as error:
            _log.warning("a final answer could not be kept: %s", error)


async def _journaled(outcome: AgentResult, journal: RunJournal) -> AgentResult:
    """Return the outcome with what the journal makes of it."""
    if journal.failure is None and outcome.failure is not None and outcome.failure.kind is FailureKind.INVALID_OUTPUT:
        try:
            await journal.drop_offender()
        except JournalStopped as error:
            _log.warning("the response that cannot be used stays in its journal: %s", error)
    if journal.failure is not None:
        return replace(outcome, failure=journal.failure, problems=())
    if journal.halted and outcome.failure is None:
        return AgentResult(
            usage=outcome.usage,
            calls=outcome.calls,
            halted=True,
            needs=journal.needs.asked,
            blobs=journal.needs.blobs,
        )
    return outcome


def _output_schema(request: AgentRun) -> tuple[RawJson | None, tuple[str, ...]]:
    if request.output_type is not None:
        return raw_json_for(request.output_type), ()
    if request.output_schema is not None:
        problems = schema_problems(request.output_schema)
        return (None, problems) if problems else (RawJson("result", dict(request.output_schema), strict=False), ())
    return None, ()


def _result(request: AgentRun, final: object, calls: RunCalls) -> AgentResult:
    output: Any = None
    problems: tuple[str, ...] = ()
    text = final if isinstance(final, str) else _plain_json(final)
    if request.output_type is not None:
        output, problems = read_typed(text, request.output_type)
    elif request.output_schema is not None:
        output, problems = read_by_schema(text, request.output_schema)
    elif isinstance(final, str):
        if not text.strip() and not (request.definition.tools or request.definition.mcp):
            return _invalid(calls, "The model's answer is empty", (), FailureKind.INVALID_OUTPUT, text)
        return AgentResult(text, usage=calls.usage, calls=calls.count)
    else:
        output = to_jsonable_python(final, fallback=repr)
    if problems:
        return _invalid(
            calls, "The model's answer does not meet its schema", problems, FailureKind.INVALID_OUTPUT, text
        )
    return AgentResult(_plain_json(output), output, JSON, calls.usage, calls.count)


def _plain_json(value: object) -> str:
    if isinstance(value, BaseModel):
        return value.model_dump_json(exclude_none=True)
    return to_json(value, fallback=repr).decode()


def _invalid(calls: RunCalls, what: str, problems: tuple[str, ...], kind: FailureKind, text: str) -> AgentResult:
    retryable = kind is FailureKind.INVALID_OUTPUT
    advice = "Try again, or use a model that is better at this." if retryable else "Correct it."
    listed = f": {'; '.join(problems[:3])}" if problems else ""
    return AgentResult(
        text=text,
        usage=calls.usage,
        calls=calls.count,
        failure=Failure(kind, f"{what}{listed}. {advice}", retryable=retryable),
        problems=problems,
    )
