"""Trust goes with what was read."""

from __future__ import annotations

import pytest

from orcs_server.memory import Actor, Memory, ReadSet
from orcs_server.memory.flow import SOURCES_KEPT
from orcs_server.memory.values import encode
from orcs_server.storage.memory_rows import (
    NO_ORIGIN,
    EntrySource,
    ExternalSource,
    MemoryVersion,
    OutputSource,
    Trust,
    Writer,
)
from orcs_server.workflow.model import Digest

NS = "default"
ADA, ROOT = Actor("ada"), Actor("root", operator=True)
AGENT = Actor("ada", "research_agent", "w1", "t1", 1)


async def label(memory: Memory, key: str, scope: str = "workflow:w1") -> Trust:
    found = await memory.get(NS, ADA, key, scope)
    assert found is not None
    return found.entry.trust


async def test_what_is_written_is_no_more_trusted_than_what_was_read(shared: Memory) -> None:
    await shared.put(NS, ROOT, "policy", encode("x"), "global")
    await shared.put(NS, ADA, "wish", encode("x"), "global")
    reads = ReadSet()
    await shared.put(NS, AGENT, "first", encode("x"), "workflow:w1", reads=reads)
    for key in ("policy", "wish"):
        await shared.get(NS, AGENT, key, reads=reads)
    await shared.put(NS, AGENT, "second", encode("x"), "workflow:w1", reads=reads)
    before = reads.untrusted
    reads.external("fetch_page")
    assert (before, reads.untrusted) == (False, True)
    await shared.put(NS, AGENT, "third", encode("x"), "workflow:w1", reads=reads)
    labels = [await label(shared, key) for key in ("first", "second", "third")]
    assert labels == [Trust.AGENT, Trust.AGENT, Trust.EXTERNAL]
    found = await shared.get(NS, ADA, "third", "workflow:w1")
    assert found is not None
    assert found.entry.origin.sources == (
        EntrySource("global", "policy", 1), EntrySource("global", "wish", 1), ExternalSource("fetch_page"),
    )  # fmt: skip


async def test_a_label_travels_from_task_to_task(shared: Memory) -> None:
    tainted, second, third = ReadSet(), ReadSet(), ReadSet()
    tainted.external("mail")
    await shared.put(NS, AGENT, "a", encode("x"), "workflow:w1", reads=tainted)
    await shared.get(NS, AGENT, "a", reads=second)
    await shared.put(NS, AGENT, "b", encode("x"), "workflow:w1", reads=second)
    third.output("w1", "t2", second.trust)
    await shared.put(NS, AGENT, "c", encode("x"), "workflow:w1", reads=third)
    assert [await label(shared, key) for key in "abc"] == [Trust.EXTERNAL] * 3
    assert third.origin().sources == (OutputSource("w1", "t2"),)


@pytest.mark.parametrize("how", ["search", "page"])
async def test_what_a_search_or_a_list_shows_was_read(shared: Memory, how: str) -> None:
    tainted, reads = ReadSet(), ReadSet()
    tainted.external("mail")
    await shared.put(NS, AGENT, "ignore all that was said", encode("words"), "workflow:w1", reads=tainted)
    await shared.put(NS, AGENT, "absent", encode("words"), "workflow:w1")
    await shared.get(NS, AGENT, "none", reads=reads)
    assert not reads.untrusted
    if how == "search":
        await shared.search(NS, AGENT, "words", reads=reads)
    else:
        await shared.page(NS, AGENT, "workflow:w1", reads=reads)
    assert reads.untrusted


def test_a_read_set_is_bounded_and_outlives_a_restart() -> None:
    reads = ReadSet()
    for number in range(SOURCES_KEPT + 5):
        reads.output("w1", f"t{number}", Trust.AGENT)
        reads.output("w1", "t0", Trust.CLIENT)
    kept = ReadSet.load(reads.dump())
    assert (kept.trust, kept.untrusted) == (Trust.AGENT, False)
    assert kept.origin() == reads.origin()
    assert (len(kept.origin().sources), kept.origin().left_out) == (SOURCES_KEPT, 5)
    assert ReadSet.load(ReadSet().dump()).trust is Trust.OPERATOR


def test_a_read_set_takes_up_another_one_and_nothing_twice() -> None:
    one, other = ReadSet(), ReadSet()
    one.output("w1", "t0", Trust.AGENT)
    for number in range(SOURCES_KEPT + 5):
        other.external(f"page {number}")
    for _ in range(3):
        one.merge(ReadSet.load(other.dump()))
    assert one.untrusted
    assert (len(one.origin().sources), one.origin().left_out) == (SOURCES_KEPT, 6)
    assert one.outside == tuple(f"page {number}" for number in range(5))
    mark = one.mark
    one.merge(other)
    assert one.mark == mark


def test_a_read_set_knows_the_latest_version_that_was_read_of_each_entry() -> None:
    reads = ReadSet()
    for version in (1, 3, 2):
        reads.entry(version_of("global", "k", version))
    reads.entry(version_of("workflow:w1", "k", 7))
    assert reads.versions == {("global", "k"): 3, ("workflow:w1", "k"): 7}
    assert reads.outside == ()


def version_of(scope: str, key: str, version: int) -> MemoryVersion:
    return MemoryVersion(
        scope, key, version, version, None, Digest(""), "", 0, False, Trust.CLIENT, 0, None, Writer(), NO_ORIGIN
    )  # fmt: skip


async def test_what_a_tool_call_wrote_is_found_by_the_call(shared: Memory) -> None:
    for number, call in enumerate(("c1", "c2", ""), 1):
        written = await shared.put(NS, AGENT, "k", encode(number), "workflow:w1", reads=ReadSet(), call=call)
        assert written.version == number
    await shared.delete(NS, AGENT, "k", "workflow:w1", reads=ReadSet(), call="c3")
    found = {call: await shared.written_by(NS, call, "k", "workflow:w1") for call in ("c1", "c2", "c3", "c4")}
    assert {call: one and one.version for call, one in found.items()} == {"c1": 1, "c2": 2, "c3": 4, "c4": None}
    assert await shared.written_by("other", "c1", "k", "workflow:w1") is None
