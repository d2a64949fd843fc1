"""The client's calls about agents against the real server, and the files that agents are declared in."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orcs_client import AlreadyExists, BlockingOrcsClient, Conflict, InvalidArgument, NotFound, OrcsClient, load_agent
from orcs_client.agent_calls import parse_agent
from orcs_client.messages import AgentDeclaration

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server_process import ServerProcess

POET = AgentDeclaration(id="client_poet", description="Rhymes.", instructions="Rhyme.")


async def test_an_agent_is_registered_and_taken_back(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server()
    async with OrcsClient(server.address, token=server.token) as client:
        tried = await client.register_agent(POET, validate_only=True)
        made = (await client.register_agent(POET, expected_revision="", request_id="client-poet")).agent
        assert made.revision == tried.agent.revision
        again = await client.register_agent(POET, expected_revision="", request_id="client-poet")
        assert again.agent == made
        assert (await client.get_agent("client_poet")).declaration == POET
        assert "client_poet" in [one.id async for one in client.list_agents(page_size=2)]
        with pytest.raises(Conflict):
            await client.register_agent(POET, expected_revision="")
        with pytest.raises(AlreadyExists):
            await client.register_agent(AgentDeclaration(id="data_agent", description="d", instructions="i"))
        assert (await client.deregister_agent("client_poet", expected_revision=made.revision)).revision == made.revision
        with pytest.raises(NotFound):
            await client.deregister_agent("client_poet", validate_only=True)
    await asyncio.to_thread(_blocking_has_the_same, server)


def _blocking_has_the_same(server: ServerProcess) -> None:
    with BlockingOrcsClient(server.address, token=server.token) as client:
        poet = AgentDeclaration(id="blocking_poet", description="Rhymes.", instructions="Rhyme.")
        revision = client.register_agent(poet).agent.revision
        assert client.deregister_agent("blocking_poet").revision == revision


def test_an_agent_is_declared_in_json_or_toml(tmp_path: Path) -> None:
    file = tmp_path / "poet.toml"
    file.write_text('id = "a"\nmax_turns = 3\n[output_schema]\ntype = "object"\n')
    assert load_agent(file) == AgentDeclaration(id="a", max_turns=3, output_schema='{"type": "object"}')
    assert parse_agent('{"id": "a", "mcpServers": ["files"]}') == AgentDeclaration(id="a", mcp_servers=["files"])
    assert parse_agent('{"declaration": {"id": "a"}, "agent": {"id": "b"}}').id == "a"
    for text in ("", "{", "[]", '{"id": 3}', '{"url": "http://x"}', '{"tools": "a"}'):
        with pytest.raises(InvalidArgument):
            parse_agent(text)
    with pytest.raises(InvalidArgument, match="cannot be read"):
        load_agent(tmp_path / "none.json")
