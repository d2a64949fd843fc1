"""Commands that set workflows going and follow them: run, watch, start, delete."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from orcs_server.cli.options import (
    STANDARD_INPUT,
    STANDARD_INPUT_FILE,
    AsJson,
    BudgetCost,
    BudgetTime,
    BudgetTokens,
    Labels,
    NoInput,
    ReconnectTimeout,
    Server,
    TokenFile,
    WorkflowId,
    connect,
    connect_async,
    read_budget,
    read_json_object,
    read_labels,
    read_said,
    read_time,
)
from orcs_server.cli.reading import OutputChoice, print_output

if TYPE_CHECKING:
    from orcs_client import OrcsClient, WorkflowOptions
    from orcs_client.messages import Plan, Workflow
    from orcs_server.cli.exits import ExitCode
    from orcs_server.cli.following import View
    from orcs_server.cli.progress import Progress


class StrategyChoice(StrEnum):
    """The strategies of planning."""

    BREADTH_FIRST = "breadth-first"
    SEQUENTIAL = "sequential"
    MINIMAL = "minimal"


def run(
    query: Annotated[
        str | None,
        typer.Argument(metavar="QUERY", help="What is wanted, in words; - reads it from standard input."),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A plan of your own in place of a query, as JSON; - is standard input."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Print the new id and return.")] = False,
    title: Annotated[str | None, typer.Option(help="A short title.")] = None,
    labels: Labels = None,
    output_format: Annotated[
        OutputChoice | None, typer.Option("--format", "-f", help="The form in which the output is wanted.")
    ] = None,
    strategy: Annotated[
        StrategyChoice | None, typer.Option(help="How the query is cut into tasks; else as the server is set.")
    ] = None,
    sequential: Annotated[bool, typer.Option("--sequential", help="Run one task at a time.")] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop everything at the first failed task.")] = False,
    workflow_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="An id of your own.")] = None,
    priority: Annotated[int | None, typer.Option(help="-1000 to 1000; the higher goes first.")] = None,
    context: Annotated[
        str | None,
        typer.Option(metavar="JSON|@FILE", help="A JSON object that planner and agents get to see."),
    ] = None,
    continue_from: Annotated[
        str | None,
        typer.Option("--continue", metavar="ID", help="An ended workflow whose outcome planner and agents get to see."),
    ] = None,
    deadline: Annotated[
        str | None, typer.Option(metavar="WHEN", help="When it fails if it has not ended: 30m, 2h or a time.")
    ] = None,
    not_before: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Before this no task starts: 30m, 2h or a time.")
    ] = None,
    max_parallel: Annotated[int | None, typer.Option(metavar="N", help="The most tasks that run at once.")] = None,
    max_tasks: Annotated[int | None, typer.Option(metavar="N", help="The most tasks that it may have.")] = None,
    budget_tokens: BudgetTokens = None,
    budget_cost: BudgetCost = None,
    budget_time: BudgetTime = None,
    approve_plan: Annotated[
        bool, typer.Option("--approve-plan", help="Carry the plan out only once somebody has approved it.")
    ] = False,
    no_input: NoInput = False,
    reconnect_timeout: ReconnectTimeout = None,
    no_start: Annotated[
        bool, typer.Option("--no-start", help="Only plan it, print the id and return; `orcs start` starts it.")
    ] = False,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> int:
    """Carry out a query or a plan, watch it, print its output.

    The progress goes to standard error, the output to standard output. With --json each item of the watch is a line of its own.
    On a terminal what it asks of people can be answered in place. Ctrl-C leaves the workflow running. While the server is away, the watch says so and tries again.
    """
    from orcs_client import load_plan
    from orcs_client.messages import (
        ApprovalPolicy,
        Execution,
        FailurePolicy,
        OutputFormat,
        PlanningStrategy,
        value_named,
    )

    if (query is None) == (plan is None):
        raise typer.TyperException('Give either a query, as in `orcs run "compare A and B"`, or --plan FILE.')
    options: dict[str, Any] = {
        "title": title,
        "labels": read_labels(labels),
        "output_format": output_format and value_named(OutputFormat, output_format),
        "planning_strategy": strategy and value_named(PlanningStrategy, strategy),
        "execution": value_named(Execution, "sequential") if sequential else None,
        "failure_policy": value_named(FailurePolicy, "fail_fast") if fail_fast else None,
        "workflow_id": workflow_id,
        "priority": priority,
        "context": read_json_object(context),
        "continue_from": continue_from,
        "deadline_time": read_time(deadline),
        "not_before_time": read_time(not_before),
        "max_parallel_tasks": max_parallel,
        "max_tasks": max_tasks,
        "budget": read_budget(budget_tokens, budget_cost, budget_time),
        "approval_policy": value_named(ApprovalPolicy, "plan") if approve_plan else None,
        "auto_start": False if no_start else None,
    }
    given: WorkflowOptions = {name: value for name, value in options.items() if value is not None}  # type: ignore[assignment]
    text = None if query is None else read_said(query)
    read_plan = None if plan is None else load_plan(STANDARD_INPUT_FILE if plan == STANDARD_INPUT else plan)
    if detach or no_start:
        return _create(server, token_file, text, read_plan, given, as_json=as_json, waits=no_start)
    running = _run(
        connect_async(server, token_file), text, read_plan, given, reconnect_timeout, as_json=as_json, no_input=no_input
    )
    return _interruptible(running)


def _create(
    server: str | None,
    token_file: Path | None,
    query: str | None,
    plan: Plan | None,
    options: WorkflowOptions,
    *,
    as_json: bool,
    waits: bool,
) -> int:
    from orcs_server.cli.exits import ExitCode, tell
    from orcs_server.cli.printing import print_reply

    with connect(server, token_file) as client:
        reply = client.create_workflow(query, plan=plan, **options)
    workflow_id = reply.workflow.id
    print_reply(reply, workflow_id, as_json=as_json)
    if sys.stdout.isatty():
        what = "start" if waits else "watch"
        tell(f"{what} it with:\norcs {what} {workflow_id}")
    return ExitCode.DONE


async def _run(
    client: OrcsClient,
    query: str | None,
    plan: Plan | None,
    options: WorkflowOptions,
    reconnect_timeout: float | None,
    *,
    as_json: bool,
    no_input: bool,
) -> int:
    from orcs_server.cli.exits import ExitCode, tell
    from orcs_server.cli.following import View, choose_view, may_ask, tell_ending
    from orcs_server.cli.progress import Progress

    async with client:
        try:
            workflow = (await client.create_workflow(query, plan=plan, **options)).workflow
        except asyncio.CancelledError:
            tell("interrupted before the server answered: `orcs list` tells whether the workflow was created")
            raise
        progress = Progress(workflow.id, title=workflow.title)
        view = choose_view(sys.stderr, as_json=as_json)
        ended = await _followed(
            client,
            progress,
            view,
            sys.stderr,
            resumable=False,
            reconnect_timeout=reconnect_timeout,
            asks=may_ask(no_input=no_input),
        )
        if isinstance(ended, ExitCode):
            return ended
        code = tell_ending(ended, known=view is View.PLAIN)
        if code is ExitCode.DONE and not as_json:
            if view is View.LIVE:
                sys.stderr.write("\n")
                sys.stderr.flush()
            output = await client.get_output(workflow.id)
            print_output(output.content, truncated=output.truncated)
        return code


def watch(
    workflow_id: WorkflowId,
    after: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Only what came after this place in the log.")
    ] = None,
    snapshot: Annotated[
        bool, typer.Option("--snapshot", help="With --json: begin with the workflow as it is now.")
    ] = False,
    deltas: Annotated[
        bool, typer.Option("--deltas", help="With --json: also the text that agents are writing.")
    ] = False,
    no_input: NoInput = False,
    reconnect_timeout: ReconnectTimeout = None,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> int:
    """Watch a workflow to its end.

    It is shown as a live tree on a terminal, else as a line for each event. While the server is away, the watch says so and
    tries again.
    """
    from orcs_server.cli.following import may_ask

    if (snapshot or deltas) and not as_json:
        raise typer.TyperException("--snapshot and --deltas go with --json.")
    if snapshot and after:
        raise typer.TyperException("Give --after or --snapshot, not both.")
    place = {
        "after_cursor": after or "",
        "snapshot": snapshot,
        "deltas": deltas,
        "reconnect_timeout": reconnect_timeout,
        "asks": may_ask(no_input=no_input),
    }
    return _interruptible(_watch(connect_async(server, token_file), workflow_id, place, as_json=as_json))


async def _watch(client: OrcsClient, workflow_id: str, place: dict[str, Any], *, as_json: bool) -> int:
    from orcs_server.cli.exits import ExitCode, tell
    from orcs_server.cli.following import View, choose_view, tell_ending
    from orcs_server.cli.progress import Progress

    async with client:
        progress = Progress(workflow_id, cursor=place["after_cursor"])
        view = choose_view(sys.stdout, as_json=as_json)
        ended = await _followed(
            client,
            progress,
            view,
            sys.stdout,
            resumable=view is not View.LIVE,
            **place,
        )
        if isinstance(ended, ExitCode):
            return ended
        code = tell_ending(ended)
        if code is ExitCode.DONE and sys.stdout.isatty() and not as_json:
            tell(f"its output is printed by:\norcs output {workflow_id}")
        return code


async def _followed(
    client: OrcsClient, progress: Progress, view: View, out: TextIO, *, resumable: bool, **place: Any
) -> Workflow | ExitCode:
    """Return the workflow as it ended, or the exit code where the watch was broken off from here."""
    from orcs_client import OrcsError
    from orcs_server.cli.following import follow, tell_given_up, tell_interrupted

    try:
        return await follow(client, progress, view, out, **place)
    except OrcsError as error:
        if not progress.lost:
            raise
        return tell_given_up(error, progress, resumable=resumable)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or not task.cancelling():
            raise
        task.uncancel()
        return tell_interrupted(progress, resumable=resumable)


def _interruptible(main: Coroutine[Any, Any, int]) -> int:
    """Run to the end; SIGTERM interrupts like Ctrl-C, so that a terminal gets its cursor back."""

    async def guarded() -> int:
        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await main

    return asyncio.run(guarded())


def start(
    workflow_id: WorkflowId, server: Server = None, token_file: TokenFile = None, as_json: AsJson = False
) -> None:
    """Start a workflow that was created with --no-start."""
    from orcs_server.cli.printing import print_reply

    with connect(server, token_file) as client:
        reply = client.start_workflow(workflow_id)
    print_reply(reply, f"{workflow_id} started", as_json=as_json)


def delete(
    workflow_id: WorkflowId, server: Server = None, token_file: TokenFile = None, as_json: AsJson = False
) -> None:
    """Delete a workflow that has ended, with all it produced. What it wrote to memory stays: see `orcs memory scopes`."""
    from orcs_server.cli.printing import print_reply

    with connect(server, token_file) as client:
        reply = client.delete_workflow(workflow_id)
    print_reply(reply, f"{workflow_id} deleted", as_json=as_json)
