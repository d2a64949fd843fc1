"""What ought to be under way now. Engines compare this list with what is in flight: start what is missing, cancel what is no
longer listed.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Stop(StrEnum):
    """Whether a running attempt is to go on, to stop before its next model call, or to be cut off."""

    NONE = "NONE"
    AT_TURN = "AT_TURN"
    NOW = "NOW"


class MakePlan(Struct, frozen=True):
    """Have the planner make (or, after a rejection, repair) the plan, or make it anew."""

    attempt: int
    stop: Stop = Stop.NONE
    mail: int = 0
    """Messages that the planner is to have read before its answer counts."""


class RunAttempt(Struct, frozen=True):
    """Have the agent carry out this attempt. Before its start is stored it also needs a slot."""

    task_id: str
    attempt: int
    run: int
    agent_id: str
    stop: Stop = Stop.NONE
    mail: int = 0
    """Messages that the agent is to have read before its output counts."""


class AllocateResources(Struct, frozen=True):
    """Ask the resources hook for what the workflow needs. At least once, so the hook is idempotent."""


class ReleaseResources(Struct, frozen=True):
    """Give back what the resources hook gave. At least once."""


class WakeAt(Struct, frozen=True):
    """Send a `Tick` at this time (microseconds UTC)."""

    time_us: int


Effect = MakePlan | RunAttempt | AllocateResources | ReleaseResources | WakeAt
