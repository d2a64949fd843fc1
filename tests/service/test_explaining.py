"""Explanations from a real store: large workflows, long logs, replies that stay within their bounds."""

from __future__ import annotations

import pytest

from orcs_server.errors import InvalidArgument, NotFound, PermissionDenied
from orcs_server.hooks import GuardedHooks
from orcs_server.identity import ROLES, Caller, Clock
from orcs_server.outputs.explaining.explanation import ReasonCode
from orcs_server.service import explaining
from orcs_server.service.authorisation import Authorisation
from orcs_server.service.explaining import Explaining
from orcs_server.service.pages import REPLY_BYTES
from orcs_server.storage.sqlite.store import SqliteStore
from orcs_server.storage.store import Write
from orcs_server.workflow import messages as m
from orcs_server.workflow.model import Failure, FailureKind, RetryPolicy, StopMode
from tests.outputs.explaining.played import Played, task

ADA = Caller("ada", "ns", ROLES)
LONG = Failure(FailureKind.SERVER_ERROR, "é" * 1000, retryable=True)


@pytest.fixture
def service(store: SqliteStore) -> Explaining:
    return Explaining(store=store, authorisation=Authorisation(GuardedHooks()), clock=Clock(), max_page_size=500)


async def keep(store: SqliteStore, played: Played) -> None:
    await store.commit(Write("ns", "w", 0, played.records, played.state, None, caller=ADA))


async def test_what_the_store_gives_back_is_explained_like_what_was_played(
    store: SqliteStore, service: Explaining
) -> None:
    played = Played(task("x"), task("y", "x")).begin("x")
    played.say(m.PauseWorkflow(StopMode.DRAIN, "lunch"), actor="bob")
    await keep(store, played)
    told = (await service.explain(ADA, "w")).explanation
    expected = played.explanation()
    assert (told.why, told.past, told.attempts) == (expected.why, expected.past, expected.attempts)
    assert [one.why for one in told.tasks] == [one.why for one in expected.tasks]


async def test_pages_of_tasks_with_long_failures_stay_within_a_reply_and_lose_none(
    store: SqliteStore, service: Explaining
) -> None:
    names = [f"t{number}" for number in range(40)]
    played = Played(*map(task, names), retry=RetryPolicy(max_attempts=12, initial_backoff_us=0))
    for name in names:
        for _ in range(12):
            played.fail(name, LONG).say(m.Tick())
    await keep(store, played)
    seen: list[str] = []
    token, pages = "", 0
    while token or not pages:
        page = await service.explain(ADA, "w", token=token)
        assert explaining._weigh(page.explanation) <= REPLY_BYTES
        seen.extend(one.task_id for one in page.explanation.tasks)
        token, pages = page.next_page_token, pages + 1
    assert seen == names
    assert pages > 1


async def test_of_a_very_long_log_the_end_is_read_and_the_rest_is_counted(
    store: SqliteStore, service: Explaining, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Played(task("x"), task("y", "x"), task("z", "y"), task("other"))
    played.fail("x", Failure(FailureKind.REFUSED, "No.")).complete("other")
    await keep(store, played)
    monkeypatch.setattr(explaining, "EVENTS_LIMIT", 3)
    monkeypatch.setattr(explaining, "EVENTS_AT_ONCE", 2)
    page = await service.explain(ADA, "w", "z")
    assert page.events_left_out == len(played.records) - 3
    (only,) = page.explanation.tasks
    assert [(reason.code, reason.task_ids) for reason in only.why] == [(ReasonCode.DEPENDENCY_FAILED, ("y", "x"))]
    assert len(page.explanation.past.latest) <= 3


async def test_nothing_is_explained_to_those_who_may_not_see_it(store: SqliteStore, service: Explaining) -> None:
    await keep(store, Played(task("x")))
    with pytest.raises(NotFound):
        await service.explain(Caller("eve", "elsewhere", ROLES), "w")
    with pytest.raises(PermissionDenied):
        await service.explain(Caller("eve", "ns", ()), "w")
    with pytest.raises(InvalidArgument):
        await service.explain(ADA, "../w")
