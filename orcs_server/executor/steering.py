"""What an attempt is told while it runs, and what it knows of people: what engines hand to the executor."""

from __future__ import annotations

from orcs_server.agents.steering import Steering

__all__ = ["Steering"]
