"""Who may run next: fairness, priorities, limits, and that no slot is ever lost."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from orcs_server.engines.local.slots import ROOMS_KEPT, Slots, Ticket, Want
from orcs_server.identity.quotas import NamespaceQuota, Quotas


class Queue:
    """Tickets that note in which order they were served."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.served: list[str] = []
        self.held: list[tuple[str, str]] = []

    def ticket(self, name: str, namespace: str = "one") -> Ticket:
        def grant(want: Want) -> None:
            self.served.append(name)
            self.held.append((namespace, want.agent_id))

        return Ticket(namespace, grant)

    def ask(self, name: str, wants: int, namespace: str = "one", priority: int = 0, agent: str = "any") -> Ticket:
        ticket = self.ticket(name, namespace)
        self.slots.ask(ticket, [Want(f"t{n}", 1, agent) for n in range(wants)], priority)
        return ticket

    def work_off(self, times: int) -> list[str]:
        """Let so many attempts end, one after the other; return who was served meanwhile."""
        before = len(self.served)
        for _ in range(times):
            if self.held:
                self.slots.release(*self.held.pop(0))
        return self.served[before:]


def busy(total: int = 1, **options: object) -> Queue:
    """Return a queue whose slots are all taken by somebody else."""
    queue = Queue(Slots(total, **options))  # type: ignore[arg-type]
    queue.ask("holder", total, namespace="holder")
    return queue


def test_wants_are_served_at_once_while_slots_are_free() -> None:
    queue = Queue(Slots(3))
    queue.ask("a", 5)
    assert queue.served == ["a"] * 3
    assert (queue.slots.free, queue.slots.waiting) == (0, 2)


def test_one_tenants_crowd_delays_another_tenant_by_one_attempt() -> None:
    queue = busy()
    for number in range(1_000):
        queue.ask(f"crowd{number}", 1, "big")
    queue.work_off(3)
    queue.ask("mine", 1, "small")
    assert "mine" in queue.work_off(2)


def test_namespaces_share_by_weight() -> None:
    queue = busy(quotas=Quotas({"big": NamespaceQuota(weight=3.0)}))
    queue.ask("big", 300, "big")
    queue.ask("small", 300, "small")
    assert Counter(queue.work_off(100)) == {"big": 75, "small": 25}


def test_workflows_of_a_namespace_take_turns() -> None:
    queue = busy()
    for name in ("a", "b", "c"):
        queue.ask(name, 30)
    assert Counter(queue.work_off(30)) == {"a": 10, "b": 10, "c": 10}


def test_a_higher_priority_goes_first_within_its_namespace_only() -> None:
    queue = busy()
    queue.ask("low", 2)
    queue.ask("high", 2, priority=5)
    queue.ask("other", 2, "two")
    served = queue.work_off(6)
    assert [name for name in served if name != "other"] == ["high", "high", "low", "low"]
    assert "other" in served[:2]


def test_a_busy_high_priority_does_not_set_newcomers_below_it_back() -> None:
    queue = busy()
    queue.ask("old", 100)
    queue.ask("high", 50, priority=1)
    queue.work_off(50)
    queue.ask("new", 100)
    assert Counter(queue.work_off(20)) == {"old": 10, "new": 10}


def test_whoever_did_not_wait_saved_up_nothing() -> None:
    queue = busy()
    queue.ask("early", 200)
    queue.work_off(100)
    queue.ask("late", 200)
    assert Counter(queue.work_off(20)) == {"early": 10, "late": 10}


def test_an_agents_limit_holds_back_its_own_tasks_only() -> None:
    queue = Queue(Slots(10, per_agent={"slow": 1}))
    queue.ask("a", 3, agent="slow")
    queue.ask("b", 3, agent="quick")
    assert queue.served == ["a", "b", "b", "b"]
    assert queue.slots.waiting == 2
    assert queue.work_off(1) == ["a"]


def test_suspected_attempts_run_one_at_a_time_beside_all_others() -> None:
    slots = Slots(10)
    served: list[str] = []
    for name in ("a", "b"):
        ticket = Ticket("one", lambda want, name=name: served.append(f"{name} {want.task_id}"))  # type: ignore[misc]
        slots.ask(
            ticket, [Want("t0", 1, "any", suspected=True), Want("t1", 1, "any"), Want("t2", 1, "any", suspected=True)]
        )
    assert served == ["a t0", "a t1", "b t1"]
    assert slots.waiting == 3
    slots.release("one", "any")
    assert slots.waiting == 3
    slots.release("one", "any", suspected=True)
    assert served[3:] == ["a t2"]
    slots.release("one", "any", suspected=True)
    slots.release("one", "any", suspected=True)
    assert served[4:] == ["b t0", "b t2"]


def test_wants_that_are_taken_back_are_not_served() -> None:
    queue = busy()
    gone = queue.ask("gone", 5)
    queue.ask("stays", 1)
    queue.slots.ask(gone, ())
    assert queue.work_off(3) == ["stays"]
    assert queue.slots.free == 1


def test_asking_again_keeps_ones_place() -> None:
    queue = busy()
    first = queue.ask("first", 1)
    queue.ask("second", 1)
    for _ in range(100):
        queue.slots.ask(first, [Want("t0", 1, "any")])
    assert queue.work_off(1) == ["first"]


