"""Two tenants in one file: what one of them is answered is the same, to the last digit, whatever the other one does."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orcs_server.errors import OrcsError
from orcs_server.memory import Actor, Check, Delete, Memory, Put, ReadSet, Rule, upkeep
from orcs_server.memory.access import Permission
from orcs_server.memory.history import At
from orcs_server.memory.values import encode
from orcs_server.storage.memory_rows import RunFilter
from orcs_server.storage.sqlite import SqliteStore
from orcs_server.storage.sqlite.examination import examine
from tests.memory.conftest import SetClock

A, B = "tenant", "tenant:b"
ADA = Actor("ada")
AGENT = Actor("ada", "research_agent", "w1", "t1", 1)
KEYS = st.sampled_from(["a", "a:b", "b", "b/1"])
SCOPES = st.sampled_from(["global", "workflow:w1", "task:w1/t1", "shared:team"])
TEXTS = st.sampled_from(["green tea", "tea and coffee", "coffee coffee", "hills", "green hills and tea"])
ACTORS = st.sampled_from([ADA, AGENT])
VERSIONS = st.integers(0, 4)

Step = Callable[[Memory, SqliteStore, SetClock, str], Any]
"""One use of memory in the namespace that is named last."""


async def _watch(memory: Memory, namespace: str, actor: Actor, after: int) -> object:
    end = (await memory.history.moment(namespace, At())).position
    if after >= end:
        return end
    return await anext(aiter(memory.watch(namespace, actor, after=after)))


async def _tick(store: SqliteStore, clock: SetClock) -> None:
    clock.time_us += 40
    await upkeep.go_over(store.memory, clock.now_us(), past_kept_us=60)


def steps() -> st.SearchStrategy[Step]:
    reads = ReadSet()
    reads.external("mail")
    return st.one_of(
        st.builds(lambda a, k, t, s: lambda m, _s, _c, n: m.put(n, a, k, encode(t), s), ACTORS, KEYS, TEXTS, SCOPES),
        st.builds(
            lambda k, t, s: lambda m, _s, _c, n: m.put(n, AGENT, k, encode({"x": t}), s, ttl_us=50, reads=reads),
            KEYS, TEXTS, SCOPES,
        ),
        st.builds(lambda k, s, v: lambda m, _s, _c, n: m.delete(n, ADA, k, s, expected=v), KEYS, SCOPES, VERSIONS),
        st.builds(
            lambda k, v, t: lambda m, _s, _c, n: m.batch(
                n, ADA, [Check("global", k, v), Put("workflow:w1", k, encode(t)), Delete("shared:team", k)]
            ),
            KEYS, VERSIONS, TEXTS,
        ),
        st.builds(lambda a, k: lambda m, _s, _c, n: m.get(n, a, k), ACTORS, KEYS),
        st.builds(lambda a, s, p: lambda m, _s, _c, n: m.page(n, a, s, p, limit=2), ACTORS, SCOPES, KEYS),
        st.builds(lambda a, t, y: lambda m, _s, _c, n: m.search(n, a, t, any_word=y), ACTORS, TEXTS, st.booleans()),
        st.builds(lambda a, v: lambda m, _s, _c, n: _watch(m, n, a, v), ACTORS, VERSIONS),
        st.builds(lambda k, s: lambda m, _s, _c, n: m.history.versions(n, ADA, k, s), KEYS, SCOPES),
        st.builds(lambda k, s, v: lambda m, _s, _c, n: m.history.get(n, ADA, k, s, At(position=v)), KEYS, SCOPES, VERSIONS),
        st.builds(lambda a, s: lambda m, _s, _c, n: m.history.create_snapshot(n, a, s), ACTORS, SCOPES),
        st.builds(lambda s: lambda m, _s, _c, n: m.history.snapshots(n, ADA, s), SCOPES),
        st.builds(lambda s, v: lambda m, _s, _c, n: m.history.restore(n, ADA, s, v), SCOPES, VERSIONS),
        st.builds(lambda s, v: lambda m, _s, _c, n: m.history.compare(n, ADA, s, v), SCOPES, VERSIONS),
        st.builds(lambda k, s, v: lambda m, _s, _c, n: m.history.revert(n, ADA, k, s, v), KEYS, SCOPES, VERSIONS),
        st.builds(lambda: lambda m, _s, _c, n: m.history.quarantine(n, ADA, RunFilter("w1", "t1"))),
        st.builds(lambda k, s: lambda m, _s, _c, n: m.history.purge(n, ADA, s, k), KEYS, SCOPES),
        st.builds(
            lambda k, s, y: lambda m, _s, c, n: m.access.set_rules(
                n, ADA, [Rule("agent:*", s, (Permission.READ, Permission.WRITE), k, y)], c.now_us()
            ),
            KEYS, SCOPES, st.booleans(),
        ),
        st.builds(lambda a: lambda m, _s, _c, n: m.history.hot(n, a), ACTORS),
        st.builds(lambda s: lambda m, _s, _c, n: m.history.never_read(n, ADA, s), SCOPES),
    )  # fmt: skip


async def answer(step: Step, memory: Memory, store: SqliteStore, clock: SetClock, namespace: str) -> str:
    """Return what comes back, as text: an error with all that it says."""
    try:
        return repr(await step(memory, store, clock, namespace))
    except OrcsError as error:
        return repr((type(error).__name__, error.reason, error.message, getattr(error, "violations", ())))


async def answers(mine: list[Step], theirs: list[list[Step]]) -> list[str]:
    """Return what B is answered, where before each of its steps A takes some."""
    with tempfile.TemporaryDirectory() as folder:
        store, clock = SqliteStore(Path(folder) / "orcs.db"), SetClock()
        await store.open()
        memory = Memory(store, clock)
        found = []
        for number, step in enumerate(mine):
            for other in theirs[number % len(theirs)] if theirs else ():
                await answer(other, memory, store, clock, A)
            found.append(await answer(step, memory, store, clock, B))
            if number % 5 == 4:
                await _tick(store, clock)
                await memory.reads.flush()
        last: tuple[Step, ...] = (
            lambda m, _s, _c, n: m.history.page(n, ADA, "global", At()),
            lambda m, _s, _c, n: m.search(n, ADA, "tea coffee hills", any_word=True),
            lambda _m, s, _c, n: s.memory.changes(n, 0, 500, None, ""),
            lambda m, _s, _c, n: m.history.hot(n, ADA),
        )
        found += [await answer(step, memory, store, clock, B) for step in last]
        await memory.close()
        await store.close()
        _check_file(Path(folder) / "orcs.db")
        return found


def _check_file(path: Path) -> None:
    """Whatever was done, the file holds what it says it holds."""
    assert examine(path).findings == []
    with closing(sqlite3.connect(path)) as connection:
        for number, namespace, position, entries, indexed in connection.execute(
            "SELECT number, namespace, position, entries, indexed FROM memory_spaces"
        ).fetchall():
            live = connection.execute(
                "SELECT id FROM memory_versions WHERE namespace = ? AND until IS NULL AND deleted = 0", (namespace,)
            ).fetchall()
            last, places = connection.execute(
                "SELECT max(position), count(DISTINCT position) = count(*) FROM memory_versions WHERE namespace = ?",
                (namespace,),
            ).fetchone()
            assert (len(live), bool(places), (last or 0) <= position) == (entries, True, True)
            if indexed:
                index = f"memory_text_{number}"
                # Every value here is text or JSON.
                assert connection.execute(f"SELECT rowid FROM {index} ORDER BY 1").fetchall() == sorted(live)
                connection.execute(f"INSERT INTO {index} ({index}) VALUES ('integrity-check')")
            else:
                assert live == []
        following = connection.execute(
            "SELECT count(*) FROM memory_versions AS one JOIN memory_versions AS next ON next.namespace = one.namespace"
            " AND next.scope = one.scope AND next.key = one.key AND next.version = one.version + 1"
            " WHERE one.until IS NOT next.position"
        ).fetchone()
        assert following == (0,)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    st.lists(steps(), min_size=5, max_size=25),
    st.lists(st.lists(steps(), max_size=4), min_size=1, max_size=6),
)
def test_what_one_tenant_is_answered_does_not_depend_on_the_other(mine: list[Step], theirs: list[list[Step]]) -> None:
    assert asyncio.run(answers(mine, theirs)) == asyncio.run(answers(mine, []))


def test_the_answers_would_show_a_difference() -> None:
    """The comparison itself can fail: the same steps in one namespace do differ."""
    put: Step = lambda m, _s, _c, n: m.put(n, ADA, "a", encode("green tea"), "global")  # noqa: E731
    find: Step = lambda m, _s, _c, n: m.search(n, ADA, "tea")  # noqa: E731
    mixed: Step = lambda m, _s, _c, _n: m.put(B, ADA, "b", encode("tea tea"), "global")  # noqa: E731
    assert asyncio.run(answers([put, find], [[mixed]])) != asyncio.run(answers([put, find], []))
