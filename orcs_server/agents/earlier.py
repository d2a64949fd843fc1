"""What a workflow that continues an earlier one is told of it. It is copied when the new one is created, so that deleting the earlier
one takes nothing away. No Agents SDK here.
"""

from __future__ import annotations

from msgspec import Struct


class Earlier(Struct, frozen=True):
    """An earlier workflow, and what came of it."""

    workflow_id: str
    title: str
    status: str
    query: str
    """Empty where a client brought the plan."""
    result: str
    """Its document, or why there is none."""

    @property
    def text(self) -> str:
        """All of it, as an agent reads it beside the results of earlier tasks."""
        asked = f"What was asked: {self.query}\n\n" if self.query else ""
        return f"{asked}What came of it ({self.status}):\n\n{self.result}"
