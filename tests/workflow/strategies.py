"""Random plans and settings, small enough that every corner is near: times in single microseconds, budgets of one or two."""

from __future__ import annotations

from hypothesis import strategies as st

from orcs_server.workflow.model import (
    NO_BUDGET,
    ApprovalPolicy,
    Budget,
    Digest,
    Execution,
    FailurePolicy,
    RetryPolicy,
    TaskSpec,
    WorkflowSpec,
)

TEXT = Digest("ab" * 32)
AGENTS = (("research", "1"), ("writing", "1"))
LARGEST_PLAN = 7

rarely = st.sampled_from([False, False, False, True])


@st.composite
def budgets(draw: st.DrawFn) -> Budget:
    """Limits that are soon reached, or none."""
    limits = draw(st.sampled_from(["none", "tokens", "wall time", "both"]))
    tokens = draw(st.integers(1, 60)) if limits in ("tokens", "both") else None
    return Budget(tokens, None, draw(st.integers(1, 30)) if limits in ("wall time", "both") else None)


@st.composite
def plans(draw: st.DrawFn, *, prefix: str = "t", known: tuple[str, ...] = ()) -> tuple[TaskSpec, ...]:
    """Any shape of a DAG, its tasks in any order. Tasks may also depend on those `known` already."""
    names = [f"{prefix}{index}" for index in range(1, draw(st.integers(1, LARGEST_PLAN)) + 1)]
    tasks = []
    for index, name in enumerate(names):
        candidates = [*known, *names[:index]]
        dependencies = draw(st.lists(st.sampled_from(candidates), unique=True, max_size=3)) if candidates else []
        tasks.append(
            TaskSpec(
                name,
                name,
                TEXT,
                draw(st.sampled_from(AGENTS))[0],
                tuple(dependencies),
                priority=draw(st.integers(-1, 1)),
                timeout_us=draw(st.none() | st.integers(1, 20)),
                max_attempts=draw(st.none() | st.integers(1, 3)),
                optional=draw(rarely),
                needs_approval=draw(rarely) and draw(rarely),
                budget=draw(budgets()) if draw(rarely) else NO_BUDGET,
            )
        )
    return tuple(draw(st.permutations(tasks)))


@st.composite
def bad_plans(draw: st.DrawFn) -> tuple[TaskSpec, ...]:
    """A plan with one thing wrong."""

    def task(name: str, *dependencies: str, agent: str = "research") -> TaskSpec:
        return TaskSpec(name, name, TEXT, agent, dependencies)

    return draw(
        st.sampled_from(
            [
                (),
                (task("t1", agent="nobody"),),
                (task("t1", "t9"),),
                (task("t1", "t1"),),
                (task("t1", "t2"), task("t2", "t1")),
                (task("t1"), task("t1")),
            ]
        )
    )


@st.composite
def specs(draw: st.DrawFn) -> WorkflowSpec:
    """Settings under which everything happens soon."""
    return WorkflowSpec(
        "Anything",
        execution=draw(st.sampled_from(Execution)),
        failure_policy=draw(st.sampled_from(FailurePolicy)),
        approval_policy=ApprovalPolicy.PLAN if draw(rarely) else ApprovalPolicy.NONE,
        auto_start=not draw(rarely),
        max_parallel_tasks=draw(st.integers(1, 4)),
        max_tasks=draw(st.integers(LARGEST_PLAN, 3 * LARGEST_PLAN)),
        max_plan_repairs=draw(st.integers(0, 2)),
        max_losses=draw(st.integers(0, 2)),
        task_timeout_us=draw(st.integers(1, 60)),
        retry=RetryPolicy(draw(st.integers(1, 3)), draw(st.integers(0, 5)), draw(st.integers(0, 20)), 2.0),
        deadline_us=draw(st.none() | st.integers(0, 300)) if draw(rarely) else None,
        not_before_us=draw(st.none() | st.integers(0, 30)) if draw(rarely) else None,
        holds_resources=draw(rarely),
        agents=AGENTS,
        query=draw(st.sampled_from([None, TEXT])),
        budget=draw(budgets()) if draw(rarely) else NO_BUDGET,
        approval_expires_us=draw(st.integers(1, 60)) if draw(rarely) else None,
    )
