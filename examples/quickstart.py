"""The asynchronous client: give a query to a running server, watch it being carried out, print what came of it.

Start a server with `orcs serve`, then run `python examples/quickstart.py "compare tea and coffee"`. The client finds the server by
ORCS_SERVER (default 127.0.0.1:50750) and your own server's token by itself.
"""

from __future__ import annotations

import asyncio
import sys

from orcs_client import Event, OrcsClient, WorkflowNotCompleted


async def main(query: str) -> None:
    """Run a query, and read the finished workflow's log once more."""
    async with OrcsClient() as client:
        try:
            outcome = await client.run(query, on_item=show, labels={"from": "quickstart"})
        except WorkflowNotCompleted as error:
            raise SystemExit(str(error)) from None
        print(outcome.output.content.text)

        # A watch yields every event once and in order, however often the connection breaks. It can be left at any event and
        # taken up again after that event's cursor, here after the first one.
        events = [item async for item in client.watch(outcome.workflow.id) if isinstance(item, Event)]
        rest = [item async for item in client.watch(outcome.workflow.id, after_cursor=events[0].cursor)]
        print(f"{len(events)} events in all, {len(rest)} of them after the first")


def show(item: object) -> None:
    """Print a line for each task that starts or ends."""
    if isinstance(item, Event):
        match item.message.WhichOneof("body"):
            case "attempt_started":
                print(f"… {item.message.attempt_started.task_id} is under way")
            case "task_completed":
                print(f"✔ {item.message.task_completed.task_id} is done")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "Compare tea and coffee, then recommend one"))
