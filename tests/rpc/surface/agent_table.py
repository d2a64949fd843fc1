"""The same for the requests about agents."""

from __future__ import annotations

from typing import Any, Final

from orcs_client.v1 import agent_service_pb2
from tests.rpc.surface.expected import (
    NO_LINE,
    NO_SCHEMA,
    Expectations,
    Expected,
    accepted,
    page_size,
    page_token,
    refused,
    request_id,
    wrong,
)

_SOUND: Final[dict[str, Any]] = {"id": "poet", "description": "Rhymes.", "instructions": "Rhyme."}


def declared(**fields: Any) -> agent_service_pb2.AgentDeclaration:
    """Return a declaration in which nothing is wrong but these fields."""
    return agent_service_pb2.AgentDeclaration(**{**_SOUND, **fields})


AGENTS_BASE: Final[dict[str, dict[str, Any]]] = {
    "GetAgent": {"agent_id": "research_agent"},
    "ListAgents": {},
    "RegisterAgent": {"agent": declared()},
    "DeregisterAgent": {"agent_id": "spare_poet"},
}

_NO_IDS: Final = ("", "../a", "A", "a\x00b", "\x1b[2J", "é", "1a", "i" * 64, "x" * 300_000)
_NO_NAMES: Final = ("rm", "", "../x", "a\x00b", "http://127.0.0.1/", "x" * 300_000)
_REVISIONS: Final = ("a\x00b", "\u202ex", "r" * 65, "r" * 300_000)


def _bad(field: str, *values: Any, at: str = "") -> tuple[Expected, ...]:
    return tuple(wrong(f"agent.{at or field}", agent=declared(**{field: value})) for value in values)


def _names(field: str) -> tuple[Expected, ...]:
    return (
        *_bad(field, *([name] for name in _NO_NAMES), at=f"{field}[0]"),
        *_bad(field, ["ask_user"] * 65),
    )


AGENTS: Final[dict[str, Expectations]] = {
    "GetAgent": {
        "agent_id": tuple(
            refused("NOT_FOUND", "AGENT_NOT_FOUND", agent_id=text)
            for text in ("", "nobody", "../a", "a\x00b", "\x1b[2J", "é", "x" * 300_000)
        )
    },
    "ListAgents": {"page_size": page_size(), "page_token": page_token("agents")},
    "RegisterAgent": {
        "request_id": request_id(),
        "agent.id": (
            *_bad("id", *_NO_IDS),
            *(
                refused("ALREADY_EXISTS", "AGENT_ALREADY_EXISTS", agent=declared(id=name))
                for name in ("research_agent", "planner")
            ),
        ),
        "agent.name": _bad("name", *NO_LINE),
        "agent.description": _bad("description", "", " ", *NO_LINE[:-1], "d" * 2_001),
        "agent.instructions": _bad("instructions", "", " \n", "i" * 65_537, "é" * 32_769),
        "agent.output_schema": _bad("output_schema", *NO_SCHEMA),
        "agent.model": _bad("model", *_NO_NAMES[:1], *_NO_NAMES[2:]),
        "agent.tools[]": (
            *_names("tools"),
            wrong("agent.tools[1]", agent=declared(tools=["ask_user", "ask_user"])),
        ),
        "agent.mcp_servers[]": _names("mcp_servers"),
        "agent.max_turns": _bad("max_turns", -1, 101, 2**31 - 1, -(2**31)),
        "agent.sensitive[]": _names("sensitive"),
        "agent.needs_approval[]": _names("needs_approval"),
        "expected_revision": (
            *(wrong(expected_revision=text) for text in _REVISIONS),
            refused("ABORTED", "STALE_REVISION", expected_revision="0123456789ab", agent=declared(id="other")),
        ),
        "validate_only": (accepted(validate_only=True),),
    },
    "DeregisterAgent": {
        "request_id": request_id(),
        "agent_id": (
            *(wrong(agent_id=text) for text in _NO_IDS),
            *(refused("NOT_FOUND", "AGENT_NOT_FOUND", agent_id=text) for text in ("nobody", "research_agent")),
        ),
        "expected_revision": (
            *(wrong(expected_revision=text) for text in _REVISIONS),
            *(
                refused("ABORTED", "STALE_REVISION", expected_revision=text, agent_id="kept_poet")
                for text in ("", "0123456789ab")
            ),
        ),
        "validate_only": (accepted(validate_only=True, agent_id="kept_poet"),),
    },
}
