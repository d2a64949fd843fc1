"""The error of a connection that breaks, as the models of the torture raise it."""

from __future__ import annotations

from openai import APIConnectionError, AsyncOpenAI

_REQUEST = AsyncOpenAI(api_key="none")._client.build_request("POST", "http://127.0.0.1/")


def broken() -> APIConnectionError:
    return APIConnectionError(request=_REQUEST)
