"""Commands that read: list, show, output, graph, info, health."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from orcs_server.cli.options import (
    AsJson,
    Labels,
    Server,
    TokenFile,
    WorkflowId,
    connect,
    first,
    page_of,
    read_choices,
    read_labels,
)

if TYPE_CHECKING:
    from orcs_client.messages import OutputFormat, Part, Task, Workflow

HEALTH_TIMEOUT = 5.0
"""Seconds within which a healthy server says so."""


class OutputChoice(StrEnum):
    """The forms of an output."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"
    HTML = "html"


class GraphChoice(StrEnum):
    """The forms of a graph."""

    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"
    JSON = "json"


def list_workflows(
    states: Annotated[
        list[str] | None, typer.Option("--state", metavar="STATE", help="Only in this state; may be repeated.")
    ] = None,
    labels: Labels = None,
    limit: Annotated[int, typer.Option(min=0, help="The most workflows that are shown; 0: all.")] = 20,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """List workflows, the newest first."""
    from orcs_client.messages import WorkflowState, message_to_dict, short_name
    from orcs_server.cli import printing
    from orcs_server.cli.progress import tokens_of
    from orcs_server.cli.wording import duration_words, state_words

    wanted = read_choices("--state", WorkflowState, states)
    with connect(server, token_file) as client:
        found = client.list_workflows(states=wanted, labels=read_labels(labels), page_size=page_of(limit))
        workflows = first(found, limit)
    if as_json:
        printing.print_json({"workflows": [message_to_dict(workflow) for workflow in workflows]})
        return
    now_us = time.time_ns() // 1000
    rows = []
    for workflow in workflows:
        counts = workflow.task_counts
        ended = counts.completed + counts.failed + counts.cancelled + counts.skipped
        rows.append(
            (
                workflow.id,
                state_words(short_name(WorkflowState, workflow.state)),
                f"{ended:,}/{counts.total:,}",
                f"{tokens_of(workflow.usage):,}",
                duration_words(now_us - workflow.create_time.ToMicroseconds()),
                workflow.title,
            )
        )
    printing.print_table(("ID", "STATE", "TASKS", "TOKENS", "AGE", "TITLE"), rows, spare=("TOKENS", "AGE", "TASKS"))


def show(
    workflow_id: WorkflowId,
    task_id: Annotated[
        str | None, typer.Argument(metavar="TASK", help="One of its tasks, with its text and output.")
    ] = None,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a workflow and its tasks, or one task."""
    from orcs_client.messages import message_to_dict
    from orcs_server.cli import printing

    with connect(server, token_file) as client:
        if task_id is not None:
            task = client.get_task(workflow_id, task_id, full=True)
            if as_json:
                printing.print_json(message_to_dict(task))
            else:
                _print_task(task.task)
            return
        reply = client.get_workflow(workflow_id)
        tasks = list(client.list_tasks(workflow_id))
    if as_json:
        fields = message_to_dict(reply)
        fields["tasks"] = [message_to_dict(one) for one in tasks]
        printing.print_json(fields)
        return
    _print_workflow(reply.workflow)
    if tasks:
        _print_tasks(tasks)


def _print_workflow(workflow: Workflow) -> None:
    from orcs_client.messages import WorkflowState, short_name
    from orcs_server.cli import printing
    from orcs_server.cli.progress import tokens_of
    from orcs_server.cli.wording import budget_words, count_words, local_time, state_words

    def moment(name: Literal["create_time", "start_time", "end_time", "deadline_time"]) -> str:
        return local_time(getattr(workflow, name).ToMicroseconds()) if workflow.HasField(name) else ""

    printing.print_fields(
        (
            ("workflow", workflow.id),
            ("title", workflow.title),
            ("state", state_words(short_name(WorkflowState, workflow.state))),
            ("failure", workflow.failure.message),
            ("problems", "; ".join(workflow.planning.problems)),
            ("waits", f"for people: orcs inbox {workflow.id}" if workflow.pending_input_count else ""),
            ("paused", _holds(workflow)),
            ("budget", budget_words(workflow.budget) if workflow.HasField("budget") else ""),
            ("labels", ", ".join(f"{key}={value}" for key, value in sorted(workflow.labels.items()))),
            ("tokens", f"{tokens_of(workflow.usage):,} in {count_words(workflow.usage.requests, 'call')}"),
            ("created", f"{moment('create_time')} by {workflow.creator or 'the server'}"),
            ("started", moment("start_time")),
            ("ended", moment("end_time")),
            ("deadline", moment("deadline_time")),
        )
    )


def _holds(workflow: Workflow) -> str:
    """Return who holds a workflow."""
    holds = (("by a person", workflow.paused), ("its namespace is frozen", workflow.frozen))
    return ", ".join(words for words, held in holds if held)


def _print_tasks(tasks: list[Task]) -> None:
    from orcs_server.cli import printing
    from orcs_server.cli.progress import Progress
    from orcs_server.cli.wording import duration_words, ids_words, state_words

    progress = Progress("")
    progress.learn(tasks)
    now_us = time.time_ns() // 1000
    rows = [
        (
            task.id,
            state_words(task.state),
            task.agent_id,
            duration_words(task.took_us(now_us)),
            f"{task.tokens:,}" if task.tokens else "",
            ids_words(task.dependencies),
            f"{task.title}{f': {task.failure}' if task.failure else ''}",
        )
        for task in progress.tasks.values()
    ]
    print()
    printing.print_table(
        ("TASK", "STATE", "AGENT", "TIME", "TOKENS", "AFTER", "TITLE"), rows, spare=("TOKENS", "AFTER", "TIME", "AGENT")
    )


def _print_task(task: Task) -> None:
    from orcs_client.messages import TaskState, short_name
    from orcs_server.cli import printing
    from orcs_server.cli.progress import tokens_of
    from orcs_server.cli.wording import count_words, state_words

    printing.print_fields(
        (
            ("task", task.id),
            ("title", task.title),
            ("state", state_words(short_name(TaskState, task.state))),
            ("failure", task.failure.message),
            ("agent", task.agent_id),
            ("after", ", ".join(task.dependencies)),
            ("attempts", str(task.attempt)),
            ("tokens", f"{tokens_of(task.usage):,} in {count_words(task.usage.requests, 'call')}"),
        )
    )
    for name in ("description", "output"):
        if task.HasField(name):
            print(f"\n{name}:\n")
            printing.print_part(getattr(task, name))


def output(
    workflow_id: WorkflowId,
    output_format: Annotated[
        OutputChoice | None, typer.Option("--format", "-f", help="The form; else the one it was created with.")
    ] = None,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Print what a workflow has produced, so far or in the end."""
    from orcs_client.messages import message_to_dict
    from orcs_server.cli import printing

    with connect(server, token_file) as client:
        reply = client.get_output(workflow_id, output_format=_output_format(output_format))
    if as_json:
        printing.print_json(message_to_dict(reply))
    else:
        print_output(reply.content, truncated=reply.truncated)


def print_output(content: Part, *, truncated: bool) -> None:
    """Print an output, and say on standard error if something is missing from it."""
    from orcs_server.cli import printing
    from orcs_server.cli.exits import tell

    printing.print_part(content)
    if truncated:
        tell("parts were left out because the output is too long: read them with `orcs show ID TASK`")


def _output_format(choice: OutputChoice | None) -> OutputFormat.ValueType:
    from orcs_client.messages import OutputFormat, value_named

    return OutputFormat.Value("OUTPUT_FORMAT_UNSPECIFIED") if choice is None else value_named(OutputFormat, choice)


def graph(
    workflow_id: WorkflowId,
    graph_format: Annotated[GraphChoice, typer.Option("--format", "-f", help="The form.")] = GraphChoice.MERMAID,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Draw a workflow's tasks and what they depend on."""
    from orcs_client.messages import GraphFormat, message_to_dict, value_named
    from orcs_server.cli import printing

    with connect(server, token_file) as client:
        reply = client.render_graph(workflow_id, graph_format=value_named(GraphFormat, graph_format))
    if as_json:
        printing.print_json(message_to_dict(reply))
    else:
        printing.print_part(reply.content)


def info(server: Server = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Show what the server is, and who you are to it."""
    from orcs_client.messages import message_to_dict
    from orcs_server.cli import printing
    from orcs_server.cli.wording import local_time

    with connect(server, token_file) as client:
        reply = client.get_server_info()
        address = client.address
    if as_json:
        printing.print_json(message_to_dict(reply))
        return
    model = reply.model
    provider = f"{model.provider} at {model.base_url}" if model.base_url else model.provider
    printing.print_fields(
        (
            ("server", f"{address}, version {reply.version}, API {reply.api_version}"),
            ("running since", local_time(reply.start_time.ToMicroseconds())),
            (
                "model",
                f"{model.default_model} ({provider})" if not model.offline else "offline: it only demonstrates",
            ),
            ("you are", f"{reply.caller.principal} in namespace {reply.caller.namespace}"),
            ("your roles", ", ".join(reply.caller.roles)),
            ("most tasks", f"{reply.limits.max_tasks:,} in a workflow"),
            ("features", ", ".join(reply.features)),
        )
    )


def health(server: Server = None) -> int:
    """Ask whether the server receives work; no token is needed.

    Exits with 0 if it does, 1 if it does not, 3 if it cannot be reached.
    """
    from orcs_client import BlockingOrcsClient
    from orcs_server.cli.exits import ExitCode

    with BlockingOrcsClient(server, token="", timeout=HEALTH_TIMEOUT) as client:
        serving = client.receives_work()
        print(f"{client.address} {'receives' if serving else 'does not receive'} work")
        return ExitCode.DONE if serving else ExitCode.NOT_COMPLETED
