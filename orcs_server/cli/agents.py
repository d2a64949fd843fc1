"""`orcs agents`: which there are, and those of the namespace's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orcs_server.cli.options import AsJson, Server, TokenFile, connect

commands = typer.Typer(
    name="agents",
    help="List agents; show, register or deregister one.",
    rich_markup_mode=None,
    invoke_without_command=True,
)
AgentOf = Annotated[str, typer.Argument(metavar="AGENT", help="The agent's id.", show_default=False)]
Expect = Annotated[
    str | None,
    typer.Option(metavar="REVISION", help='Only if the agent is at this revision; "": only if there is none.'),
]
Check = Annotated[bool, typer.Option("--check", help="Only check; nothing is stored.")]


@commands.callback()
def agents(
    context: typer.Context, server: Server = None, token_file: TokenFile = None, as_json: AsJson = False
) -> None:
    """List the agents that can carry out tasks."""
    if context.invoked_subcommand is not None:
        return
    from orcs_client.messages import message_to_dict
    from orcs_server.cli import printing

    with connect(server, token_file) as client:
        found = list(client.list_agents())
    if as_json:
        printing.print_json({"agents": [message_to_dict(agent) for agent in found]})
        return
    rows = [
        (one.id, one.model or "default", ", ".join((*one.tools, *one.mcp_servers)) or "–", one.description)
        for one in found
    ]
    printing.print_table(("ID", "MODEL", "TOOLS", "DESCRIPTION"), rows)


@commands.command()
def show(agent_id: AgentOf, server: Server = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Show an agent; of one that is registered, what it was declared as, too."""
    from orcs_client.messages import AgentSource, message_to_dict, short_name
    from orcs_server.cli import printing
    from orcs_server.cli.wording import local_time

    with connect(server, token_file) as client:
        reply = client.get_agent(agent_id)
    if as_json:
        printing.print_json(message_to_dict(reply))
        return
    one, declared = reply.agent, reply.declaration
    registered = reply.HasField("declaration")
    printing.print_fields(
        (
            ("agent", one.id),
            ("name", one.name),
            ("description", one.description),
            ("comes from", short_name(AgentSource, one.source).lower()),
            ("revision", one.revision),
            ("registered", local_time(one.update_time.ToMicroseconds()) if registered else ""),
            ("model", one.model or "default"),
            ("tools", ", ".join(one.tools)),
            ("MCP servers", ", ".join(one.mcp_servers)),
            ("missing", ", ".join(one.missing)),
            ("most turns", str(declared.max_turns or "")),
            ("sensitive", ", ".join(declared.sensitive)),
            ("needs approval", ", ".join(declared.needs_approval)),
            ("output schema", declared.output_schema),
            ("instructions", declared.instructions),
        )
    )


@commands.command()
def register(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Its declaration, in JSON, or in TOML if it ends so.", show_default=False),
    ],
    expect: Expect = None,
    check: Check = False,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Register an agent for your namespace, or replace it. Needs the role administer."""
    from orcs_client import load_agent
    from orcs_server.cli.printing import print_reply

    declared = load_agent(file)
    with connect(server, token_file) as client:
        reply = client.register_agent(declared, expected_revision=expect, validate_only=check)
    done = "can be registered" if check else "is registered"
    print_reply(reply, f"{reply.agent.id} {done}, revision {reply.agent.revision}", as_json=as_json)


@commands.command()
def deregister(
    agent_id: AgentOf,
    expect: Expect = None,
    check: Check = False,
    server: Server = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Take an agent back: new workflows cannot name it, those that exist go on. Needs the role administer."""
    from orcs_server.cli.printing import print_reply

    with connect(server, token_file) as client:
        reply = client.deregister_agent(agent_id, expected_revision=expect, validate_only=check)
    done = "can be deregistered" if check else "is no longer registered"
    print_reply(reply, f"{agent_id} {done}; it was at revision {reply.revision}", as_json=as_json)
