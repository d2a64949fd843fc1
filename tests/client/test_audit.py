"""The client's calls of the audit log against the real server, and an export over cuts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from orcs_client import BlockingOrcsClient, InvalidArgument, OrcsClient
from tests.client.cutting_proxy import CuttingProxy

if TYPE_CHECKING:
    from tests.server_process import ServerProcess

COUNT = 30
SCOPE = "shared:audited-client"


async def test_records_are_listed_exported_and_verified(orcs_server_process: ServerProcess) -> None:
    server = orcs_server_process
    async with OrcsClient(server.address, token=server.token) as client:
        begun = datetime.now(UTC)
        for number in range(5):
            await client.put_memory(f"k{number}", "x", scope=SCOPE)
        later = begun + timedelta(hours=1)
        listed = [one async for one in client.list_audit_records(resource=SCOPE, page_size=2)]
        assert [one.number for one in listed] == sorted((one.number for one in listed), reverse=True)
        assert {(one.operation, one.outcome, bool(one.request_id)) for one in listed} == {("memory.write", "OK", True)}
        assert [one async for one in client.list_audit_records(resource=SCOPE, since=later)] == []
        oldest = client.list_audit_records(
            resource=SCOPE, operation="memory.", outcome="OK", before=later, oldest_first=True, page_size=3
        )
        assert [one.number async for one in oldest] == [one.number for one in reversed(listed)]
        after = listed[-1].number - 1
        exported = [one async for one in client.export_audit(after)]
        assert [one.number for one in exported][:1] == [after + 1]
        head = exported[-1]
        assert (await client.verify_audit(head.number, head.hash)).intact
        assert not (await client.verify_audit(head.number, "0" * 64)).intact
        assert (await client.verify_audit()).first_number == 1
        with pytest.raises(InvalidArgument):
            await client.verify_audit(head.number)


def test_the_blocking_client_reads_it_too(orcs_server_process: ServerProcess) -> None:
    server = orcs_server_process
    with BlockingOrcsClient(server.address, token=server.token) as client:
        client.put_memory("k", "x", scope=SCOPE)
        newest = next(client.list_audit_records(resource=SCOPE, page_size=1))
        assert newest.operation == "memory.write"
        assert next(client.export_audit(newest.number - 1)) == newest
        assert client.verify_audit(newest.number, newest.hash).intact


async def test_an_export_goes_on_over_cuts_without_a_gap_or_a_repeat(orcs_server_process: ServerProcess) -> None:
    server = orcs_server_process
    async with OrcsClient(server.address, token=server.token) as direct:
        for number in range(COUNT):
            await direct.put_memory(f"k{number}", "x", scope=SCOPE)
    port = int(server.address.rpartition(":")[2])
    async with CuttingProxy(port) as proxy, OrcsClient(proxy.address, token=server.token) as client:
        # The first one is cut in the middle of the records.
        proxy.budgets = [6_000, 9_000]
        numbers = [record.number async for record in client.export_audit()]
        assert proxy.budgets == []
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= COUNT
