"""The tables of the settings: each class is one `[table]` of the configuration file. Durations are seconds there, and
microseconds in the properties that end in `_us`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

KIB = 1024
MIB = 1024 * KIB
LONGEST = 30 * 24 * 3600.0
"""Seconds. No more than a workflow's own settings may have: what is set here must not make every request fail."""


def written(pattern: str, advice: str) -> AfterValidator:
    """Return a check that a text matches the whole pattern; where it does not, `advice` is all that is said."""
    form = re.compile(pattern)

    def check(text: str) -> str:
        if not form.fullmatch(text):
            raise ValueError(advice)
        return text

    return AfterValidator(check)


Seconds = Annotated[float, Field(ge=0, le=LONGEST, allow_inf_nan=False)]
Positive = Annotated[float, Field(ge=1e-6, le=LONGEST, allow_inf_nan=False)]
Micros = Annotated[int, Field(ge=0, le=10**12)]
"""Millionths of the currency unit in which the operator counts."""
Text = Annotated[str, Field(min_length=1, max_length=256 * KIB)]
Name = Annotated[str, Field(min_length=1, max_length=200), written(r"\S+", "write a name without spaces")]
AgentId = Annotated[
    str,
    written(
        r"[a-z][a-z0-9_-]{0,62}",
        "write an agent's id: a lower-case letter, then up to 62 of a to z, 0 to 9, _ and -",
    ),
]


def to_us(seconds: float) -> int:
    """Return whole microseconds."""
    return round(seconds * 1_000_000)


class Table(BaseModel):
    """A table of settings: no key that is not named here, and no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Limits(Table):
    """What one request, one workflow and the server may use. Sizes are bytes."""

    max_tasks: int = Field(default=10_000, ge=1, le=10_000)
    max_parallel_tasks: int = Field(default=64, ge=1, le=10_000)
    """Of one workflow."""
    slots: int = Field(default=64, ge=1, le=10_000)
    """Tasks that the server runs at the same time."""
    agent_slots: dict[AgentId, Annotated[int, Field(ge=1, le=10_000)]] = Field(default_factory=dict)
    """The same for single agents; an agent that is not named has no limit of its own."""
    max_query_bytes: int = Field(default=256 * KIB, ge=1, le=768 * KIB)
    max_description_bytes: int = Field(default=64 * KIB, ge=1, le=768 * KIB)
    """Of one task."""
    max_context_bytes: int = Field(default=256 * KIB, ge=2, le=768 * KIB)
    max_output_bytes: int = Field(default=MIB, ge=1, le=64 * MIB)
    """Of one task."""
    max_predecessor_bytes: int = Field(default=64 * KIB, ge=0, le=16 * MIB)
    """Of all predecessors' outputs together in one task's input."""
    max_memory_tokens: int = Field(default=4_000, ge=0, le=1_000_000)
    """Of what memory holds for a task, in its input: pinned entries and the best hits. Four characters count as one token."""
    max_labels: int = Field(default=64, ge=0, le=1_000)
    max_page_size: int = Field(default=500, ge=1, le=1_000)
    max_watches_per_caller: int = Field(default=100, ge=1, le=1_000)


class Retry(Table):
    """When a failed attempt is tried again, unless the request says otherwise: full jitter over an exponential backoff."""

    max_attempts: int = Field(default=3, ge=1, le=100)
    initial_backoff: Positive = 1.0
    max_backoff: Positive = 60.0
    multiplier: float = Field(default=2.0, ge=1, le=10, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> Retry:
        if self.max_backoff < self.initial_backoff:
            raise ValueError("max_backoff must not be shorter than initial_backoff")
        return self

    @property
    def initial_backoff_us(self) -> int:
        return to_us(self.initial_backoff)

    @property
    def max_backoff_us(self) -> int:
        return to_us(self.max_backoff)


class Planning(Table):
    """How queries are planned, unless the request says otherwise."""

    strategy: Literal["BREADTH_FIRST", "SEQUENTIAL", "MINIMAL"] = "BREADTH_FIRST"
    max_repairs: int = Field(default=2, ge=0, le=20)
    """How often a bad plan is handed back to the planner."""


class Prompts(Table):
    """Texts that take the place of the built-in ones."""

    planner: Text | None = None
    """The planner's instructions."""


