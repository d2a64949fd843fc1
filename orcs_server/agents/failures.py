"""From what the Agents SDK and the model's HTTP client raise to a `Failure`: a kind, a sentence that says what to do, and whether
trying again may help. Messages carry no key, no stack and nothing that the model or the user wrote; only a model server's own
explanation of a refused request is quoted, cut and with whatever looks like a secret taken out.
"""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import openai
from agents.exceptions import (
    AgentsException,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    ModelBehaviorError,
    ModelRefusalError,
    ModelTimeoutError,
    OutputGuardrailTripwireTriggered,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrailTripwireTriggered,
    ToolTimeoutError,
    UserError,
)

from orcs_server.workflow.backoff import RETRY_AFTER_LIMIT_US
from orcs_server.workflow.model import Failure, FailureKind, Usage

logger = logging.getLogger(__name__)

QUOTE_LIMIT = 400
"""Characters quoted from a model server's error message."""

_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SECRET = re.compile(
    r"(?i)\b(?:bearer\s+\S+|(?:sk|pk|rk|key|api[_-]?key)[-_=:]\s*[\w.*-]{4,}"
    rf"|(?!{_UUID}(?![\w-]))[A-Za-z0-9_\-]{{32,}})"
)
"""What looks like a secret. A UUID alone does not: it is the id of a workflow, as a rule."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_TRANSPORTS = frozenset({"httpx", "httpx2", "httpcore", "httpcore2", "h11", "h2"})
_TOO_LONG = "context_length_exceeded"
_NO_QUOTA = "insufficient_quota"


class ModelCallError(Exception):
    """A model call failed. Carries the failure, and what the call had consumed where that is known."""

    def __init__(self, failure: Failure, spent: Usage | None = None) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.spent = spent


def truncated() -> Failure:
    """The stream ended before the model said that it was done."""
    return Failure(
        FailureKind.TRUNCATED,
        "The model's answer broke off: the stream ended before the model said that it was done. Try again; if it keeps "
        "happening, look at the model server's log and at proxies in between.",
        retryable=True,
    )


def stalled(seconds: float) -> Failure:
    """The stream fell silent in the middle of an answer."""
    return _timeout(f"The model server fell silent in mid-answer for {seconds:g} s.")


def output_limit_reached() -> Failure:
    """The model stopped because it may not write more."""
    return Failure(
        FailureKind.TRUNCATED,
        "The model stopped in mid-answer at its output limit. Raise max_tokens in the agent's settings, or ask for less in "
        "one task.",
    )


def refused(by: str = "The model") -> Failure:
    """The model, or a filter before it, does not want to answer."""
    return Failure(FailureKind.REFUSED, f"{by} refused to answer. Rephrase the task or give it to another model.")


def quoted(text: object, known: Sequence[str] = ()) -> str:
    """Return a foreign message fit to be shown: one line, bounded, without what looks like a secret; "" for none.

    `known` are ids that are no secrets, however long they are.
    """
    if not isinstance(text, str) or not text.strip():
        return ""

    def shown(found: re.Match[str]) -> str:
        return found[0] if any(found[0] in one for one in known) else "[removed]"

    line = _SECRET.sub(shown, _CONTROL.sub(" ", text[: 4 * QUOTE_LIMIT])).strip()
    return line if len(line) <= QUOTE_LIMIT else line[: QUOTE_LIMIT - 1] + "…"


def call_failure(error: Exception) -> Failure:
    """Return the failure for what a model call raised."""
    failure = _of_type(error, _CALL_ERRORS)
    if failure is not None:
        return failure
    if _from_transport(error):
        return _timeout("The model server fell silent.") if "Timeout" in type(error).__name__ else _connection()
    return _internal(error)


def ending_failure(kind: str, code: str | None, message: str | None, reason: str | None) -> Failure:
    """Return the failure for a stream that ended in an error event: `response.failed`, `response.incomplete` or `error`."""
    if reason == "max_output_tokens":
        return output_limit_reached()
    if reason == "content_filter":
        return refused("The model server's content filter")
    if kind == "response.incomplete":
        return truncated()
    return _coded(code, message) or _server_error(f"The model server broke off with an error{_saying(message)}.")


def run_failure(error: Exception) -> Failure:
    """Return the failure for what a whole run raised: a model call's, the SDK's, or that of the agent's own code."""
    return _of_type(error, _RUN_ERRORS) or call_failure(error)


def _status_failure(error: openai.APIStatusError) -> Failure:
    status = error.status_code
    pause = retry_after_us(error.response.headers)
    if status in (401, 403):
        return Failure(
            FailureKind.AUTHENTICATION,
            f"The model server refused the API key (HTTP {status}). Put a valid key, with leave to use this model, into the "
            "environment variable that the configuration names in api_key_env (OPENAI_API_KEY unless set).",
        )
    coded = _coded(error.code, _explanation(error), pause)
    if coded is not None:
        return coded
    if status == 429:
        return _rate_limited(pause)
    if status == 408:
        return _timeout("The model server gave up waiting (HTTP 408).", pause)
    if status == 409 or status >= 500:
        return _server_error(f"The model server failed (HTTP {status}).", pause)
    return _request_refused(status, _saying(_explanation(error)))


