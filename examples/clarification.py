"""Questions: an agent asks what it cannot know, and goes on with the answer. Everything that waits is in one inbox.

Start a server as `examples/people_agents.py` says, then run `python examples/clarification.py`. The server may be killed while
the question waits: started again, it still waits, and nothing before it is done twice.
"""

from __future__ import annotations

import asyncio
import json

from orcs_client import InvalidArgument, OrcsClient, plan
from orcs_client.messages import PendingInput, PendingInputKind

TASKS = plan(
    [
        {
            "id": "dinner",
            "title": "Plan the dinner",
            "agent_id": "host_agent",
            "description": "Plan a dinner of three courses for Friday, for four guests.",
        }
    ]
)


async def main() -> None:
    """Carry out the plan, with somebody at the inbox until it has ended."""
    async with OrcsClient() as client:
        workflow_id = (await client.create_workflow(plan=TASKS, title="Dinner on Friday")).workflow.id
        inbox = asyncio.create_task(attend(client, workflow_id))
        await client.wait(workflow_id)
        inbox.cancel()
        print((await client.get_output(workflow_id)).content.text)


async def attend(client: OrcsClient, workflow_id: str) -> None:
    """Answer what is asked, one question after the other. Without a workflow's id this would be everybody's inbox."""
    async for update in client.watch_pending_inputs(workflow_id=workflow_id):
        for asked in update.inputs:
            if asked.kind == PendingInputKind.PENDING_INPUT_KIND_QUESTION and not asked.resolution:
                await answer(client, asked)


async def answer(client: OrcsClient, asked: PendingInput) -> None:
    """Answer one question at the terminal, again until the answer is one that was asked for."""
    whole = (await client.get_pending_input(asked.workflow_id, asked.id)).input
    choices = json.loads(whole.answer_schema or "{}").get("enum", [])
    print(f"{whole.prompt} {choices or ''}")
    while True:
        said = await asyncio.to_thread(input, "> ")
        try:
            await client.answer_input(asked.workflow_id, asked.id, said)
        except InvalidArgument as error:
            print(error.violations[0].description)
        else:
            return


if __name__ == "__main__":
    asyncio.run(main())
