"""A plan that changes while it runs: tasks come in, are changed and skipped, and the rest is planned anew.

Start a server with `orcs serve`, then run `python examples/live_edit.py`. What has begun stays as it is. Every change is a new
revision of the plan, all of it or nothing.
"""

from __future__ import annotations

from orcs_client import BlockingOrcsClient, Event, add_task, change_task
from orcs_client.messages import TaskState

QUERY = "Compare tea and coffee for an office, then recommend one"


def main() -> None:
    """Have a query planned, and change the plan again and again."""
    with BlockingOrcsClient() as client:
        workflow_id = client.create_workflow(QUERY, auto_start=False).workflow.id
        wait_for_plan(client, workflow_id)
        planned = [task.id for task in client.list_tasks(workflow_id)]

        # Two tasks more. Both wait for somebody's approval, so that this program has time to think again.
        cocoa = add_task(
            id="cocoa",
            title="And cocoa",
            agent_id="research_agent",
            description="Report on cocoa.",
            needs_approval=True,
        )
        poster = add_task(
            id="poster",
            title="A poster",
            agent_id="writing_agent",
            description="Write a poster for the kitchen.",
            dependencies=[*planned, "cocoa"],
            needs_approval=True,
        )
        client.edit_plan(workflow_id, [cocoa, poster])
        client.start_workflow(workflow_id)

        # From here on it runs. With the revision that one has seen, an edit is refused if somebody else was quicker.
        seen = client.get_workflow(workflow_id).workflow.plan_revision
        wording = change_task("poster", description="Write a poster for the kitchen, in five words.")
        client.edit_plan(workflow_id, [wording], plan_revision=seen)

        # What depends on a skipped task goes on without it, or with a text of one's own in its place.
        client.skip_task(workflow_id, "cocoa", reason="Nobody drinks it.", substitute="Nobody here drinks cocoa.")

        # The planner plans anew what has not begun: here the poster. It knows what has, and may build on it.
        client.replan(workflow_id, "A short note in place of the poster. Nobody needs to approve it.")
        client.wait(workflow_id)

        for revision in client.list_plan_revisions(workflow_id):
            print(
                f"revision {revision.revision}: {revision.added_count} tasks added, {revision.changed_count} changed, "
                f"{revision.removed_count} removed"
            )
        for task in client.list_tasks(workflow_id):
            print(f"{task.id} {task.title}: {TaskState.Name(task.state).removeprefix('TASK_STATE_').lower()}")
        print(client.get_output(workflow_id).content.text)


def wait_for_plan(client: BlockingOrcsClient, workflow_id: str) -> None:
    """Return once there is a plan."""
    for item in client.watch(workflow_id):
        if isinstance(item, Event) and item.message.WhichOneof("body") in ("plan_adopted", "workflow_failed"):
            return


if __name__ == "__main__":
    main()