def _request_refused(status: int, saying: str) -> Failure:
    if status == 404:
        message = (
            f"The model server knows no such model or address (HTTP 404{saying}). Check the model's name, base_url, and whether "
            'the server speaks api = "responses" or "chat_completions".'
        )
    else:
        message = (
            f"The model server does not accept the request (HTTP {status}{saying}). Check the model's name and the agent's "
            "settings against what the server supports."
        )
    return Failure(FailureKind.MODEL_REQUEST, message)


def _stream_error(error: openai.APIError) -> Failure:
    code = error.code or error.type
    return _coded(code, error.message) or _server_error(
        f"The model server broke off with an error{_saying(error.message)}."
    )


def _coded(code: str | None, message: str | None, pause: int | None = None) -> Failure | None:
    if code == _TOO_LONG:
        return Failure(
            FailureKind.MODEL_REQUEST,
            "The task and its predecessors' results are too long for the model. Shorten them, split the task, or use a model "
            "with a larger context.",
        )
    if code == _NO_QUOTA:
        return Failure(
            FailureKind.RATE_LIMITED,
            "The account at the model server has no quota left. Top it up or use another key; trying again will not help.",
        )
    if code in ("rate_limit_exceeded", "rate_limit_error"):
        return _rate_limited(pause)
    if code == "model_not_found":
        return Failure(
            FailureKind.MODEL_REQUEST,
            f"The model server does not know the model{_saying(message)}. Check the model's name in the configuration.",
        )
    if code in ("content_filter", "content_policy_violation"):
        return refused("The model server's content filter")
    return None


def _rate_limited(pause: int | None) -> Failure:
    return Failure(
        FailureKind.RATE_LIMITED,
        "The model server asks for fewer requests (HTTP 429). Wait and try again; to stay below its limits, lower the number "
        "of tasks that run at once.",
        retryable=True,
        retry_after_us=pause,
    )


def _timeout(what: str, pause: int | None = None) -> Failure:
    advice = " Try again; raise the endpoint's timeout if the model is just slow."
    return Failure(FailureKind.TIMEOUT, what + advice, retryable=True, retry_after_us=pause)


def _connection() -> Failure:
    return Failure(
        FailureKind.CONNECTION,
        "The connection to the model server could not be made, or broke. Check that it runs and that base_url is right, then "
        "try again.",
        retryable=True,
    )


def _server_error(what: str, pause: int | None = None) -> Failure:
    advice = " Try again; if it keeps happening, look at the model server's log or its status page."
    return Failure(FailureKind.SERVER_ERROR, what + advice, retryable=True, retry_after_us=pause)


def _garbled() -> Failure:
    return _server_error("The model server sent something that cannot be read.")


def _max_turns(_: MaxTurnsExceeded) -> Failure:
    return Failure(
        FailureKind.MAX_TURNS,
        "The agent used up its turns without an answer. Raise max_turns of the agent, or make the task smaller.",
    )


def _tool_timeout(error: ToolTimeoutError) -> Failure:
    return Failure(
        FailureKind.TOOL_FAILED,
        f'The tool "{quoted(error.tool_name)}" did not finish in time. Raise its timeout or make it quicker.',
        retryable=True,
    )


def _misbehaviour(_: ModelBehaviorError) -> Failure:
    return Failure(
        FailureKind.INVALID_OUTPUT,
        "The model's answer did not have the form that was asked for. Try again; if it keeps happening, use a model that is "
        "better at tools and structured output.",
        retryable=True,
    )


def _setup(error: UserError) -> Failure:
    # The SDK wraps what a tool raises in an error of this kind, too.
    cause = error.__cause__
    if isinstance(cause, Exception) and not isinstance(cause, AgentsException):
        return _internal(cause, FailureKind.TOOL_FAILED)
    return Failure(
        FailureKind.MODEL_REQUEST,
        f"The Agents SDK does not accept how this agent is set up{_saying(error.message)}. Correct its definition.",
    )


def _credentials(_: openai.OpenAIError) -> Failure:
    return Failure(
        FailureKind.AUTHENTICATION,
        "The model server cannot be asked: its API key or another credential is missing. Set the environment variable that the "
        "configuration names in api_key_env.",
    )


def _internal(error: Exception, kind: FailureKind = FailureKind.INTERNAL) -> Failure:
    error_id = uuid.uuid4().hex[:12]
    logger.error("agent run failed, error id %s", error_id, exc_info=error)
    what = (
        "A tool of the agent failed"
        if kind is FailureKind.TOOL_FAILED
        else "The agent or its model failed in an unforeseen way"
    )
    return Failure(kind, f"{what} ({type(error).__name__}). The server's log tells more under error id {error_id}.")


