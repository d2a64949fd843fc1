"""What the model calls of one run have in common, and how whatever is called within the run finds it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import cast

from msgspec.structs import replace
from openai.types.responses import ResponseOutputItem

from orcs_server.agents.breaker import Breakers
from orcs_server.agents.journal import RunJournal
from orcs_server.agents.watchdog import CallLimits
from orcs_server.hooks.leave import AgentLeave
from orcs_server.storage.journal import Spent
from orcs_server.telemetry import TELEMETRY_OFF, Calls
from orcs_server.workflow.model import NO_USAGE, Usage

_PARAGRAPH = "\n\n"

current_calls: ContextVar[RunCalls | None] = ContextVar("current_calls", default=None)
"""The calls of the run that this asyncio task works for: agents nested in tools count towards the same run."""


class RunCalls:
    """What the model calls of one run have in common: the count, the usage, the callbacks, the limits and the tool-call ids."""

    __slots__ = (
        "_ids",
        "_on_delta",
        "_on_usage",
        "_price",
        "_published",
        "breakers",
        "count",
        "journal",
        "leave",
        "limits",
        "telemetry",
        "usage",
    )

    def __init__(
        self,
        on_delta: Callable[[str], None] | None = None,
        on_usage: Callable[[int, Usage], None] | None = None,
        journal: RunJournal | None = None,
        price: Callable[[str, Usage], int] | None = None,
        breakers: Breakers | None = None,
        limits: CallLimits | None = None,
        leave: AgentLeave | None = None,
        telemetry: Calls = TELEMETRY_OFF.calls,
    ) -> None:
        self.telemetry = telemetry
        self.breakers = breakers
        self.leave = leave
        self.limits = limits or CallLimits()
        self.count = 0
        self.journal = journal
        self.usage = NO_USAGE
        self._on_delta = on_delta
        self._on_usage = on_usage
        self._price = price
        self._published: int | None = None
        self._ids: set[str] = set() if journal is None else set(journal.call_ids)

    def publish(self, text: str) -> None:
        """Hand a piece of text to whoever follows the run. The texts of two calls are parted by an empty line."""
        if self._on_delta is None or not text:
            return
        if self._published != self.count:
            if self._published is not None:
                self._on_delta(_PARAGRAPH)
            self._published = self.count
        self._on_delta(text)

    def begin(self, model: str) -> Charge:
        """Return the account of a call that begins; "" if the model's name is not known yet."""
        return Charge(self, model)

    def record(self, spent: Usage, model: str) -> Usage:
        """Count a call that ended, however it ended; return what it consumed, with its cost."""
        if self._price is not None and model:
            spent = replace(spent, cost_micros=self._price(model, spent))
        self.count += 1
        self.usage = self.usage + spent
        if self.journal is not None:
            self.journal.spent = Spent(self.count, self.usage)
        if self._on_usage is not None:
            self._on_usage(self.count, self.usage)
        return spent

    def with_unique_ids(self, output: list[ResponseOutputItem]) -> list[ResponseOutputItem]:
        """Return the output with tool-call ids that this run has not seen: some servers repeat them or leave them empty."""
        changed: list[ResponseOutputItem] | None = None
        for index, item in enumerate(output):
            if item.type == "message" or not item.type.endswith("_call") or not hasattr(item, "call_id"):
                continue
            given = cast("str", item.call_id) or ""
            unique = given
            repeat = 1
            while not unique or unique in self._ids:
                repeat += 1
                unique = f"{given or 'call'}_{repeat}"
            self._ids.add(unique)
            if unique != given:
                changed = list(output) if changed is None else changed
                changed[index] = item.model_copy(update={"call_id": unique})
        return output if changed is None else changed

    def adopt_ids(self, output: list[ResponseOutputItem]) -> None:
        """Take note of the tool-call ids of a response that the journal gave back."""
        self._ids.update(str(item.call_id) for item in output if hasattr(item, "call_id"))


class Charge:
    """The account of one call: it is counted once, with what is said of it first."""

    __slots__ = ("_calls", "_model", "_recorded", "spent")

    def __init__(self, calls: RunCalls, model: str) -> None:
        self._calls = calls
        self._model = model
        self._recorded = False
        self.spent = NO_USAGE
        """What the call consumed, once it is counted."""

    def record(self, spent: Usage, answered_by: str = "") -> None:
        """Count the call, unless it is counted. Its price is that of the model that was asked for, where that is known."""
        if not self._recorded:
            self._recorded = True
            self.spent = self._calls.record(spent, self._model or answered_by)
