"""What a record of the audit log says of a command beside who, what and where: modes, numbers and hashes, never a text."""

from __future__ import annotations

import hashlib
from typing import Any

from orcs_server.workflow import messages as m
from orcs_server.workflow.model import Budget
from orcs_server.workflow.people import PendingInput


def command_facts(request: m.Control) -> dict[str, Any]:
    """Return what is said of a command to a workflow."""
    facts: dict[str, Any] = {}
    match request:
        case m.PauseWorkflow() | m.CancelWorkflow():
            facts = {"mode": request.mode}
        case m.UpdateWorkflow():
            labels = None if request.labels is None else len(request.labels)
            facts = {"priority": request.priority, "labels": labels, "budget": _budget(request.budget)}
        case m.RetryTask():
            facts = {"description_sha256": request.description, "include_dependants": request.include_dependants}
        case m.SkipTask():
            facts = {"substitute_sha256": None if request.output is None else request.output.digest}
        case m.EditPlan():
            facts = {"edits": len(request.edits), "revision": request.revision}
        case m.Replan():
            facts = {"instructions_sha256": request.instructions, "revision": request.revision}
        case m.SendMessage():
            facts = {"text_sha256": request.text, "mode": request.mode}
        case m.AnswerInput():
            facts = {"input": request.input_id, "answer_sha256": request.answer, "share": request.shared}
        case m.ResolveApproval():
            facts = {
                "input": request.input_id,
                "decision": request.decision,
                "repeated_sha256": request.shown,
                "edit_sha256": request.edit,
                "budget": _budget(request.budget),
            }
        case _:
            pass
    return facts


def creation_facts(request: m.CreateWorkflow) -> dict[str, Any]:
    """Return what is said of a new workflow."""
    return {
        "query_sha256": request.spec.query,
        "tasks": None if request.tasks is None else len(request.tasks),
        "approval_policy": request.spec.approval_policy,
        "budget": _budget(request.spec.budget),
    }


def shown_facts(asked: PendingInput) -> dict[str, Any]:
    """Return what a person was shown who answers or decides: by its hash."""
    need = asked.need
    return {
        "kind": need.kind,
        "shown_sha256": need.shown,
        "prompt_sha256": _sha256(need.prompt),
        "answer_schema_sha256": need.answer_schema,
    }


def _budget(budget: Budget | None) -> dict[str, Any] | None:
    if budget is None:
        return None
    return {name: value for name in budget.__struct_fields__ if (value := getattr(budget, name)) is not None}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
