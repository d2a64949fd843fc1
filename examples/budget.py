"""Budgets: a workflow that has used up its tokens stops and asks. Given more, it goes on, and nothing finished is done again.

Start a server with `orcs serve`, then run `python examples/budget.py`.
"""

from __future__ import annotations

from orcs_client import BlockingOrcsClient, Event, budget, plan
from orcs_client.messages import Decision

TASKS = plan(
    [
        {"id": "tea", "title": "Look into tea", "agent_id": "research_agent", "description": "Report on tea."},
        {
            "id": "verdict",
            "title": "Say whether it is worth it",
            "agent_id": "writing_agent",
            "description": "Is tea worth its price? Three sentences.",
            "dependencies": ["tea"],
        },
    ]
)
FEW, PLENTY = 10, 1_000_000


def main() -> None:
    """Begin with too few tokens, and raise the limit once that is noticed."""
    with BlockingOrcsClient() as client:
        workflow_id = client.create_workflow(plan=TASKS, budget=budget(tokens=FEW)).workflow.id
        for item in client.watch(workflow_id):
            if isinstance(item, Event):
                match item.message.WhichOneof("body"):
                    case "attempt_started":
                        print(f"… {item.message.attempt_started.task_id} is under way")
                    case "input_requested":
                        raise_budget(client, workflow_id, item.message.input_requested.input.id)
        usage = client.get_workflow(workflow_id).workflow.usage
        print(f"{usage.input_tokens + usage.output_tokens} tokens were used in all")


def raise_budget(client: BlockingOrcsClient, workflow_id: str, input_id: str) -> None:
    """Set a larger limit; DECISION_APPROVE would give as much again. `update_workflow(budget=…)` does it at any time, too."""
    asked = client.get_pending_input(workflow_id, input_id).input
    print(asked.prompt)
    larger = budget(tokens=PLENTY)
    client.resolve_approval(
        workflow_id, input_id, Decision.DECISION_EDIT, subject_sha256=asked.subject_sha256, budget=larger
    )


if __name__ == "__main__":
    main()
