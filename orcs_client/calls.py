"""What the parts of the client have in common: the connection, and lists that are fetched page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from orcs_client.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from orcs_client.connection import Connection


class PageReply(Protocol):
    """A reply that holds a page of a list."""

    next_page_token: str


Page = TypeVar("Page", bound=PageReply)


class Calls:
    """A part of the client: calls over one connection."""

    _connection: Connection


async def pages(fetch: Callable[[str], Awaitable[Page]]) -> AsyncGenerator[Page, None]:
    """Yield the pages of a list; `fetch` gets the token of each."""
    token = ""
    while True:
        reply = await fetch(token)
        yield reply
        if not reply.next_page_token:
            return
        if reply.next_page_token == token:
            raise InternalError("the server gave the same page twice: report it to whoever runs it")
        token = reply.next_page_token
