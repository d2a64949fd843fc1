"""A stream that goes on over cuts: it is opened again, with growing delays, until it is ended by whoever reads it."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, TypeVar

import grpc

from orcs_client.errors import DeadlineExceeded, InternalError, OrcsError, ResourceExhausted, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from orcs_client.connection import Connection

FIRST_DELAY = 0.05
LAST_DELAY = 5.0
"""Seconds: the bounds below which the delays before opening a stream again are drawn. They double from one to the other."""
FIRST_ATTEMPTS = 6
"""How often in a row a server is tried that never answered, or that fails without saying why."""
LONGEST_PUSH_BACK = 60.0
"""Seconds for which a server's wish to be left alone is heeded."""


R = TypeVar("R")
Q = TypeVar("Q")


async def replies(
    connection: Connection,
    open_stream: Callable[[], grpc.aio.UnaryStreamCall[Q, R]],
    *,
    longest_silence: float,
    reconnect_timeout: float | None,
    on_disconnect: Callable[[OrcsError], object] | None = None,
    on_reconnect: Callable[[], object] | None = None,
) -> AsyncGenerator[R, None]:
    """Yield the replies of one stream after the other; the generator never ends by itself.

    `open_stream` is called for each, after all replies so far were taken, so it can ask for what comes after them. A stream
    without a reply for `longest_silence` seconds counts as cut. Raises the `OrcsError` of a status that another attempt
    will not change, the last cut's after a few attempts on a server that never answered or that fails without saying why,
    and once the server was away for `reconnect_timeout` seconds (None: never). `on_disconnect` is called with the cut when a
    server that had answered is lost, `on_reconnect` when it takes a stream again.
    """
    failures = 0
    token_renewed = False
    absence = _Absence(connection, on_disconnect, on_reconnect)
    cut: OrcsError
    while True:
        call = open_stream()
        stream = aiter(call)
        try:
            if absence.told and await _accepted(connection, call, longest_silence):
                absence.end()
            while True:
                reply = await _next(connection, stream, longest_silence)
                connection.reached = True
                absence.end()
                token_renewed = False
                if not getattr(reply, "bookmark", False):
                    failures = 0
                yield reply
        except OrcsError as error:
            cut = error
        finally:
            call.cancel()
        if not token_renewed and connection.has_another_token(cut):
            token_renewed = True
            continue
        failures += 1
        away = absence.lasts()
        delay = _delay(failures, cut)
        lost = failures >= FIRST_ATTEMPTS and not (
            connection.reached and isinstance(cut, Unavailable | ResourceExhausted)
        )
        late = reconnect_timeout is not None and away + delay > reconnect_timeout
        if lost or late or not _may_pass(cut):
            raise cut
        absence.tell(cut)
        await asyncio.sleep(delay)


class _Absence:
    """Since when a server is away, and whether the watch's owner was told so."""

    def __init__(
        self,
        connection: Connection,
        on_disconnect: Callable[[OrcsError], object] | None,
        on_reconnect: Callable[[], object] | None,
    ) -> None:
        self._connection = connection
        self._on_disconnect = on_disconnect
        self._on_reconnect = on_reconnect
        self._since: float | None = None
        self.told = False

    def lasts(self) -> float:
        """Return its seconds so far; it begins with the first call."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        return now - self._since

    def tell(self, cut: OrcsError) -> None:
        """Say once that the server is lost; one that never answered is not."""
        if self._connection.reached and not self.told:
            self.told = True
            if self._on_disconnect is not None:
                self._on_disconnect(cut)

    def end(self) -> None:
        """The server is there. Say so if it was said to be lost."""
        self._since = None
        if self.told:
            self.told = False
            if self._on_reconnect is not None:
                self._on_reconnect()


async def _accepted(connection: Connection, call: grpc.aio.UnaryStreamCall[Q, R], longest_silence: float) -> bool:
    """Whether the server takes the stream; it says so at once, also where no reply is due for long. A refusal is left to the
    first reply.
    """
    try:
        async with asyncio.timeout(longest_silence):
            await call.initial_metadata()
    except asyncio.CancelledError:
        connection.check_open()
        raise
    except (TimeoutError, grpc.aio.AioRpcError):
        return False
    return not call.done()


async def _next(connection: Connection, stream: AsyncIterator[R], longest_silence: float) -> R:
    """Return the stream's next reply, or raise the `OrcsError` for its cut, however that shows itself."""
    try:
        async with asyncio.timeout(longest_silence):
            return await anext(stream)
    except StopAsyncIteration:
        raise Unavailable(f"{connection.address} broke off a stream without saying why") from None
    except asyncio.CancelledError:
        connection.check_open()  # closing a channel cancels its streams, which is no cancellation of their readers
        raise
    except TimeoutError:
        raise Unavailable(f"{connection.address} was silent for {longest_silence:g} seconds on a stream") from None
    except grpc.aio.AioRpcError as error:
        raise connection.error(error) from error


def _may_pass(error: OrcsError) -> bool:
    """Whether the same stream may go on when opened again."""
    if isinstance(error, Unavailable):
        return True
    if isinstance(error, ResourceExhausted):
        return error.reason == "SLOW_CONSUMER" or error.retry_after is not None
    # Without a reason it was not the server that said so, but the connection that broke or something on the way.
    return isinstance(error, InternalError | DeadlineExceeded) and not error.reason


def _delay(failures: int, cut: OrcsError) -> float:
    bound = min(LAST_DELAY, FIRST_DELAY * 2 ** min(failures - 1, 30))
    drawn = random.uniform(0, bound)  # noqa: S311 - it spreads clients over time, nothing to guess
    asked = cut.retry_after if isinstance(cut, Unavailable | ResourceExhausted) else None
    return max(drawn, min(asked or 0.0, LONGEST_PUSH_BACK))
