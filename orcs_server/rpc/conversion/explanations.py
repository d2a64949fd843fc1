"""From explanations to messages."""

from __future__ import annotations

from orcs_client.v1 import explanation_pb2, workflow_service_pb2
from orcs_server.outputs.explaining import explanation as x
from orcs_server.rpc.conversion import enums
from orcs_server.rpc.conversion.enums import EnumTable
from orcs_server.rpc.conversion.times import duration, optional_timestamp, timestamp
from orcs_server.rpc.conversion.workflows import budget, optional_failure, usage
from orcs_server.service.explaining import ExplanationPage

REASON_CODE = EnumTable(x.ReasonCode, explanation_pb2.ReasonCode)
ATTEMPT_ENDING = EnumTable(x.AttemptEnding, explanation_pb2.AttemptEnding)


def explained_workflow(page: ExplanationPage) -> workflow_service_pb2.ExplainWorkflowResponse:
    """Return the reply that holds an explanation."""
    told = page.explanation
    return workflow_service_pb2.ExplainWorkflowResponse(
        explanation=explanation_pb2.Explanation(
            state=enums.WORKFLOW_STATE.to_wire(told.status),
            why=[_reason(reason) for reason in told.why],
            past=[_reason(reason) for reason in told.past.latest],
            past_omitted=told.past.omitted,
            planner_attempts=[_attempt(attempt) for attempt in told.attempts.latest],
            planner_attempts_omitted=told.attempts.omitted,
            cost=_cost(told.cost),
        ),
        tasks=[_task(task) for task in told.tasks],
        next_page_token=page.next_page_token,
        events_omitted=page.events_left_out,
    )


def _reason(reason: x.Reason) -> explanation_pb2.Reason:
    return explanation_pb2.Reason(
        code=REASON_CODE.to_wire(reason.code),
        text=reason.text,
        task_ids=reason.task_ids,
        input_id=reason.input_id,
        time=optional_timestamp(reason.time_us),
        actor=reason.actor,
        failure=optional_failure(reason.failure),
    )


def _attempt(attempt: x.Attempt) -> explanation_pb2.AttemptSummary:
    return explanation_pb2.AttemptSummary(
        number=attempt.number,
        run=attempt.run,
        start_time=timestamp(attempt.started_us),
        end_time=optional_timestamp(attempt.ended_us),
        ending=ATTEMPT_ENDING.optional(attempt.ending),
        failure=optional_failure(attempt.failure),
        calls=attempt.calls,
        usage=usage(attempt.usage),
        input_ids=attempt.input_ids,
    )


def _cost(cost: x.Cost) -> explanation_pb2.Cost:
    return explanation_pb2.Cost(
        usage=usage(cost.usage),
        planning=usage(cost.planning),
        tasks=usage(cost.tasks),
        wall_time=duration(cost.ran_us),
        elapsed_time=duration(cost.elapsed_us),
        budget=budget(cost.budget),
    )


def _task(task: x.TaskExplanation) -> explanation_pb2.TaskExplanation:
    return explanation_pb2.TaskExplanation(
        task_id=task.task_id,
        title=task.title,
        state=enums.TASK_STATE.to_wire(task.status),
        why=[_reason(reason) for reason in task.why],
        past=[_reason(reason) for reason in task.past.latest],
        past_omitted=task.past.omitted,
        attempts=[_attempt(attempt) for attempt in task.attempts.latest],
        attempts_omitted=task.attempts.omitted,
        failed_attempts=task.failed_attempts,
        max_attempts=task.max_attempts,
        lost_attempts=task.lost_attempts,
        usage=usage(task.usage),
        run_time=duration(task.ran_us),
        messages=[
            explanation_pb2.MessageSummary(
                id=one.id,
                mode=enums.MESSAGE_MODE.to_wire(one.mode),
                time=timestamp(one.time_us),
                actor=one.actor,
                counted=one.counted,
            )
            for one in task.messages
        ],
    )
