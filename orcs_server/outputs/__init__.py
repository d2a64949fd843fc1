"""What a client gets to see: a workflow's result in the format that it asks for, and its plan as a graph."""

from __future__ import annotations

from orcs_server.outputs.compose import FinishedTask, Rendered, compose, final_tasks
from orcs_server.outputs.graph import GraphFormat, GraphTask, render_graph
from orcs_server.outputs.safe_text import one_line, safe_text

__all__ = [
    "FinishedTask",
    "GraphFormat",
    "GraphTask",
    "Rendered",
    "compose",
    "final_tasks",
    "one_line",
    "render_graph",
    "safe_text",
]
