"""Who may do what: defaults, rules, and that every way in is guarded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from orcs_server.errors import Conflict, InvalidArgument, NotFound, PermissionDenied
from orcs_server.memory import Actor, Check, Delete, Memory, Permission, Put, Refusal, Rule, Value
from orcs_server.memory.history import At
from orcs_server.memory.values import encode
from orcs_server.storage.memory_rows import RunFilter, Trust
from orcs_server.storage.sqlite import SqliteStore
from tests.memory.conftest import START_US, SetClock

NS = "default"
ADA = Actor("ada")
AGENT = Actor("ada", "research_agent", "w1", "t1", 1)
READ, WRITE, DELETE, SHARE = Permission.READ, Permission.WRITE, Permission.DELETE, Permission.SHARE


async def grant(memory: Memory, *rules: Rule) -> None:
    await memory.access.set_rules(NS, ADA, rules, START_US)


WAYS_IN: list[Callable[[Memory, str], Awaitable[object]]] = [
    lambda memory, scope: memory.get(NS, AGENT, "key", scope),
    lambda memory, scope: memory.page(NS, AGENT, scope),
    lambda memory, scope: memory.search(NS, AGENT, "value", [scope]),
    lambda memory, scope: memory.put(NS, AGENT, "key", encode("new"), scope),
    lambda memory, scope: memory.delete(NS, AGENT, "key", scope),
    lambda memory, scope: memory.batch(NS, AGENT, [Put("workflow:w1", "k", encode(1)), Delete(scope, "key")]),
    lambda memory, scope: memory.batch(NS, AGENT, [Check(scope, "key", 0)]),
    lambda memory, scope: memory.share(NS, AGENT, "key", scope, "workflow:w1"),
    lambda memory, scope: memory.share(NS, AGENT, "own", "workflow:w1", scope),
    lambda memory, scope: anext(aiter(memory.watch(NS, AGENT, scope, after=0))),
    lambda memory, scope: memory.history.get(NS, AGENT, "key", scope, At(version=1)),
    lambda memory, scope: memory.history.get(NS, AGENT, "key", scope, At(position=1)),
    lambda memory, scope: memory.history.page(NS, AGENT, scope, At()),
    lambda memory, scope: memory.history.versions(NS, AGENT, "key", scope),
    lambda memory, scope: memory.history.create_snapshot(NS, AGENT, scope),
    lambda memory, scope: memory.history.snapshots(NS, AGENT, scope),
    lambda memory, scope: memory.history.delete_snapshot(NS, AGENT, scope, 1),
    lambda memory, scope: memory.history.compare(NS, AGENT, scope, 1),
    lambda memory, scope: memory.history.restore(NS, AGENT, scope, 1),
    lambda memory, scope: memory.history.revert(NS, AGENT, "key", scope, 1),
    lambda memory, scope: memory.history.quarantine(NS, AGENT, RunFilter("w2")),
    lambda memory, scope: memory.history.purge(NS, AGENT, scope),
    lambda memory, scope: memory.history.never_read(NS, AGENT, scope),
    lambda memory, scope: memory.access.set_rules(NS, AGENT, [], START_US),
]


@pytest.mark.parametrize("way", range(len(WAYS_IN)))
@pytest.mark.parametrize("scope", ["workflow:w2", "task:w1/t2", "agent:writing_agent", "shared:team"])
async def test_no_way_leads_an_agent_out_of_its_scopes(
    shared: Memory, refusals: list[Refusal], way: int, scope: str
) -> None:
    await shared.put(NS, ADA, "key", encode("value"), scope)
    await shared.put(NS, ADA, "own", encode("own"), "workflow:w1")
    await shared.history.create_snapshot(NS, ADA, scope)
    before = (await shared.history.moment(NS, At())).position
    with pytest.raises(PermissionDenied) as caught:
        await WAYS_IN[way](shared, scope)
    assert "value" not in str(caught.value)
    assert len(refusals) == 1
    assert (refusals[0].namespace, refusals[0].actor) == (NS, AGENT)
    assert (await shared.history.moment(NS, At())).position == before


async def test_purges_quarantines_and_rules_are_not_for_agents_whatever_is_granted(shared: Memory) -> None:
    await grant(shared, Rule("*", "*", tuple(Permission)))
    await shared.put(NS, AGENT, "key", encode(1), "global")
    for use in (
        shared.history.purge(NS, AGENT, "global"),
        shared.history.quarantine(NS, AGENT, RunFilter("w1")),
        shared.access.set_rules(NS, AGENT, [], START_US),
    ):
        with pytest.raises(PermissionDenied):
            await use


async def test_a_grant_is_for_a_prefix_a_permission_and_a_subject(shared: Memory) -> None:
    await grant(shared, Rule("agent:research_agent", "shared:team", (READ, WRITE), "notes/"))
    other = Actor("ada", "writing_agent", "w1", "t1", 1)
    await shared.put(NS, AGENT, "notes/a", encode("mine"), "shared:team")
    await shared.put(NS, ADA, "secret", encode("theirs"), "shared:team")
    await shared.put(NS, ADA, "notes", encode("theirs"), "shared:team")
    page = await shared.page(NS, AGENT, "shared:team")
    assert [entry.key for entry in page.entries] == ["notes/a"]
    assert [hit.entry.key for hit in await shared.search(NS, AGENT, "mine theirs", any_word=True)] == ["notes/a"]
    for use in (
        shared.get(NS, AGENT, "notes", "shared:team"),
        shared.put(NS, AGENT, "note", encode(1), "shared:team"),
        shared.delete(NS, AGENT, "notes/a", "shared:team"),
        shared.get(NS, other, "notes/a", "shared:team"),
        shared.history.create_snapshot(NS, AGENT, "shared:team"),
    ):
        with pytest.raises(PermissionDenied):
            await use


async def test_who_may_only_write_learns_nothing_of_what_is_there(shared: Memory) -> None:
    await grant(shared, Rule("agent:research_agent", "shared:team", (WRITE,)))
    await shared.put(NS, ADA, "key", encode(1), "shared:team")
    await shared.put(NS, AGENT, "key", encode(2), "shared:team")
    for expected in (0, 1, 2):
        with pytest.raises(PermissionDenied):
            await shared.put(NS, AGENT, "key", encode(3), "shared:team", expected=expected)


async def test_what_is_forbidden_is_not_granted_by_anything(shared: Memory) -> None:
    await shared.put(NS, ADA, "private/a", encode("value"), "workflow:w1")
    await grant(
        shared,
        Rule("agent:*", "workflow:*", (READ,), "private/", allow=False),
        Rule("workflow:w1", "workflow:w1", (READ,)),
        Rule("client:bob", "*", (WRITE, DELETE), allow=False),
    )
    with pytest.raises(PermissionDenied):
        await shared.get(NS, AGENT, "private/a", "workflow:w1")
    assert await shared.get(NS, AGENT, "private/a") is None
    assert (await shared.page(NS, AGENT, "workflow:w1")).entries == []
    assert await shared.search(NS, AGENT, "value") == []
    changes = await anext(aiter(shared.watch(NS, AGENT, "workflow:w1", after=0)))
    assert (changes.versions, changes.position) == ([], 1)
    await shared.put(NS, AGENT, "private/a", encode(1), "workflow:w1")  # Only reading is forbidden.
    with pytest.raises(PermissionDenied):
        await shared.put(NS, Actor("bob"), "key", encode(1), "global")
    with pytest.raises(PermissionDenied):
        await shared.history.create_snapshot(NS, AGENT, "workflow:w1")


async def test_rules_change_at_once_and_are_kept_by_version(shared: Memory) -> None:
    rule = Rule("workflow:w1", "global", (WRITE,))
    assert await shared.access.rules(NS) == (0, ())
    assert await shared.access.set_rules(NS, ADA, [rule], START_US, expected=0) == 1
    await shared.put(NS, AGENT, "key", encode(1), "global")
    with pytest.raises(Conflict):
        await shared.access.set_rules(NS, ADA, [], START_US, expected=0)
    assert await shared.access.set_rules(NS, ADA, [], START_US, expected=1) == 2
    with pytest.raises(PermissionDenied):
        await shared.put(NS, AGENT, "key", encode(1), "global")
    assert await shared.access.rules(NS, 1) == (1, (rule,))
    assert await shared.access.rules("other") == (0, ())


async def test_rules_that_say_nothing_are_refused_all_at_once(shared: Memory) -> None:
    wrong = [
        Rule("everybody", "global", (READ,)),
        Rule("client:", "glob*", (READ,)),
        Rule("agent:No", "task:w1/t*", ()),
        Rule("*", "task:w1/*", (READ,), "\ud800"),
    ]
    with pytest.raises(InvalidArgument) as caught:
        await shared.access.set_rules(NS, ADA, wrong, START_US)
    assert [one.field for one in caught.value.violations] == [
        "rules[0].subject", "rules[1].subject", "rules[1].scope", "rules[2].subject", "rules[2].scope",
        "rules[2].permissions", "rules[3].prefix",
    ]  # fmt: skip
    with pytest.raises(InvalidArgument, match="201 rules"):
        await shared.access.set_rules(NS, ADA, [Rule("*", "*", (READ,))] * 201, START_US)


async def test_sharing_takes_a_grant_and_keeps_the_label(shared: Memory) -> None:
    await shared.put(NS, AGENT, "key", encode("value"), "task:w1/t1")
    await shared.share(NS, AGENT, "key", "task:w1/t1", "workflow:w1")
    with pytest.raises(PermissionDenied):
        await shared.share(NS, AGENT, "key", "task:w1/t1", "global")
    await grant(shared, Rule("agent:research_agent", "global", (WRITE,)))
    await shared.share(NS, AGENT, "key", "task:w1/t1", "global")
    await shared.share(NS, Actor("root", operator=True), "key", "global", "shared:team")
    for scope in ("global", "shared:team"):
        found = await shared.get(NS, ADA, "key", scope)
        assert found is not None
        assert (found.value, found.entry.trust) == (b"value", Trust.AGENT)
    with pytest.raises(NotFound, match=r"There is no entry 'none' in global\."):
        await shared.share(NS, ADA, "none", "global", "shared:team")
    with pytest.raises(InvalidArgument, match="its own scope"):
        await shared.share(NS, ADA, "key", "global", "global")


async def test_a_refusal_names_only_what_is_really_granted(shared: Memory) -> None:
    async def told(use: Awaitable[object]) -> str:
        with pytest.raises(PermissionDenied) as caught:
            await use
        return caught.value.message

    who = "The agent research_agent may not"
    own = "use task:w1/t1, workflow:w1, or ask for a grant."
    assert await told(shared.put(NS, AGENT, "k", encode(1), "global")) == f"{who} write this in 'global': {own}"
    assert await told(shared.delete(NS, AGENT, "k", "global")) == f"{who} delete this in 'global': {own}"
    read = await told(shared.get(NS, AGENT, "k", "shared:team"))
    assert read.endswith("use task:w1/t1, workflow:w1, agent:research_agent, global, or ask for a grant.")
    purge = await told(shared.history.purge(NS, AGENT, "global"))
    assert purge == f"{who} purge in 'global': this is for clients, never for agents."
    taking = await told(shared.history.quarantine(NS, AGENT, RunFilter("w1")))
    assert taking == f"{who} take back what a run wrote: this is for clients, never for agents."
    await grant(
        shared,
        Rule("agent:research_agent", "shared:notes", (WRITE,), "n/"),
        Rule("agent:*", "workflow:*", (WRITE,), allow=False),
        Rule("client:ada", "global", (WRITE,), allow=False),
        Rule("agent:alone", "*", tuple(Permission), allow=False),
    )
    written = await told(shared.put(NS, AGENT, "n/1", encode(1), "global"))
    assert written.endswith(": use task:w1/t1, shared:notes, or ask for a grant.")
    assert (await told(shared.put(NS, AGENT, "k", encode(1), "global"))).endswith(
        ": use task:w1/t1, or ask for a grant."
    )
    alone = Actor("ada", "alone", "w1", "t1", 1)
    assert (await told(shared.put(NS, alone, "k", encode(1), "global"))).endswith("in 'global': ask for a grant.")
    client = await told(shared.put(NS, ADA, "k", encode(1), "global"))
    assert client == "The caller may not write this in 'global': use what the access rules grant, or ask for a grant."


async def test_a_refusal_that_nobody_records_is_logged_once(
    store: SqliteStore, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    memory = Memory(store, clock)
    with pytest.raises(PermissionDenied):
        await memory.put(NS, AGENT, "k", encode(1), "global")
    await memory.close()
    assert [(one.name, one.getMessage()) for one in caplog.records if one.name.startswith("orcs")] == [
        ("orcs.memory", "agent:research_agent may not write in 'global'")
    ]


async def test_a_record_that_fails_does_not_lift_the_refusal(shared: Memory) -> None:
    def broken(_: Refusal) -> None:
        raise RuntimeError("no disk")

    shared.access._on_refusal = broken
    with pytest.raises(PermissionDenied):
        await shared.get(NS, AGENT, "key", "workflow:w2")


@pytest.mark.parametrize(
    ("media_type", "content"),
    [("text/plain", b"\xff"), ("application/json", b"{"), ("application/json", b"NaN"), ("plain", b""), ("a/b\n", b"")],
)
async def test_a_value_that_is_not_what_it_says_is_refused(shared: Memory, media_type: str, content: bytes) -> None:
    with pytest.raises(InvalidArgument):
        await shared.put(NS, ADA, "key", Value(media_type, content), "global")
    await shared.put(NS, ADA, "key", Value("image/png", b"\xff"), "global")


async def test_batches_have_bounds(shared: Memory) -> None:
    for changes in ([], [Delete("global", f"k{number}") for number in range(101)]):
        with pytest.raises(InvalidArgument, match="1 to 100"):
            await shared.batch(NS, ADA, changes)
    large = [Put("global", f"k{number}", Value("a/b", bytes(1_000_000))) for number in range(5)]
    with pytest.raises(InvalidArgument, match="5000000 bytes"):
        await shared.batch(NS, ADA, large)
    for expected in (-1, 2**62):
        with pytest.raises(InvalidArgument, match="A version is 0, for an absent key, or more, and less than 2"):
            await shared.delete(NS, ADA, "k", "global", expected=expected)
