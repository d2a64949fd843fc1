"""Tools by name: the built-in ones, and those of the operator's registry."""

from __future__ import annotations

import pytest

from orcs_server.agents.toolbox import BUILTIN_TOOLS, Known, Toolbox, ToolTrouble
from orcs_server.errors import StartupError

REGISTRY = "tests.agents.example_registry"


def test_the_tools_of_a_registry_stand_beside_the_built_in_ones() -> None:
    toolbox = Toolbox.load(f"{REGISTRY}:TOOLS")
    assert toolbox.names == {*BUILTIN_TOOLS, "look_up"}
    assert [tool.name for tool in toolbox.named(["look_up", "ask_user"])] == ["look_up", "ask_user"]
    with pytest.raises(ToolTrouble, match="'rm' is gone"):
        toolbox.named(["look_up", "rm"])
    assert Toolbox.load(None).names == frozenset(BUILTIN_TOOLS)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("UNDER_ANOTHER_NAME", "has the tool 'look_up' under 'search'"),
        ("AGENTS_FOR_TOOLS", "has a Agent under 'city_agent': decorate"),
        ("TAKEN_TOOL", "must not have a tool 'ask_user'"),
        ("LIKE_A_SERVERS", "must not have a tool 'a__b'"),
        ("NO_MAPPING", "make it a mapping"),
        ("missing", "the tool registry's name"),
    ],
)
def test_a_registry_that_cannot_be_used_says_what_to_do(name: str, advice: str) -> None:
    with pytest.raises(StartupError, match=advice):
        Toolbox.load(f"{REGISTRY}:{name}")


def test_unknown_names_are_said_with_those_that_there_are() -> None:
    known = Known(frozenset({"a", "b"}), frozenset())
    known.check(["a"], [], "[x]")
    with pytest.raises(StartupError, match=r"\[x\] names the tool 'c': there is a, b; add it by the tool_registry"):
        known.check(["a", "c"], [], "[x]")
    with pytest.raises(StartupError, match="names the MCP server 's': there is none"):
        known.check([], ["s"], "[x]")