def _guardrail(error: AgentsException) -> Failure:
    guardrail = getattr(getattr(error, "guardrail_result", None), "guardrail", None) or getattr(
        error, "guardrail", None
    )
    named = getattr(guardrail, "name", None) or getattr(
        getattr(guardrail, "guardrail_function", None), "__name__", None
    )
    return Failure(
        FailureKind.GUARDRAIL,
        f'The guardrail "{quoted(named) or type(error).__name__}" stopped the agent. Rephrase the task or change the guardrail.',
    )


def _explanation(error: openai.APIStatusError) -> str | None:
    body = error.body
    if isinstance(body, Mapping):
        message = body.get("message")
        return message if isinstance(message, str) else None
    return None


def _saying(message: str | None) -> str:
    text = quoted(message)
    return f': "{text}"' if text else ""


def _from_transport(error: Exception) -> bool:
    return any(base.__module__.partition(".")[0] in _TRANSPORTS for base in type(error).__mro__)


def retry_after_us(headers: Mapping[str, str]) -> int | None:
    """Return the pause that a response asks for (Retry-After-Ms, or Retry-After in seconds or as a date), in microseconds."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            pause = float(milliseconds) / 1000
        elif (value := headers.get("retry-after")) is None:
            return None
        elif re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
            pause = float(value)
        else:
            pause = parsedate_to_datetime(value).timestamp() - time.time()
        return min(max(int(pause * 1_000_000), 0), RETRY_AFTER_LIMIT_US)
    except (ValueError, OverflowError):
        return None


_Table = tuple[tuple[type[Exception], Callable[[Any], Failure]], ...]

_CALL_ERRORS: _Table = (
    (ModelCallError, lambda error: error.failure),
    (openai.APITimeoutError, lambda _: _timeout("The model server did not answer in time.")),
    (TimeoutError, lambda _: _timeout("The model server did not answer in time.")),
    (openai.APIStatusError, _status_failure),
    (openai.APIConnectionError, lambda _: _connection()),
    (openai.APIResponseValidationError, lambda _: _garbled()),
    (openai.APIError, _stream_error),
    (openai.LengthFinishReasonError, lambda _: output_limit_reached()),
    (openai.ContentFilterFinishReasonError, lambda _: refused("The model server's content filter")),
    (openai.OpenAIError, _credentials),
    (AgentsException, run_failure),
    (json.JSONDecodeError, lambda _: _garbled()),
    (UnicodeDecodeError, lambda _: _garbled()),
    (ConnectionError, lambda _: _connection()),
)
"""The first that fits counts: subclasses stand before their bases."""

_RUN_ERRORS: _Table = (
    (ModelCallError, lambda error: error.failure),
    (MaxTurnsExceeded, _max_turns),
    (ModelRefusalError, lambda _: refused()),
    (ModelTimeoutError, lambda error: _timeout(f"The model did not answer within {error.timeout_seconds:g} s.")),
    (ToolTimeoutError, _tool_timeout),
    (InputGuardrailTripwireTriggered, _guardrail),
    (OutputGuardrailTripwireTriggered, _guardrail),
    (ToolInputGuardrailTripwireTriggered, _guardrail),
    (ToolOutputGuardrailTripwireTriggered, _guardrail),
    (ModelBehaviorError, _misbehaviour),
    (UserError, _setup),
    (AgentsException, _internal),
)


def _of_type(error: Exception, table: _Table) -> Failure | None:
    return next((make(error) for kind, make in table if isinstance(error, kind)), None)


def tool_in_doubt(tool: str) -> Failure:
    """A tool was started, its result is missing, and the agent does not have it any more, so that nobody can say what is to be done."""
    return Failure(
        FailureKind.TOOL_FAILED,
        f'The tool "{tool}" was cut off while it ran, so that nobody knows whether it has acted, and the agent does not have it any '
        "more. Look at what it changes, then start the server with the tool again, or create the work that is still to be done anew.",
    )


def unseen_call(kind: str) -> Failure:
    """What the journal does not see may have acted."""
    return Failure(
        FailureKind.TOOL_FAILED,
        f"The attempt was cut off after a {kind}, whose effects the journal does not see, so that nobody knows whether it has "
        "acted, and it was not run again. Look at what it changes, then create the work that is still to be done anew.",
    )


def course_left(tool: str) -> Failure:
    """The run asks something else than before, after something has acted."""
    return Failure(
        FailureKind.TOOL_FAILED,
        f"The run cannot be continued: what its agent asks now is not what it asked before, and {tool} has acted since then and "
        "might act twice. Make the agent's input and its tools' descriptions and results the same in every attempt, then create "
        "the work that is still to be done anew.",
    )
