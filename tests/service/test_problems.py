"""Who is told what is wrong with a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from orcs_server.app import Backend
from orcs_server.config import Settings
from orcs_server.errors import PermissionDenied
from orcs_server.identity import Caller
from orcs_server.service.problems import ProblemCode


async def test_a_no_of_a_hook_that_is_well_holds_while_another_hook_fails(tmp_path: Path) -> None:
    given = {"data": tmp_path / "orcs.db", "hooks": "tests.stuck_hooks:factory"}
    backend = Backend(Settings.load(given, environ={"HOME": str(tmp_path)}), {})
    await backend.open()
    try:
        backend.hooks.condition.failed("telemetry", "raised", "default")
        with pytest.raises(PermissionDenied):
            await backend.services.problems.listed(Caller("denied", "default", ("administer",)))
        found = await backend.services.problems.listed(Caller("ann", "default", ("administer",)))
        assert [one.code for one in found] == [ProblemCode.HOOK_FAILING]
        stranger = Caller("ann", "other", ("administer",))
        assert await backend.services.problems.listed(stranger) == []
        found = await backend.services.problems.listed(replace(stranger, own=True))
        assert [one.code for one in found] == [ProblemCode.HOOK_FAILING]
    finally:
        await backend.close(0)
