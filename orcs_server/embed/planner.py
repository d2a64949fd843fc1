"""The planner as an embedding program names it."""

from __future__ import annotations

from dataclasses import replace

from orcs_server.agents.builtin import PLANNER
from orcs_server.agents.definition import AgentDefinition
from orcs_server.hooks import NO_CONFIGURATION, ConfigurationHook


class PlannerAgent:
    """The agent that turns a query into tasks; `config_provider.get_config(key, default)` may change settings for each workflow."""

    def __init__(
        self,
        model: str | None = None,
        config_provider: ConfigurationHook | None = None,
        *,
        instructions: str | None = None,
    ) -> None:
        """Use this model, or the one that the settings name; `instructions` take the place of the built-in ones."""
        self.definition: AgentDefinition = replace(
            PLANNER, model=model, instructions=PLANNER.instructions if instructions is None else instructions
        )
        self.configuration: ConfigurationHook = config_provider or NO_CONFIGURATION


def create_planner_agent() -> PlannerAgent:
    """Return the built-in planner with the model that the settings name."""
    return PlannerAgent()
