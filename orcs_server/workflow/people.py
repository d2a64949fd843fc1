"""What a workflow and people say to each other: questions and approvals that wait for somebody, and messages to what runs.

A `PendingInput` is one entity behind questions, approvals, budgets that are used up, and calls that may not be repeated without
leave. Its id is unique in its workflow and never used again; once resolved it stays, so that a late answer can be told from a
repeated one.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from orcs_server.workflow.model import Budget, Digest

PROMPT_LIMIT = 2048
"""Bytes of a prompt."""
REASON_LIMIT = 1024
"""Bytes of a reason that somebody gives for a decision."""
INPUTS_LIMIT = 10_000
"""Inputs that one workflow may ask for in all."""
MAIL_LIMIT = 1_000
"""Messages that one workflow takes in all."""


class InputKind(StrEnum):
    """What a person is asked for."""

    QUESTION = "QUESTION"
    PLAN_APPROVAL = "PLAN_APPROVAL"
    TASK_APPROVAL = "TASK_APPROVAL"
    TOOL_APPROVAL = "TOOL_APPROVAL"
    BUDGET = "BUDGET"
    UNSAFE_RERUN = "UNSAFE_RERUN"


class Resolution(StrEnum):
    """How a pending input came to its end."""

    ANSWERED = "ANSWERED"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    EDITED = "EDITED"
    DEFAULTED = "DEFAULTED"
    EXPIRED = "EXPIRED"
    WITHDRAWN = "WITHDRAWN"


class Decision(StrEnum):
    """What somebody decides about an approval."""

    APPROVE = "APPROVE"
    REJECT = "REJECT"
    EDIT = "EDIT"


RESOLUTION_OF = {
    Decision.APPROVE: Resolution.APPROVED,
    Decision.REJECT: Resolution.REJECTED,
    Decision.EDIT: Resolution.EDITED,
}


class IfUnanswered(StrEnum):
    """What the deadline of a question without a default does: the agent goes on and is told so, or its task fails."""

    GO_ON = "GO_ON"
    FAIL = "FAIL"


class Need(Struct, frozen=True, omit_defaults=True):
    """What is asked for, as whoever asks says it."""

    kind: InputKind
    prompt: str
    """The question, or what is to be approved, in short."""
    place: str = ""
    """Where in a run it is asked: path and call id. Asked again at the same place it is the same input."""
    shown: Digest | None = None
    """SHA-256 of exactly what is shown for approval; a decision repeats it. Of a tool's arguments and results it names a blob."""
    answer_schema: Digest | None = None
    """A JSON Schema that the answer fits; None: any text."""
    default: Digest | None = None
    """The answer that is taken at the deadline."""
    expires_after_us: int | None = None
    """Counted from when it is asked; None: it waits without end."""
    if_unanswered: IfUnanswered = IfUnanswered.GO_ON


class PendingInput(Struct, frozen=True, omit_defaults=True):
    """Something that waits, or waited, for a person."""

    id: str
    """`i1`, `i2`, … within the workflow."""
    ordinal: int
    need: Need
    created_us: int
    task_id: str = ""
    """The task that waits; empty: the planner, or the workflow as a whole."""
    attempt: int = 0
    """The attempt that asked; 0 if none did."""
    run: int = 0
    """The conversation in which it was asked; 0 if in none."""
    deadline_us: int | None = None
    resolution: Resolution | None = None
    """None while it waits."""
    answer: Digest | None = None
    """The answer, or what an approval was edited to."""
    reason: str = ""
    principal: str = ""
    """Who resolved it; empty: nobody did."""
    resolved_us: int | None = None
    shared: bool = False
    """The answer is for the whole workflow: later tasks and the planner see it, too."""
    budget: Budget | None = None
    """What a budget was edited to."""

    @property
    def open(self) -> bool:
        return self.resolution is None


class MessageMode(StrEnum):
    """How a message reaches what runs: at the agent's next turn, in place of the model call under way, or through a new plan."""

    QUEUE = "QUEUE"
    INTERRUPT = "INTERRUPT"
    REPLAN = "REPLAN"


class PersonMessage(Struct, frozen=True, omit_defaults=True):
    """A message to a task's agent or, without a task, to every agent of the workflow."""

    id: str
    """`m1`, `m2`, … within the workflow."""
    ordinal: int
    mode: MessageMode
    text: Digest
    time_us: int
    task_id: str = ""
    principal: str = ""
