"""What agents are told to do: tasks, and the turns of their descriptions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Turn = Sequence[dict[str, Any]]


def script(*turns: Turn, answer: str = "", gates: Mapping[int, str] | None = None, broken_until: str = "") -> str:
    """Return a description: these turns, then the answer, or all that was read. `gates` are those of turns."""
    return json.dumps(
        {
            "turns": turns,
            "answer": answer,
            "gates": {str(turn): gate for turn, gate in (gates or {}).items()},
            "broken_until": broken_until,
        }
    )


def task(name: str, *turns: Turn, needs: str = "", told: str = "", **fields: Any) -> dict[str, Any]:
    """Return a task; what does not concern its plan goes to its script, unless `told` is its whole description."""
    said = {key: fields.pop(key) for key in ("answer", "gates", "broken_until") if key in fields}
    return {
        "id": name,
        "title": f"Title of {name}",
        "description": told or script(*turns, **said),
        "agent_id": "worker",
        "dependencies": needs.split(),
        **fields,
    }


def planned(*tasks: dict[str, Any]) -> str:
    """Return what makes the planner plan these tasks: as a query, as instructions or as the reason of a rejection."""
    return json.dumps(
        {
            "answer": json.dumps(
                {
                    "tasks": [
                        {
                            "title": one["title"],
                            "description": one["description"],
                            "agent_id": one["agent_id"],
                            "dependencies": [],
                            "builds_on": one["dependencies"],
                        }
                        for one in tasks
                    ]
                }
            )
        }
    )


def call(tool: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"tool": tool, "id": name, "arguments": arguments}


def look(name: str, gate: str | None = None, what: str = "seen") -> dict[str, Any]:
    """A call that may run again."""
    return call("look", name, what=what, gate=gate)


def pay(name: str, gate: str | None = None, what: str = "paid") -> dict[str, Any]:
    """A call that must not run twice."""
    return call("pay", name, what=what, gate=gate)


def wire_money(name: str, what: str = "wired", gate: str | None = None) -> dict[str, Any]:
    """A call that needs approval."""
    return call("wire_money", name, what=what, gate=gate)


def ask(name: str, question: str, **rest: Any) -> dict[str, Any]:
    """A question to a person."""
    return call("ask_user", name, question=question, **rest)


def delegate(name: str, *turns: Turn) -> dict[str, Any]:
    """A nested agent with a script of its own."""
    return call("delegate", name, input=script(*turns))


def propose(name: str, *tasks: dict[str, Any]) -> dict[str, Any]:
    """Tasks for the plan."""
    proposed = [
        {"title": one["title"], "description": one["description"], "agent_id": "worker", "depends_on": []}
        for one in tasks
    ]
    return call("propose_tasks", name, tasks=proposed)
