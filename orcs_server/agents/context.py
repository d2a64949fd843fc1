"""The typed run context: what tools and instructions get to know about the task they work for, by way of the Agents SDK's
`RunContextWrapper[RunContext]`. No Agents SDK here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class RunMemory(Protocol):
    """The part of the memory system that agents see; access is checked behind it."""

    async def store(self, key: str, value: object, scope: str = ...) -> object:
        """Store a value under a key within a scope."""

    async def retrieve(self, key: str, scope: str = ...) -> object | None:
        """Return the value of a key within a scope, or None."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """Who runs, for what, and what a tool needs to act once only."""

    namespace: str = ""
    workflow_id: str = ""
    task_id: str = ""
    attempt: int = 1
    run: int = 1
    """The agent conversation that attempts continue: attempts of one run share its tool-call ids."""
    depth: int = 0
    """How many tasks stand above this one that proposed one another."""
    principal: str = ""
    """Who the workflow acts for."""
    external_context: Mapping[str, Any] = field(default_factory=dict)
    """What the client and the context hook gave at creation."""
    memory: RunMemory | None = None

    @property
    def run_id(self) -> str:
        """A readable name of this run, unique within the workflow."""
        return f"{self.task_id}:{self.run}"

    def idempotency_key(self, tool_call_id: str) -> str:
        """Return 64 hexadecimal digits that stay the same for this tool call in every attempt of this run.

        Hand them to the outside system that the tool changes, so that a repeated attempt does not act twice.
        """
        parts = (self.namespace, self.workflow_id, self.task_id, str(self.run), tool_call_id)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
