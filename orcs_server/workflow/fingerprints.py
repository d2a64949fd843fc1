"""What tells whether something is still what it was: a task's output by what it rested on, an approved plan by what it does."""

from __future__ import annotations

import hashlib

import msgspec

from orcs_server.workflow.model import NO_BUDGET, Digest, TaskSpec
from orcs_server.workflow.state import WorkflowState

_encode = msgspec.json.Encoder(order="deterministic").encode


def fingerprint(state: WorkflowState, spec: TaskSpec) -> str:
    """Return a hash of all that a task's output rests on: agent and revision, description, the outputs that it depends on."""
    rests_on = [
        spec.agent_id,
        next((revision for name, revision in state.spec.agents if name == spec.agent_id), ""),
        spec.description,
        spec.output_schema or "",
    ]
    for name in spec.dependencies:
        progress = state.tasks[name].progress
        output = progress.output
        rests_on += [name, progress.status if output is None else output.digest]
        if output is not None and output.untrusted:
            rests_on.append("untrusted")
    return hashlib.sha256("\0".join(rests_on).encode()).hexdigest()


def plan_shown(state: WorkflowState) -> bytes:
    """Return the plan as it is shown for approval, as JSON: what is done by whom, after what, with which limits."""
    return _encode([_material(spec) for spec in plan_specs(state)])


def plan_specs(state: WorkflowState) -> list[TaskSpec]:
    """Return the tasks in the order in which the plan shows them."""
    return [task.spec for task in state.tasks_in_order()]


def task_shown(state: WorkflowState, spec: TaskSpec) -> bytes:
    """Return a task as it is shown for approval, as JSON, with the outputs on which it rests."""
    return _encode({**_material(spec), "rests_on": fingerprint(state, spec)})


def shown_digest(shown: bytes) -> Digest:
    """Return the hash that a decision about what was shown repeats."""
    return Digest(hashlib.sha256(shown).hexdigest())


def _material(spec: TaskSpec) -> dict[str, object]:
    """What makes a task another one. Its title, priority and limits of time do not."""
    # Models read the schema of their output, too.
    schema = {} if spec.output_schema is None else {"output_schema_sha256": spec.output_schema}
    return {
        "id": spec.id,
        "agent_id": spec.agent_id,
        "description_sha256": spec.description,
        **schema,
        "dependencies": spec.dependencies,
        "optional": spec.optional,
        "needs_approval": spec.needs_approval,
        "budget": None if spec.budget == NO_BUDGET else spec.budget,
    }
