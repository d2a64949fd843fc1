"""The way to one server: its channels, and how a single call is made, repeated and given up."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from orcs_client.address import find_address
from orcs_client.errors import SettingsError, Unauthenticated, Unavailable, error_from_call
from orcs_client.tokens import TokenSource

if TYPE_CHECKING:
    from pathlib import Path

    from orcs_client.errors import OrcsError

    Request = TypeVar("Request")
    Reply = TypeVar("Reply")

DEFAULT_TIMEOUT = 30.0
"""Seconds within which a unary call must be answered, repetitions included."""

AWAY_DELAY = 2.0
"""Seconds: the bound below which the delays are drawn with which a server that had answered before is tried again."""
_AWAY = frozenset({"", "SERVER_DRAINING"})
"""Reasons of UNAVAILABLE that pass by waiting for the server; what a server that is there says of itself is told at once."""

_TRUE = frozenset({"1", "true", "yes", "on"})
_RECEIVE_LIMIT = 8 * 1024 * 1024

# Every mutation of this client carries a request id, so every unary call may be repeated. gRPC draws each delay at random
# around a fifth of the growing bound, honours a server's push-back, and never repeats a stream that has begun.
_RETRIES = {
    "name": [{}],
    "retryPolicy": {
        "maxAttempts": 5,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    },
}
# Without it, calls beyond a connection's stream limit (a server's is 1,000) would wait unseen until their deadline, as they
# do with grpcio before 1.85, which does not know it.
_SCALING = {"maxConnectionsPerSubchannel": 10}


class Connection:
    """Two channels to one server, so that watches and single calls do not get in each other's way, and the token for them.

    The settings are those of `OrcsClient`. The channels are made at the first call and belong to the loop that runs then.
    """

    def __init__(
        self,
        target: str | None,
        *,
        token: str | None,
        token_file: str | Path | None,
        tls_root_certificates: str | Path | bytes | None,
        allow_insecure_token: bool,
        timeout: float,
    ) -> None:
        if not timeout > 0:
            raise SettingsError(f"the timeout is {timeout}: it must be a number of seconds above 0")
        environ = os.environ
        insecure = allow_insecure_token or environ.get("ORCS_ALLOW_INSECURE_TOKEN", "").lower() in _TRUE
        self._address = find_address(target, tls_root_certificates, environ)
        self._tokens = TokenSource(self._address, token, token_file, environ, insecure=insecure)
        self._closed = False
        self._open: list[grpc.aio.Channel] = []
        self.address = self._address.target
        self.timeout = timeout
        self.reached = False
        """Whether this server has ever answered: if so, its silence is a cut and not a wrong address."""

    @cached_property
    def unary(self) -> grpc.aio.Channel:
        """The channel for single calls."""
        return self._channel({"methodConfig": [_RETRIES], "connectionScaling": _SCALING})

    @cached_property
    def watching(self) -> grpc.aio.Channel:
        """The channel for watches; unlike the other's, its buffers stay small when the reader is slow."""
        return self._channel({"connectionScaling": _SCALING}, ("grpc.http2.bdp_probe", 0))

    def _channel(self, service_config: dict[str, Any], *more: tuple[str, Any]) -> grpc.aio.Channel:
        options = [
            ("grpc.service_config", json.dumps(service_config)),
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.max_receive_message_length", _RECEIVE_LIMIT),
            # A server that comes back is found within about these, not within gRPC's two minutes.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2_000),
            # An environment's web proxy has no way to this very machine.
            ("grpc.enable_http_proxy", 0 if self._address.loopback else 1),
            *more,
        ]
        if self._address.tls:
            credentials = grpc.ssl_channel_credentials(self._address.root_certificates)
            channel = grpc.aio.secure_channel(self.address, credentials, options=options)
        else:
            channel = grpc.aio.insecure_channel(self.address, options=options)
        self._open.append(channel)
        return channel

    async def close(self) -> None:
        """Break off what is under way and close the channels. Safe to call again."""
        self._closed = True
        while self._open:
            await self._open.pop().close()

    def check_open(self) -> None:
        """Raise `SettingsError` once the client is closed, unless the running task is being cancelled itself."""
        task = asyncio.current_task()
        if self._closed and not (task and task.cancelling()):
            raise SettingsError("this client is closed: make a new one")

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what goes with every call. Raises `SettingsError` as `TokenSource.current` does, and once closed."""
        self.check_open()
        token = self._tokens.current()
        return (("authorization", f"Bearer {token}"),) if token else ()

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Reply],
        request: Request,
        timeout: float | None = None,  # noqa: ASYNC109 - it travels with the call, as its deadline
    ) -> Reply:
        """Return the server's reply, or raise the `OrcsError` that its status stands for.

        UNAVAILABLE is tried again a few times within `timeout` (seconds; None: the connection's), and while a server that had
        answered before is away, as long as the timeout allows; a refused token once, if another can be found by now.
        """
        ends = time.monotonic() + (self.timeout if timeout is None else timeout)
        may_repeat = True
        while True:
            try:
                reply = await method(request, timeout=max(ends - time.monotonic(), 0.001), metadata=self.metadata())
            except asyncio.CancelledError:
                self.check_open()  # closing a channel cancels its calls, which is no cancellation of their callers
                raise
            except grpc.aio.AioRpcError as status:
                error = self.error(status)
                if may_repeat and self.has_another_token(error):
                    may_repeat = False
                    continue
                delay = random.uniform(0.1, AWAY_DELAY)  # noqa: S311 - it spreads clients over time, nothing to guess
                if self.reached and _is_away(error) and time.monotonic() + delay < ends:
                    await asyncio.sleep(delay)
                    self.check_open()
                    continue
                raise error from status
            self.reached = True
            return reply

    def has_another_token(self, error: OrcsError) -> bool:
        """Whether the call failed for its token and another one can be found by now."""
        return isinstance(error, Unauthenticated) and self._tokens.changed()

    def error(self, error: grpc.aio.AioRpcError) -> OrcsError:
        """Return what a failed call stands for."""
        return error_from_call(error, self.address, tls=self._address.tls)


def _is_away(error: OrcsError) -> bool:
    return isinstance(error, Unavailable) and error.reason in _AWAY and error.code is grpc.StatusCode.UNAVAILABLE
