"""Where in a run something is called: the ids of the tool calls within which it happens, from the outside in. No Agents SDK here."""

from __future__ import annotations

from contextvars import ContextVar
from urllib.parse import quote

ROOT = ""
"""The path of the run's own agent, and of those it hands over to."""

_path: ContextVar[str] = ContextVar("_path", default=ROOT)
"""The tool calls within which this asyncio task works."""


def current_path() -> str:
    """Return the path of what is called now."""
    return _path.get()


class within_tool:  # noqa: N801 - used like a function
    """A context manager: what is called in it is called within this tool call."""

    __slots__ = ("_call_id", "_token")

    def __init__(self, call_id: str) -> None:
        self._call_id = call_id

    def __enter__(self) -> None:
        self._token = _path.set(below(_path.get(), self._call_id))

    def __exit__(self, *_: object) -> None:
        _path.reset(self._token)


def below(path: str, call_id: str) -> str:
    """Return the path of what is called within a tool call."""
    name = quote(call_id, safe=" ", errors="replace")
    return f"{path}/{name}" if path else name


def is_within(path: str, root: str) -> bool:
    """Whether a path is that one, or lies within it."""
    return path == root or path.startswith(f"{root}/")
