"""Every metric that the server exports: public contract, written out in docs/telemetry.md, which a test holds to this table."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Kind = Literal["counter", "histogram", "observed counter", "observed gauge"]

SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LONG_SECONDS: Final = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0, 604_800.0)
MODEL_SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""As the GenAI conventions advise."""
TOKENS: Final = (1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864)
SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128)


class Metric(NamedTuple):
    """What is measured, and by what it is told apart."""

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    by_namespace: bool = False
    """It has the attribute `orcs.namespace` where the setting `metrics_by_namespace` asks for it."""


_MODEL = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model")

RPC_DURATION = Metric(
    "orcs.rpc.duration", "histogram", "s", "How long calls took", ("rpc.method", "orcs.outcome"), SECONDS
)
WORKFLOW_DURATION = Metric(
    "orcs.workflow.duration",
    "histogram",
    "s",
    "From the creation of workflows to their end",
    ("orcs.status",),
    LONG_SECONDS,
    by_namespace=True,
)
TASK_DURATION = Metric(
    "orcs.task.duration",
    "histogram",
    "s",
    "From the first start of tasks to their end, waiting for retries and people included",
    ("orcs.agent", "orcs.status"),
    LONG_SECONDS,
)
QUEUE_DURATION = Metric(
    "orcs.task.queue.duration",
    "histogram",
    "s",
    "From when tasks were ready to when an attempt started",
    ("orcs.agent",),
    SECONDS,
    by_namespace=True,
)
ATTEMPT_DURATION = Metric(
    "orcs.attempt.duration",
    "histogram",
    "s",
    "How long attempts of tasks and of the planner took",
    ("orcs.agent", "orcs.outcome"),
    LONG_SECONDS,
)
RETRIES = Metric(
    "orcs.retries",
    "counter",
    "{retry}",
    "Attempts that failed and are followed by another one",
    ("orcs.agent", "error.type"),
    by_namespace=True,
)
TOKENS_USED = Metric(
    "orcs.tokens",
    "counter",
    "{token}",
    "Tokens that model calls consumed",
    ("orcs.agent", "orcs.direction"),
    by_namespace=True,
)
COST = Metric(
    "orcs.cost",
    "counter",
    "{unit}",
    "Cost of model calls, in the currency of the configured prices",
    ("orcs.agent", "gen_ai.request.model"),
    by_namespace=True,
)
TOKEN_USAGE = Metric(
    "gen_ai.client.token.usage",
    "histogram",
    "{token}",
    "Tokens of one model call",
    (*_MODEL, "gen_ai.token.type"),
    TOKENS,
)
OPERATION_DURATION = Metric(
    "gen_ai.client.operation.duration",
    "histogram",
    "s",
    "How long model calls and tool calls took",
    (*_MODEL, "gen_ai.tool.name", "error.type"),
    MODEL_SECONDS,
)
COMMIT_DURATION = Metric(
    "orcs.storage.commit.duration",
    "histogram",
    "s",
    "From the begin of a transaction to its being durable",
    (),
    SECONDS,
)
BATCH_SIZE = Metric("orcs.storage.batch.size", "histogram", "{write}", "Writes that one transaction carried", (), SIZES)
LOOP_LAG = Metric(
    "orcs.event_loop.lag", "histogram", "s", "How late the event loop woke up what had asked to be woken", (), SECONDS
)

WORKFLOWS = Metric(
    "orcs.workflows", "observed gauge", "{workflow}", "Workflows in memory", ("orcs.status",), by_namespace=True
)
TASKS = Metric(
    "orcs.tasks", "observed gauge", "{task}", "Tasks of workflows in memory", ("orcs.status",), by_namespace=True
)
ATTEMPTS_RUNNING = Metric(
    "orcs.attempts.running", "observed gauge", "{attempt}", "Attempts under way, planning included"
)
SLOTS_FREE = Metric("orcs.slots.free", "observed gauge", "{slot}", "Slots for attempts that nobody holds")
WATCHERS = Metric("orcs.watchers", "observed gauge", "{watcher}", "Watches that are open")
CALLS_SERVED = Metric("orcs.rpc.served", "observed gauge", "{call}", "Calls let in and under way", ("orcs.gate",))
CALLS_WAITING = Metric("orcs.rpc.waiting", "observed gauge", "{call}", "Calls that wait to be let in", ("orcs.gate",))
CALLS_ADMITTED = Metric("orcs.rpc.admitted", "observed counter", "{call}", "Calls that were let in", ("orcs.gate",))
CALLS_REFUSED = Metric(
    "orcs.rpc.refused", "observed counter", "{call}", "Calls turned away because too many waited", ("orcs.gate",)
)
STORAGE_FAILURES = Metric(
    "orcs.storage.failures", "observed counter", "{batch}", "Transactions that did not go through"
)
ENDPOINTS_DOWN = Metric("orcs.model.endpoints.down", "observed gauge", "{endpoint}", "Model servers that count as down")
HOOK_FAILURES = Metric(
    "orcs.hooks.failures",
    "observed counter",
    "{failure}",
    "Calls of the operator's hooks that raised, hung or answered nonsense",
    ("orcs.hook", "error.type"),
)
DROPPED = Metric(
    "orcs.telemetry.dropped",
    "observed counter",
    "{item}",
    "Telemetry that was dropped: spans that could not be sent, events that the hook did not take",
    ("orcs.kind",),
)
TELEMETRY_FAILURES = Metric(
    "orcs.telemetry.failures", "observed counter", "{failure}", "Errors of telemetry itself, which went no further"
)
PROBLEMS = Metric(
    "orcs.problems",
    "observed gauge",
    "{problem}",
    "What `orcs doctor` would say of the running server",
    ("orcs.problem",),
)

RECORDED: Final = (
    RPC_DURATION,
    WORKFLOW_DURATION,
    TASK_DURATION,
    QUEUE_DURATION,
    ATTEMPT_DURATION,
    RETRIES,
    TOKENS_USED,
    COST,
    TOKEN_USAGE,
    OPERATION_DURATION,
    COMMIT_DURATION,
    BATCH_SIZE,
    LOOP_LAG,
)
OBSERVED: Final = (
    WORKFLOWS,
    TASKS,
    ATTEMPTS_RUNNING,
    SLOTS_FREE,
    WATCHERS,
    CALLS_SERVED,
    CALLS_WAITING,
    CALLS_ADMITTED,
    CALLS_REFUSED,
    STORAGE_FAILURES,
    ENDPOINTS_DOWN,
    HOOK_FAILURES,
    DROPPED,
    TELEMETRY_FAILURES,
    PROBLEMS,
)
METRICS: Final = (*RECORDED, *OBSERVED)
