"""Changes to a plan as data, and what comes of them: all of it, or every reason why not. Tasks that have begun stay as they are."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from orcs_server.errors import Violation
from orcs_server.identity import TASK_ID
from orcs_server.workflow.evolve_tasks import is_dead
from orcs_server.workflow.model import Budget, Digest, TaskSpec
from orcs_server.workflow.plan import check_cycles, check_dependencies, check_fields, limited, quote
from orcs_server.workflow.state import WorkflowState
from orcs_server.workflow.states import TASK_TERMINAL

EDITS_LIMIT = 1_000
"""Edits in one request."""


class AddTask(Struct, frozen=True, tag=True):
    """A task that the plan does not have yet."""

    task: TaskSpec


class ChangeTask(Struct, frozen=True, tag=True):
    """What is set is changed, the rest stays."""

    task_id: str
    title: str | UnsetType = UNSET
    description: Digest | UnsetType = UNSET
    agent_id: str | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    timeout_us: int | UnsetType | None = UNSET
    max_attempts: int | UnsetType | None = UNSET
    optional: bool | UnsetType = UNSET
    output_schema: Digest | UnsetType | None = UNSET
    needs_approval: bool | UnsetType = UNSET
    budget: Budget | UnsetType = UNSET


class RemoveTask(Struct, frozen=True, tag=True):
    """The task leaves the plan; its id is never used again."""

    task_id: str


class SetDependencies(Struct, frozen=True, tag=True):
    """The task waits for these and no others."""

    task_id: str
    dependencies: tuple[str, ...]


PlanEdit = AddTask | ChangeTask | RemoveTask | SetDependencies

_CHANGES = tuple(name for name in ChangeTask.__struct_fields__ if name != "task_id")


class Amendment(Struct, frozen=True):
    """What edits come to."""

    added: tuple[TaskSpec, ...] = ()
    changed: tuple[TaskSpec, ...] = ()
    removed: tuple[str, ...] = ()
    problems: tuple[Violation, ...] = ()
    begun: tuple[str, ...] = ()
    """Tasks that were to be changed and have begun, where nothing else is wrong: the edits came too late."""

    @property
    def empty(self) -> bool:
        """Nothing would be different."""
        return not (self.added or self.changed or self.removed)


def has_begun(state: WorkflowState, task_id: str) -> bool:
    """Whether a task is no longer open to change: an attempt was made, or it has ended."""
    task = state.tasks[task_id]
    return task.progress.attempt > 0 or task.status in TASK_TERMINAL


class _Editing:
    """The plan while edits are made to it, one after the other."""

    def __init__(self, state: WorkflowState) -> None:
        self.state = state
        self.specs = {task.spec.id: task.spec for task in state.tasks_in_order()}
        self.places: dict[str, str] = {}
        """Where each task was last touched."""
        self.removed: dict[str, str] = {}
        self.problems: list[Violation] = []
        self.begun: list[str] = []

    def make(self, at: str, edit: PlanEdit) -> None:
        if isinstance(edit, AddTask):
            self._add(at, edit.task)
            return
        name = edit.task_id
        if name not in self.specs:
            self._wrong(f"{at}.task_id", f"There is no task {quote(name)} in the plan.")
        elif name in self.state.tasks and has_begun(self.state, name):
            self.begun.append(name)
            self._wrong(f"{at}.task_id", f"Task {quote(name)} has begun: retry, skip or cancel it instead.")
        elif isinstance(edit, RemoveTask):
            del self.specs[name]
            self.places.pop(name, None)
            self.removed[name] = at
        else:
            self.places[name] = at
            self.specs[name] = _edited(self.specs[name], edit)

    def check(self) -> None:
        state = self.state
        self._check_removed()
        agents = dict(state.spec.agents)
        for name, at in self.places.items():
            spec = self.specs[name]
            self.problems.extend(check_fields(spec, at, agents))
            # What was removed is told above, once.
            self.problems.extend(check_dependencies(spec, f"{at}.dependencies", self.specs, self.removed))
            for place, dependency in enumerate(spec.dependencies):
                known = state.tasks.get(dependency)
                if known is not None and is_dead(known):
                    self._wrong(f"{at}.dependencies[{place}]", f"Task {quote(dependency)} has ended without an output.")
        if len(self.specs) > state.spec.max_tasks:
            most = state.spec.max_tasks
            self._wrong("edits", f"A plan may have {most} tasks at most, this one would have {len(self.specs)}.")
        if not self.specs:
            self._wrong("edits", "A plan needs at least one task.")
        if not self.problems:
            specs = list(self.specs.values())
            self.problems.extend(check_cycles(specs, {spec.id: at for at, spec in enumerate(specs)}, "edits"))

    def _check_removed(self) -> None:
        needed_by: dict[str, list[str]] = {name: [] for name in self.removed}
        for spec in self.specs.values():
            for name in needed_by.keys() & spec.dependencies:
                needed_by[name].append(spec.id)
        for name, at in self.removed.items():
            for needs in needed_by[name]:
                self._wrong(f"{at}.task_id", f"Task {quote(needs)} depends on {quote(name)}: rewire it first.")

    def amendment(self) -> Amendment:
        if self.problems:
            only_late = self.begun if len(self.begun) == len(self.problems) else ()
            return Amendment(problems=limited(self.problems, "edits"), begun=tuple(only_late))
        tasks = self.state.tasks
        added = tuple(spec for name, spec in self.specs.items() if name not in tasks)
        changed = tuple(spec for name, spec in self.specs.items() if name in tasks and spec != tasks[name].spec)
        return Amendment(added, changed, tuple(name for name in self.removed if name in tasks))

    def _add(self, at: str, spec: TaskSpec) -> None:
        taken = spec.id in self.specs or spec.id in self.state.tasks or spec.id in self.state.progress.retired
        if not TASK_ID.fullmatch(spec.id):
            self._wrong(f"{at}.task.id", f"{quote(spec.id)} is no task id: use [a-z][a-z0-9_-]{{0,62}}.")
        elif taken:
            self._wrong(f"{at}.task.id", f"{quote(spec.id)} is taken: every task needs an id of its own, for ever.")
        else:
            self.places[spec.id] = f"{at}.task"
            self.specs[spec.id] = spec
            self.removed.pop(spec.id, None)

    def _wrong(self, field: str, description: str) -> None:
        self.problems.append(Violation(field, description))


def amended(state: WorkflowState, edits: tuple[PlanEdit, ...]) -> Amendment:
    """Return what the edits make of the plan, or every reason why they cannot be made."""
    editing = _Editing(state)
    for index, edit in enumerate(edits):
        editing.make(f"edits[{index}]", edit)
    editing.check()
    return editing.amendment()


def _edited(spec: TaskSpec, edit: ChangeTask | SetDependencies) -> TaskSpec:
    if isinstance(edit, SetDependencies):
        return replace(spec, dependencies=edit.dependencies)
    changes = {name: getattr(edit, name) for name in _CHANGES}
    return replace(spec, **{name: value for name, value in changes.items() if value is not UNSET})
