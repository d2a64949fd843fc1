"""Which attempts may be what ends the server."""

from __future__ import annotations

import pytest

from orcs_server.workflow.due import is_suspected
from orcs_server.workflow.model import WorkflowSpec


@pytest.mark.parametrize(
    ("losses", "max_losses", "suspected"),
    [(0, 5, False), (1, 5, False), (2, 5, True), (5, 5, True), (0, 1, False), (1, 1, True), (0, 0, False)],
)
def test_two_losses_in_a_row_or_the_last_one_allowed_make_a_suspect(
    losses: int, max_losses: int, suspected: bool
) -> None:
    assert is_suspected(losses, WorkflowSpec("w", max_losses=max_losses)) is suspected
