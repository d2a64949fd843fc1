"""What every store promises about registered agents. `conformance` says how a store joins."""

from __future__ import annotations

import asyncio

import pytest

from orcs_server.errors import Conflict, NotFound, ResourceExhausted
from orcs_server.storage.agents import AGENT_BYTES_LIMIT, AGENTS_LIMIT, Registered, StoredAgent
from orcs_server.storage.once import Once
from orcs_server.storage.store import DuplicateRequest, RequestKey, Store
from tests.storage.conformance_rows import Reopen
from tests.storage.samples import START_US

NS = "default"
ONCE = Once(None, "", START_US)
KEY = RequestKey(NS, "ada", "RegisterAgent", "r1")


def poet(agent_id: str = "poet", revision: str = "a1", text: bytes = b"{}", time_us: int = START_US) -> StoredAgent:
    return StoredAgent(agent_id, revision, time_us, "ada", text)


class AgentConformance:
    """Agents of namespaces."""

    async def test_agents_outlive_a_restart_and_belong_to_their_namespace(self, store: Store, reopen: Reopen) -> None:
        await store.agents.register(NS, poet("b"), None, ONCE)
        await store.agents.register(NS, poet("a"), None, ONCE)
        await store.agents.register("other", poet("b", "b9"), None, ONCE)
        store = await reopen()
        assert await store.agents.registered(NS) == [poet("a"), poet("b")]
        assert await store.agents.registered("other") == [poet("b", "b9")]
        assert await store.agents.registered("nobody") == []
        with pytest.raises(NotFound):
            await store.agents.deregister("other", "a", None, ONCE)
        assert await store.agents.deregister(NS, "b", None, ONCE) == Registered("a1", START_US)
        assert await store.agents.registered(NS) == [poet("a")]
        assert await store.agents.registered("other") == [poet("b", "b9")]

    async def test_an_agent_is_replaced_only_at_the_expected_revision(self, store: Store) -> None:
        await store.agents.register(NS, poet(), "", ONCE)
        for expected in ("", "zz"):
            with pytest.raises(Conflict) as stale:
                await store.agents.register(NS, poet(revision="a2"), expected, ONCE)
            assert stale.value.reason == "STALE_REVISION"
            with pytest.raises(Conflict):
                await store.agents.deregister(NS, "poet", expected, ONCE)
        done = await store.agents.register(NS, poet(revision="a2", time_us=START_US + 5), "a1", ONCE)
        assert done == Registered("a2", START_US + 5)
        # What is so already stays, with its time.
        same = await store.agents.register(NS, poet(revision="a2", time_us=START_US + 9), "a2", ONCE)
        assert same == Registered("a2", START_US + 5)
        with pytest.raises(Conflict):
            await store.agents.register(NS, poet("new"), "a1", ONCE)

    async def test_a_namespace_has_so_many_and_another_is_not_concerned(self, store: Store) -> None:
        for number in range(AGENTS_LIMIT):
            await store.agents.register(NS, poet(f"a{number}"), None, ONCE)
        with pytest.raises(ResourceExhausted) as full:
            await store.agents.register(NS, poet("more"), None, ONCE)
        assert full.value.reason == "QUOTA_EXCEEDED"
        await store.agents.register(NS, poet("a7", "a2"), None, ONCE)
        await store.agents.register("other", poet("more"), None, ONCE)
        await store.agents.deregister(NS, "a7", None, ONCE)
        await store.agents.register(NS, poet("more"), None, ONCE)

    async def test_and_so_many_bytes(self, store: Store) -> None:
        half = b"x" * (AGENT_BYTES_LIMIT // 2)
        await store.agents.register(NS, poet("a", text=half), None, ONCE)
        await store.agents.register(NS, poet("b", text=half), None, ONCE)
        with pytest.raises(ResourceExhausted, match="bytes"):
            await store.agents.register(NS, poet("c", text=b"x"), None, ONCE)
        with pytest.raises(ResourceExhausted, match="bytes"):
            await store.agents.register(NS, poet("b", "a2", half + b"x"), None, ONCE)
        await store.agents.register(NS, poet("b", "a2", b"x"), None, ONCE)

    async def test_a_request_is_carried_out_once(self, store: Store) -> None:
        async def register() -> bool:
            try:
                await store.agents.register(NS, poet(), "", Once(KEY, "hash", START_US))
            except DuplicateRequest:
                return False
            return True

        assert sorted(await asyncio.gather(*(register() for _ in range(5)))) == [False] * 4 + [True]
        record = await store.find_request(KEY)
        assert record is not None
        assert record.command_hash == "hash"
        refused = KEY._replace(request_id="r2")
        with pytest.raises(Conflict):
            await store.agents.register(NS, poet(), "zz", Once(refused, "hash", START_US))
        assert await store.find_request(refused) is None
