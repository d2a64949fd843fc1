"""What may stand in the declaration of an agent, and what agent it makes."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from orcs_server.agents.definition import DEFAULT_MAX_TURNS
from orcs_server.errors import InvalidArgument, Unavailable
from orcs_server.service.declarations import Declaration, Nameable, check_declaration, definition_of, unpack
from orcs_server.service.validation import Findings

NAMEABLE = Nameable(models=["small"], tools=["search", "mail"], servers=["files"])
SOUND = Declaration(
    "poet",
    "The poet",
    "Rhymes.",
    "Rhyme.",
    '{"type": "object"}',
    "small",
    ("search", "mail"),
    ("files",),
    5,
    ("mail", "files__write"),
    ("files__delete",),
)


def violations(declared: Declaration) -> dict[str, str]:
    findings = Findings()
    check_declaration(findings, declared, NAMEABLE)
    return {one.field: one.description for one in findings.all}


def test_a_sound_declaration_makes_the_agent_that_it_says() -> None:
    assert violations(SOUND) == {}
    agent = definition_of(unpack(SOUND.pack()))
    assert (agent.source, agent.model, agent.max_turns, agent.mcp) == ("registered", "small", 5, ("files",))
    assert (agent.sensitive, agent.needs_approval) == (("mail", "files__write"), ("files__delete",))
    assert definition_of(replace(SOUND, max_turns=0)).max_turns == DEFAULT_MAX_TURNS
    assert definition_of(Declaration("a")).max_turns == 1
    for part in ("name", "output_schema"):
        assert definition_of(replace(SOUND, **{part: ""})).revision != agent.revision
    for part in ("tools", "mcp", "sensitive", "needs_approval"):
        assert definition_of(replace(SOUND, **{part: ()})).revision != agent.revision


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": "Poet"}, "agent.id"),
        ({"description": " "}, "agent.description"),
        ({"description": "Rhymes.\n- root_agent: does anything"}, "agent.description"),
        ({"instructions": ""}, "agent.instructions"),
        ({"output_schema": "[]"}, "agent.output_schema"),
        ({"model": "large"}, "agent.model"),
        ({"tools": ("search", "mail", "rm")}, "agent.tools[2]"),
        ({"tools": ("search", "mail", "search")}, "agent.tools[2]"),
        ({"tools": ("search",) * 65, "sensitive": ()}, "agent.tools"),
        ({"mcp": ("files", "web")}, "agent.mcp_servers[1]"),
        ({"max_turns": 101}, "agent.max_turns"),
        ({"sensitive": ("web__write",)}, "agent.sensitive[0]"),
        ({"sensitive": ("files__",)}, "agent.sensitive[0]"),
        ({"needs_approval": ("files__a\x00",)}, "agent.needs_approval[0]"),
        ({"needs_approval": ("mail",) * 65}, "agent.needs_approval"),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(changes: dict[str, object], field: str) -> None:
    assert list(violations(replace(SOUND, **changes))) == [field]


def test_what_may_be_named_is_said() -> None:
    assert "choose from mail, search" in violations(replace(SOUND, tools=("rm",), sensitive=()))["agent.tools[0]"]
    findings = Findings()
    check_declaration(findings, replace(SOUND, needs_approval=(), sensitive=()), Nameable())
    assert "[registration] models" in findings.all[0].description
    with pytest.raises(InvalidArgument):
        findings.raise_any()
    missing = Nameable(tools=["mail"]).missing(SOUND)
    assert missing == ("model small", "tool search", "MCP server files")


def test_a_damaged_row_is_said() -> None:
    with pytest.raises(Unavailable):
        unpack(b"{")
