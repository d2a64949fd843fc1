"""Between the domain's enums and those of the messages. Both sides name their values alike; a missing one fails the import."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Generic, TypeVar

from orcs_client.v1 import common_pb2, workflow_pb2
from orcs_server.outputs.graph import GraphFormat
from orcs_server.service.validation import Findings
from orcs_server.workflow import model, people, states

E = TypeVar("E", bound=StrEnum)


class EnumTable(Generic[E]):
    """A domain enum and its counterpart, whose values carry a prefix and which has UNSPECIFIED as 0."""

    def __init__(self, domain: type[E], wire: Any, *, default: E | None = None) -> None:
        words = "".join(f"_{letter}" if letter.isupper() else letter for letter in wire.DESCRIPTOR.name)
        self._prefix = f"{words.lstrip('_').upper()}_"
        self._to_wire: dict[E, Any] = {value: wire.Value(f"{self._prefix}{value.name}") for value in domain}
        self._from_wire = {number: value for value, number in self._to_wire.items()}
        self._default = default

    def to_wire(self, value: E) -> Any:
        """Return the number of a value."""
        return self._to_wire[value]

    def optional(self, value: E | None) -> Any:
        """Return the number of a value; 0 for none."""
        return 0 if value is None else self._to_wire[value]

    def from_wire(self, number: int, field: str, findings: Findings) -> E | None:
        """Return the value of a number; the default for 0; None, and a finding, for a number that is no value."""
        value = self._from_wire.get(number)
        if value is None and (number != 0 or self._default is None):
            names = ", ".join(f"{self._prefix}{known.name}" for known in self._to_wire)
            findings.add(field, f"{number} is not one of {names}.")
        return self._default if value is None else value

    def all_from_wire(self, numbers: Iterable[int], field: str, findings: Findings) -> tuple[E, ...]:
        """Return the values of a list, sorted and each once."""
        found = {self.from_wire(number, f"{field}[{index}]", findings) for index, number in enumerate(numbers)}
        return tuple(sorted(value for value in found if value is not None))


WORKFLOW_STATE = EnumTable(states.WorkflowStatus, workflow_pb2.WorkflowState)
TASK_STATE = EnumTable(states.TaskStatus, workflow_pb2.TaskState)
FAILURE_KIND = EnumTable(model.FailureKind, common_pb2.FailureKind)
PLAN_SOURCE = EnumTable(model.PlanSource, workflow_pb2.PlanSource)
EXECUTION = EnumTable(model.Execution, workflow_pb2.Execution, default=model.Execution.PARALLEL)
FAILURE_POLICY = EnumTable(model.FailurePolicy, workflow_pb2.FailurePolicy, default=model.FailurePolicy.ISOLATE)
APPROVAL_POLICY = EnumTable(model.ApprovalPolicy, workflow_pb2.ApprovalPolicy, default=model.ApprovalPolicy.NONE)
OUTPUT_FORMAT = EnumTable(model.OutputFormat, workflow_pb2.OutputFormat, default=model.OutputFormat.MARKDOWN)
PLANNING_STRATEGY = EnumTable(model.PlanningStrategy, workflow_pb2.PlanningStrategy)
GRAPH_FORMAT = EnumTable(GraphFormat, workflow_pb2.GraphFormat, default=GraphFormat.MERMAID)
STOP_MODE = EnumTable(model.StopMode, workflow_pb2.StopMode, default=model.StopMode.AFTER_TURN)
INPUT_KIND = EnumTable(people.InputKind, workflow_pb2.PendingInputKind)
INPUT_RESOLUTION = EnumTable(people.Resolution, workflow_pb2.InputResolution)
MESSAGE_MODE = EnumTable(people.MessageMode, workflow_pb2.MessageMode, default=people.MessageMode.QUEUE)
DECISION = EnumTable(people.Decision, workflow_pb2.Decision)
