"""Approvals: a tool that may not be called, and a task that may not start, until a person says so. You are that person.

Start a server as `examples/people_agents.py` says, then run `python examples/approval.py`. Instead of answering here you can use
another terminal: `orcs inbox`, `orcs approve ID i1`, `orcs reject ID i2`.
"""

from __future__ import annotations

import json

from orcs_client import BlockingOrcsClient, Content, Event, plan
from orcs_client.messages import Decision, PendingInput, PendingInputKind

TASKS = plan(
    [
        {
            "id": "refund",
            "title": "Settle the complaint",
            "agent_id": "clerk_agent",
            "description": "Order A-17 (80 euros) came two weeks late. Pay back what seems fair.",
        },
        {
            "id": "letter",
            "title": "Write to the customer",
            "agent_id": "writing_agent",
            "description": "Write three friendly sentences to the customer about what was settled.",
            "dependencies": ["refund"],
            "needs_approval": True,
        },
    ]
)


def main() -> None:
    """Carry out the plan; decide whatever is asked on the way."""
    with BlockingOrcsClient() as client:
        workflow_id = client.create_workflow(plan=TASKS, title="A complaint").workflow.id
        for item in client.watch(workflow_id):
            if isinstance(item, Event) and item.message.WhichOneof("body") == "input_requested":
                decide(client, workflow_id, item.message.input_requested.input.id)
        print(client.get_output(workflow_id).content.text)


def decide(client: BlockingOrcsClient, workflow_id: str, input_id: str) -> None:
    """Show what is to be approved, and ask at the terminal. A decision repeats the hash of exactly what was shown."""
    asked = client.get_pending_input(workflow_id, input_id).input
    if asked.resolution:
        return  # Somebody has decided in another terminal.
    print(f"{asked.prompt}\n{asked.subject.json}")
    for task in asked.subject_tasks:  # What the subject names by hashes alone.
        print(f"{task.title}:\n{task.description}")
    if asked.subject_incomplete:
        print("It is too long to be shown here: read its tasks with `orcs show`, then use `orcs approve`.")
        return
    decision, reason, content = Decision.DECISION_APPROVE, "", None
    match input("yes, no, or change? "):
        case "no":
            decision, reason = Decision.DECISION_REJECT, input("Why not? ")
        case "change":
            decision, content = Decision.DECISION_EDIT, read_change(asked)
    client.resolve_approval(
        workflow_id, input_id, decision, subject_sha256=asked.subject_sha256, reason=reason, content=content
    )


def read_change(asked: PendingInput) -> Content:
    """Return what is approved in place of what was shown: arguments of the tool, or another description of the task."""
    if asked.kind == PendingInputKind.PENDING_INPUT_KIND_TASK_APPROVAL:
        return input("The task's new description: ")
    arguments = dict(json.loads(asked.subject.json)["arguments"])
    return {**arguments, "amount": float(input("The new amount: "))}


if __name__ == "__main__":
    main()
