"""A workflow that continues another one knows no more of what to trust than that one did."""

from __future__ import annotations

from pathlib import Path

from agents.testing import function_call

from orcs_server.hooks import NULL_HOOKS, GuardedHooks
from orcs_server.identity import Caller
from orcs_server.service.authorisation import Authorisation, Visit
from orcs_server.service.continuing import Continuing
from orcs_server.service.results import Results
from orcs_server.workflow.people import Decision
from tests.engines.support import server, task
from tests.executor.memories import asked, coded, decide, telling
from tests.executor.test_trust import Bank, fetch, obeying


async def test_a_workflow_that_continues_one_from_outside_is_trusted_no_more(tmp_path: Path) -> None:
    bank = Bank()
    reader = coded("reader", [function_call("fetch", {"url": "x"}, call_id="f1")], telling(), tools=[fetch])
    payer = coded("payer", obeying(), telling(), tools=[bank.tool()])
    async with server(tmp_path / "orcs.db", agents=[reader, payer]) as world:
        await world.create("w0", tasks=[task("a", agent_id="reader")])
        await world.end("w0")
        authorisation = Authorisation(GuardedHooks())
        results = Results(store=world.store, authorisation=authorisation)
        continuing = Continuing(store=world.store, authorisation=authorisation, results=results)
        earlier = await continuing.read(Visit(Caller("ada", "default", ("operate",)), NULL_HOOKS), "w0")
        await world.create(
            tasks=[task("a", agent_id="payer")],
            continue_from="w0",
            earlier=earlier.output,
            blobs=(earlier.blob,),
        )
        one = await asked(world)
        assert "the output of w0" in one.need.prompt
        await decide(world, one, Decision.REJECT)
        snapshot = await world.end()
    assert bank.wired == []
    output = snapshot.tasks[0].progress.output
    assert output is not None
    assert output.untrusted