class Model(Table):
    """The model that agents use unless they name their own."""

    provider: Literal["openai", "offline"] | None = None
    """None: `openai` where a key or a base URL is configured, else `offline`."""
    name: Name | None = None
    base_url: (
        Annotated[
            str,
            Field(max_length=2_000),
            written(
                r"https?://[^\s/?#@]+(/[^\s?#]*)?",
                "write the address of the model server, as in http://127.0.0.1:11434/v1; no user, password, ? or #",
            ),
        ]
        | None
    ) = None
    """Of a server that speaks OpenAI's protocol. A URL with a password in it is refused: keys come from the environment."""
    api: Literal["responses", "chat_completions"] | None = None
    """None: `chat_completions` with a `base_url`, since few servers offer more, else `responses`."""
    api_key_env: Annotated[
        str,
        written(r"[A-Za-z_][A-Za-z0-9_]*", "write the name of an environment variable, such as OPENAI_API_KEY"),
    ] = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key; the key itself is never a setting."""
    timeout: Positive = 300.0
    """Of one model call."""
    stall_timeout: Positive = 120.0
    """How long a model call may go without a word in the middle of an answer."""
    patience: Seconds = 3600.0
    """How long an outage of the model server costs tasks none of their attempts; 0: each failed call costs one."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Handed to the model as they are, such as `temperature`."""


class Price(Table):
    """What a million tokens of one model cost, in millionths of the currency unit."""

    input: Micros
    cached_input: Micros | None = None
    """None: like other input."""
    output: Micros
    """Reasoning tokens are output."""


class Approvals(Table):
    """What holds for approvals."""

    separate_approver: bool = False
    """Whoever created a workflow may not approve anything of it."""
    expire_after: Positive | None = None
    """Seconds that an approval may wait, in workflows that are created from now on; None: without an end."""

    @property
    def expire_after_us(self) -> int | None:
        return None if self.expire_after is None else to_us(self.expire_after)


class Retention(Table):
    """What the server removes by itself."""

    finished: Annotated[float, Field(gt=0, le=100 * 365 * 24 * 3600.0, allow_inf_nan=False)] | None = None
    """Seconds that a workflow is kept after it ended; None: until somebody deletes it."""

    audit: Annotated[float, Field(gt=0, le=100 * 365 * 24 * 3600.0, allow_inf_nan=False)] | None = None
    """Seconds that records of the audit log are kept; None: for ever."""

    @property
    def finished_us(self) -> int | None:
        return None if self.finished is None else to_us(self.finished)

    @property
    def audit_us(self) -> int | None:
        return None if self.audit is None else to_us(self.audit)


class AgentTable(Table):
    """An agent of the operator's own, or changes to a built-in one; of one of the registry, its description and max_turns."""

    instructions: Text | None = None
    description: Annotated[str, Field(min_length=1, max_length=2_000)] | None = None
    """What the planner is told of the agent."""
    model: Name | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    max_turns: int | None = Field(default=None, ge=1, le=1_000)
    tools: tuple[Name, ...] | None = None
    """By which the agent turns to people, to the plan and to memory, and those of the `tool_registry`."""
    mcp: tuple[Name, ...] = ()
    """Servers whose tools it may use, by the names of their tables `[mcp.NAME]`."""
    sensitive: tuple[Name, ...] = ()
    """Tools of the agent, those of MCP servers too, that need an approval once it has read what comes from outside."""


Quota = Annotated[int, Field(ge=1, le=10**15)]


class Namespace(Table):
    """What one namespace may use; None: as much as it likes. Days are those of UTC. See docs/quotas.md."""

    weight: float = Field(default=1.0, gt=0, le=1_000, allow_inf_nan=False)
    """Its share of the slots, compared with the other namespaces."""
    max_workflows: Quota | None = None
    """Workflows that have not ended."""
    max_running_tasks: Quota | None = None
    """Attempts at the same time, the planner's included."""
    max_watches: Quota | None = None
    tokens_per_day: Quota | None = None
    """Input and output together."""
    cost_per_day: Quota | None = None
    """Millionths of the currency unit, as in `[prices]`."""
    max_bytes: Quota | None = None
    """Of texts and events, as they are stored."""