def test_a_closed_queue_serves_nobody_and_takes_slots_back() -> None:
    queue = busy()
    queue.ask("a", 1)
    queue.slots.close()
    assert queue.work_off(1) == []
    queue.ask("b", 1)
    assert (queue.served, queue.slots.free) == (["holder"], 1)


def test_namespaces_that_went_away_are_forgotten() -> None:
    queue = Queue(Slots(1))
    for number in range(3 * ROOMS_KEPT):
        queue.ask("once", 1, f"namespace{number}")
        queue.work_off(1)
    assert len(queue.slots._rooms) <= ROOMS_KEPT + 1


Step = tuple[int, str, int, int]
_steps = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from(["any", "rare", "scarce"]), st.integers(0, 4), st.sampled_from([-1, 0, 3])
    ),
    max_size=60,
)


def test_an_agent_that_is_held_back_waits_and_others_do_not() -> None:
    queue = Queue(Slots(5))
    queue.slots.hold_back("down")
    queue.ask("a", 3, agent="down")
    queue.ask("b", 2, "two", agent="down")
    queue.ask("c", 2)
    assert queue.served == ["c", "c"]
    queue.slots.let_one("down")
    assert len(queue.served) == 3
    queue.work_off(3)
    assert (len(queue.served), queue.slots.free, queue.slots.waiting) == (3, 5, 4)
    queue.slots.let_all("down")
    assert (len(queue.served), queue.slots.free, queue.slots.waiting) == (7, 1, 0)


@settings(max_examples=150, deadline=None)
@given(steps=_steps, total=st.integers(1, 5), cap=st.integers(1, 3), data=st.data())
def test_no_slot_is_lost_or_given_twice_whatever_happens(
    steps: list[Step], total: int, cap: int, data: st.DataObject
) -> None:
    limits = {"rare": 1, "scarce": 2}
    quotas = Quotas({"n0": NamespaceQuota(weight=2.0), "n1": NamespaceQuota(max_running_tasks=cap)})
    slots = Slots(total, per_agent=limits, quotas=quotas)
    held: list[tuple[str, Want]] = []

    def ticket_of(namespace: str) -> Ticket:
        return Ticket(namespace, lambda want: held.append((namespace, want)))

    tickets = [ticket_of(f"n{number % 2}") for number in range(4)]
    shut: set[str] = set()

    def give_back(namespace: str, want: Want) -> None:
        slots.release(namespace, want.agent_id, suspected=want.suspected)

    for number, agent, wants, priority in steps:
        back = data.draw(st.integers(-len(held), len(held)), label="which slot comes back, if any")
        if 0 <= back < len(held):
            give_back(*held.pop(back))
        for namespace in data.draw(st.sets(st.sampled_from(["n0", "n1"])), label="what is shut, or opened"):
            (slots.reopen if namespace in shut else slots.shut)(namespace)
            shut ^= {namespace}
        before = list(held)
        slots.ask(tickets[number], [Want(f"t{n}", 1, agent, n % 3 == 1) for n in range(wants)], priority)
        assert not {namespace for namespace, _ in held[len(before) :]} & shut
        assert sum(want.suspected for _, want in held) <= 1
        assert slots.free == total - len(held) >= 0
        for namespace in ("n0", "n1"):
            assert slots.running(namespace) == sum(whose == namespace for whose, _ in held)
        assert slots.running("n1") <= cap
        for name, limit in limits.items():
            assert slots.free_by_agent[name] == limit - sum(want.agent_id == name for _, want in held) >= 0
        assert slots.waiting == sum(len(ticket.wants) for ticket in tickets)
    for namespace in shut:
        slots.reopen(namespace)
    while held:  # Nobody who waits is forgotten.
        give_back(*held.pop(0))
    assert slots.waiting == sum(len(ticket.wants) for ticket in tickets) == 0


def test_a_namespace_at_its_quota_waits_and_leaves_what_is_free_to_others() -> None:
    queue = Queue(Slots(4, quotas=Quotas({"small": NamespaceQuota(max_running_tasks=2)})))
    queue.ask("small", 5, "small")
    queue.ask("big", 5, "big")
    assert Counter(queue.served) == {"small": 2, "big": 2}
    for _ in range(6):
        queue.work_off(1)
        assert queue.slots.running("small") <= 2
    assert Counter(queue.served) == {"small": 5, "big": 5}


def test_a_namespace_that_is_shut_keeps_its_place_and_goes_on_once_it_is_opened() -> None:
    queue = Queue(Slots(3))
    queue.slots.shut("red")
    queue.ask("red", 2, "red")
    queue.ask("blue", 1, "blue")
    assert queue.served == ["blue"]
    assert queue.slots.waiting == 2
    for number in range(ROOMS_KEPT + 5):  # Queues that are shut are not forgotten, however many others come.
        queue.slots.ask(queue.ticket("passing", f"n{number}"), [], 0)
        queue.ask("passing", 1, f"n{number}")
        queue.work_off(1)
    queue.slots.reopen("red")
    queue.work_off(3)
    assert queue.served[-2:] == ["red", "red"]
