from __future__ import annotations

from typing import Any

import pytest
from agents import Agent, FunctionToolResult, RunContextWrapper, ToolsToFinalOutputResult

from orcs_server.agents.catalog import AgentCatalog, definition_of
from orcs_server.config.tables import AgentTable
from orcs_server.errors import NotFound, StartupError

REGISTRY = "tests.agents.example_registry"


def test_every_server_has_the_four_agents_and_the_planner() -> None:
    catalog = AgentCatalog.build()
    assert [one.id for one in catalog.list()] == [
        "research_agent",
        "writing_agent",
        "coding_agent",
        "data_agent",
        "planner",
    ]
    assert all(one.instructions and one.description and one.source == "builtin" for one in catalog.list())


def test_tasks_cannot_be_given_to_the_planner() -> None:
    catalog = AgentCatalog.build()
    assert "planner" not in dict(catalog.revisions())
    assert "planner" not in [one.id for one in catalog.assignable()]


def test_an_unknown_agent_is_not_found_and_the_known_ones_are_named() -> None:
    with pytest.raises(NotFound, match=r"writing_agent") as caught:
        AgentCatalog.build().get("poet")
    assert caught.value.reason == "AGENT_NOT_FOUND"


def test_the_configuration_changes_built_in_agents_and_adds_others() -> None:
    tables = {
        "research_agent": AgentTable(model="big-model", settings={"temperature": 0.1}),
        "poet": AgentTable(instructions="Rhyme.", description="Writes verse.", max_turns=2),
    }
    catalog = AgentCatalog.build(tables)
    research, poet = catalog.get("research_agent"), catalog.get("poet")
    assert (research.model, research.settings, research.source) == ("big-model", {"temperature": 0.1}, "config")
    assert research.instructions == AgentCatalog.build().get("research_agent").instructions
    assert (poet.instructions, poet.description, poet.max_turns) == ("Rhyme.", "Writes verse.", 2)


def test_a_revision_changes_with_the_content_and_only_with_it() -> None:
    def revision(**changes: object) -> str:
        return (
            AgentCatalog.build({"poet": AgentTable.model_validate({"instructions": "A", **changes})})
            .get("poet")
            .revision
        )

    assert revision() == revision()
    changed = [
        revision(instructions="B"),
        revision(model="m"),
        revision(settings={"top_p": 0.5}),
        revision(max_turns=3),
        revision(description="Verse."),
    ]
    assert len({revision(), *changed}) == 6


def test_the_planners_prompt_can_be_replaced() -> None:
    assert AgentCatalog.build(planner_instructions="Plan!").get("planner").instructions == "Plan!"


@pytest.mark.parametrize(
    ("table", "advice"),
    [
        ({"description": "No instructions."}, "needs instructions"),
        ({"instructions": "A", "settings": {"temprature": 1}}, "Unknown model settings: temprature"),
        ({"instructions": "A", "settings": {"temperature": "hot"}}, "temperature"),
        ({"instructions": "A", "settings": {"retry": {"max_retries": 3}}}, "ORCS retries itself"),
    ],
)
def test_a_wrong_table_says_which_and_what_to_do(table: dict[str, object], advice: str) -> None:
    with pytest.raises(StartupError, match=advice) as caught:
        AgentCatalog.build({"poet": AgentTable.model_validate(table)})
    assert "agents.poet" in str(caught.value)


@pytest.mark.parametrize("name", ["registry", "AS_MAPPING"])
def test_a_registry_is_a_mapping_or_a_function_that_returns_one(name: str) -> None:
    city = AgentCatalog.build(registry=f"{REGISTRY}:{name}").get("city_agent")
    assert city.source == "registry"
    assert city.description == "Knows cities."
    assert city.tools == ("look_up",)
    assert city.model == "city-model"
    assert city.settings == {"max_tokens": 99}


@pytest.mark.parametrize(
    ("reference", "advice"),
    [
        ("nothing.of.this.name:registry", "PYTHONPATH"),
        (f"{REGISTRY}:missing", "nothing called 'missing'"),
        (REGISTRY, "package.module:registry"),
        (f"{REGISTRY}:WRONG_ID", "lower-case"),
        (f"{REGISTRY}:WITH_PLANNER", r"\[agents.planner\]"),
        (f"{REGISTRY}:NO_AGENT", "put an agents.Agent there"),
        (f"{REGISTRY}:NO_MAPPING", "make it a mapping"),
        (f"{REGISTRY}:raising", "no licence"),
        (f"{REGISTRY}:asynchronous", "ordinary function"),
    ],
)
def test_a_registry_that_cannot_be_used_says_what_to_do(reference: str, advice: str) -> None:
    with pytest.raises(StartupError, match=advice):
        AgentCatalog.build(registry=reference)


def test_the_revision_of_an_agent_with_code_is_the_same_after_a_restart() -> None:
    def made() -> Agent[Any]:
        def stop(_: RunContextWrapper[Any], __: list[FunctionToolResult]) -> ToolsToFinalOutputResult:
            return ToolsToFinalOutputResult(is_final_output=False)

        return Agent(name="coded", instructions="Code.", tool_use_behavior=stop)

    first, second = made(), made()
    assert first.tool_use_behavior is not second.tool_use_behavior
    assert definition_of("coded", first).revision == definition_of("coded", second).revision


def test_a_table_gives_an_agent_of_the_registry_more_turns() -> None:
    city = AgentCatalog.build({"city_agent": AgentTable(max_turns=100)}, f"{REGISTRY}:registry").get("city_agent")
    assert (city.max_turns, city.source) == (100, "registry")
    assert city.template is not None


def test_a_table_names_the_sensitive_tools_of_any_agent_and_its_revision_tells() -> None:
    table = AgentTable(sensitive=("send_mail",))
    catalog = AgentCatalog.build({"city_agent": table, "writing_agent": table}, f"{REGISTRY}:registry")
    plain = AgentCatalog.build({}, f"{REGISTRY}:registry")
    for name in ("city_agent", "writing_agent"):
        assert catalog.get(name).sensitive == ("send_mail",)
        assert catalog.get(name).revision != plain.get(name).revision


def test_a_table_cannot_change_what_an_agent_of_the_registry_is() -> None:
    with pytest.raises(StartupError, match=r"comes from the registry.*max_turns and sensitive only"):
        AgentCatalog.build({"city_agent": AgentTable(instructions="Rhyme.")}, f"{REGISTRY}:registry")


def test_an_agent_of_the_configuration_gets_the_tools_that_it_names() -> None:
    plain, tables = AgentCatalog.build(), {"writing_agent": AgentTable(tools=("ask_user", "propose_tasks"))}
    writer = AgentCatalog.build(tables).get("writing_agent")
    assert writer.tools == ("ask_user", "propose_tasks")
    assert writer.revision != plain.get("writing_agent").revision
    planner = AgentCatalog.build({"planner": AgentTable(tools=("ask_user",))}).get("planner")
    assert planner.max_turns > plain.get("planner").max_turns, "a question takes a turn"
    with pytest.raises(StartupError, match=r"\[agents.writing_agent\] names the tool 'rm': there is ask_user, .*"):
        AgentCatalog.build({"writing_agent": AgentTable(tools=("rm",))})
    with pytest.raises(
        StartupError, match=r"names the MCP server 'files': there is none; add it by a table \[mcp.NAME\]"
    ):
        AgentCatalog.build({"writing_agent": AgentTable(mcp=("files",))})
    with pytest.raises(StartupError, match="settings and tools"):
        AgentCatalog.build({"city_agent": AgentTable(tools=("ask_user",))}, f"{REGISTRY}:registry")
