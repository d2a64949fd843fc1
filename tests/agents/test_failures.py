from __future__ import annotations

from email.utils import formatdate

import httpx
import openai
import pytest
from agents.exceptions import ModelBehaviorError, ModelTimeoutError, ToolTimeoutError, UserError

from orcs_server.agents.failures import (
    call_failure,
    ending_failure,
    quoted,
    retry_after_us,
    run_failure,
)
from orcs_server.workflow.backoff import RETRY_AFTER_LIMIT_US
from orcs_server.workflow.model import FAILURE_MESSAGE_LIMIT, FailureKind


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2_000_000),
        ({"retry-after": "0.25"}, 250_000),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1_500_000),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after-ms": "nan"}, None),
        ({"retry-after": "99999999999"}, RETRY_AFTER_LIMIT_US),
        ({"retry-after": formatdate(0, usegmt=True)}, 0),
        ({"retry-after": formatdate(4e9, usegmt=True)}, RETRY_AFTER_LIMIT_US),
    ],
)
def test_the_pause_that_a_server_asks_for_is_read_and_bounded(headers: dict[str, str], pause: int | None) -> None:
    assert retry_after_us(headers) == pause


@pytest.mark.parametrize(
    "secret",
    ["sk-abcdef123456", "Bearer abc.def.ghi", "api_key=abcd1234", "A" * 40, "sk-proj-ab*****cd"],
)
def test_what_looks_like_a_secret_is_taken_out_of_quotes(secret: str) -> None:
    assert secret not in quoted(f"Bad credentials {secret} given")


UUID = "0199c1de-7a3e-7b52-9a55-1c2d3e4f5a6b"


def test_ids_stand_in_quotes_and_keys_that_look_like_them_do_not() -> None:
    long = "nightly-import-of-all-harbours-and-tides"
    said = f"workflow:{UUID} pinned/x, task:{UUID}/a, shared:team"
    assert quoted(said) == said
    assert quoted(f"workflow:{long}.2 notes", (f"{long}.2", "a")) == f"workflow:{long}.2 notes"
    assert quoted(f"workflow:{long} notes", ("w1", "a")) == "workflow:[removed] notes"
    for secret in (f"key={UUID}", f"Bearer {UUID}", f"{UUID}-{UUID}", f"{UUID}0", "a" * 32):
        assert secret not in quoted(f"given {secret} wrongly", (long,))


def test_quotes_are_one_bounded_line() -> None:
    text = quoted("a\nb\x00\x1b]0;x\u202e" + "word " * 5_000)
    assert text.startswith("a b ")
    assert len(text) <= 400
    assert text.isprintable()


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        (httpx.ReadTimeout("slow"), FailureKind.TIMEOUT, True),
        (httpx.RemoteProtocolError("cut"), FailureKind.CONNECTION, True),
        (ConnectionRefusedError(), FailureKind.CONNECTION, True),
        (TimeoutError(), FailureKind.TIMEOUT, True),
        (ModelTimeoutError(3), FailureKind.TIMEOUT, True),
        (ToolTimeoutError("look_up", 3), FailureKind.TOOL_FAILED, True),
        (ModelBehaviorError("secret"), FailureKind.INVALID_OUTPUT, True),
        (UserError("two tools have one name"), FailureKind.MODEL_REQUEST, False),
        (KeyError("secret"), FailureKind.INTERNAL, False),
    ],
)
def test_both_families_of_errors_become_failures_with_advice(
    error: Exception, kind: FailureKind, retryable: bool
) -> None:
    for failure in (run_failure(error), call_failure(error)):
        assert (failure.kind, failure.retryable) == (kind, retryable)
        assert "secret" not in failure.message
        assert len(failure.message.encode()) < FAILURE_MESSAGE_LIMIT


@pytest.mark.parametrize(
    ("code", "kind", "retryable"),
    [
        ("rate_limit_exceeded", FailureKind.RATE_LIMITED, True),
        ("insufficient_quota", FailureKind.RATE_LIMITED, False),
        ("context_length_exceeded", FailureKind.MODEL_REQUEST, False),
        ("content_filter", FailureKind.REFUSED, False),
        ("server_error", FailureKind.SERVER_ERROR, True),
        (None, FailureKind.SERVER_ERROR, True),
    ],
)
def test_an_error_in_the_middle_of_a_stream_is_told_by_its_code(
    code: str | None, kind: FailureKind, retryable: bool
) -> None:
    error = openai.APIError("It broke.", httpx.Request("POST", "http://127.0.0.1"), body={"code": code})  # type: ignore[arg-type]
    for failure in (call_failure(error), ending_failure("response.failed", code, "It broke.", None)):
        assert (failure.kind, failure.retryable) == (kind, retryable)


def test_a_missing_credential_says_which_setting_to_look_at() -> None:
    assert "api_key_env" in call_failure(openai.OpenAIError("no key")).message
