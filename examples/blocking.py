"""The blocking client, for programs without an event loop: carry out a plan of one's own and read the tasks' results.

Start a server with `orcs serve`, then run `python examples/blocking.py`.
"""

from __future__ import annotations

from orcs_client import BlockingOrcsClient, InvalidArgument, plan
from orcs_client.messages import OutputFormat

TASKS = plan(
    [
        {"id": "tea", "title": "Look into tea", "agent_id": "research_agent", "description": "Report on tea."},
        {"id": "coffee", "title": "Look into coffee", "agent_id": "research_agent", "description": "Report on coffee."},
        {
            "id": "verdict",
            "title": "Recommend one",
            "agent_id": "writing_agent",
            "description": "Recommend tea or coffee, in three sentences.",
            "dependencies": ["tea", "coffee"],
        },
    ]
)


def main() -> None:
    """Check the plan, carry it out, print what each task brought."""
    with BlockingOrcsClient() as client:
        preview = client.preview_plan(plan=TASKS)
        for violation in preview.violations:
            print(f"the plan is wrong: {violation.field}: {violation.description}")

        outcome = client.run(plan=TASKS, title="Tea or coffee", output_format=OutputFormat.OUTPUT_FORMAT_TEXT)
        for task in client.list_tasks(outcome.workflow.id):
            spent = task.usage.input_tokens + task.usage.output_tokens
            print(f"{task.id}: {spent} tokens, {task.output_reference.size_bytes} bytes")
        print(outcome.output.content.text)

        try:
            client.create_workflow(plan=plan([{"title": "Nothing", "agent_id": "nobody"}]))
        except InvalidArgument as error:
            print(f"refused, as it should be: {error}")


if __name__ == "__main__":
    main()
