"""`WorkflowController`: from a query to a workflow that is ready to be executed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from orcs_server.agents.catalog import definition_of
from orcs_server.agents.definition import PLANNER_ID
from orcs_server.embed.planner import PlannerAgent
from orcs_server.embed.session import bond_of, session
from orcs_server.embed.workflows import Workflow, read_workflow
from orcs_server.hooks import (
    NO_CONFIGURATION,
    NO_CONTEXT,
    AuthorizationHook,
    ContextHook,
    HookSet,
    inline,
)
from orcs_server.identity import new_workflow_id
from orcs_server.memory import MemorySystem
from orcs_server.service.requests import NewWorkflow
from orcs_server.workflow.states import WorkflowStatus


class PlanningFailed(Exception):
    """The planner made no plan that can be carried out; the message says why. The workflow is stored as FAILED."""

    def __init__(self, workflow_id: str, why: str) -> None:
        super().__init__(f"workflow {workflow_id} could not be planned: {why}")
        self.workflow_id = workflow_id


class WorkflowController:
    """Creates workflows and reads them.

    `planner_agent` is a `PlannerAgent` or an agent of the Agents SDK. The `permission_checker` is asked for everything that is done
    with the workflows of `memory_system`, executions included, and fails closed.
    """

    def __init__(
        self,
        planner_agent: Any,
        memory_system: MemorySystem,
        permission_checker: AuthorizationHook | None = None,
    ) -> None:
        self.memory = memory_system
        if isinstance(planner_agent, PlannerAgent):
            self._planner, self._configuration = planner_agent.definition, planner_agent.configuration
        else:
            self._planner, self._configuration = definition_of(PLANNER_ID, planner_agent), NO_CONFIGURATION
        if permission_checker is not None:
            bond_of(memory_system).authorization = permission_checker

    async def create_workflow(
        self,
        query: str,
        context_provider: ContextHook | None = None,
        *,
        resource_requirements: Mapping[str, Any] | None = None,
    ) -> str:
        """Have a query planned and return the id of the workflow, which is READY then.

        The context that the provider gives reaches the planner and the agents. Raises PlanningFailed; InvalidArgument with
        everything that is wrong with the query; PermissionDenied; Unavailable where a provider fails; StartupError.
        """
        workflow_id = new_workflow_id()
        requirements = msgspec.json.encode(resource_requirements).decode() if resource_requirements else ""
        new = NewWorkflow(workflow_id=workflow_id, query=query, auto_start=False, resource_requirements=requirements)
        async with session(self.memory, self._hooks(context_provider), self._planner) as at:
            at.claim(workflow_id)
            await at.services.creation.create(at.caller, new)
            await at.planned(workflow_id)
            workflow = await read_workflow(at.store, at.namespace, workflow_id)
        if workflow.status is WorkflowStatus.FAILED:
            raise PlanningFailed(workflow_id, workflow.error or "no reason is stored")
        return workflow_id

    async def get_workflow(self, workflow_id: str) -> Workflow:
        """Return a workflow as it is now. Raises NotFound, PermissionDenied."""
        async with session(self.memory, self._hooks(None), self._planner) as at:
            await at.services.reading.workflow(at.caller, workflow_id)
            return await read_workflow(at.store, at.namespace, workflow_id)

    def _hooks(self, context_provider: ContextHook | None) -> HookSet:
        return HookSet(
            context=context_provider or NO_CONTEXT,
            authorization=bond_of(self.memory).authorization,
            resources=_Later(),
            telemetry=bond_of(self.memory).telemetry,
            configuration=self._configuration,
        )


class _Later:
    """Stands for the resources hook of the orchestrator that will execute the workflow: it is asked then, not at creation."""

    @inline
    def allocate_resources(self, workflow_id: str, requirements: dict[str, Any], /) -> bool:  # noqa: ARG002
        return False

    @inline
    def release_resources(self, workflow_id: str, /) -> None:
        """Nothing is held before an execution."""
