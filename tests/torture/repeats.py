"""Nothing that is finished and stored is called again, and nothing is acted on before it is stored: judged by what was noted outside
the servers, and by what each of them left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from tests.torture.calls import BEGUN, ENDED, MODEL, TOOL, Call
from tests.torture.deaths import Death, End, Task
from tests.torture.working import ONCE_ONLY

Line = tuple[str, Call]


class Repeats:
    """What the calls of a whole run come to."""

    def __init__(self) -> None:
        self.begun: Counter[Call] = Counter()
        self.ended: Counter[Call] = Counter()
        self.although_stored: list[Call] = []
        """Called again by a later server, although the result had been stored. Must be empty."""
        self.cut_off: Counter[Call] = Counter()
        """How often a call had finished on its side when its server died before the commit."""
        self.late: Counter[Call] = Counter()
        """How often a call was begun once more by the same server: its answer had come after the end of its attempt."""
        self.in_doubt: set[Call] = set()
        """Calls that a death cut off, of tools that must not run twice."""
        self.wrong: list[str] = []
        """What must not happen, in words. Must be empty."""

    @property
    def again(self) -> Counter[Call]:
        """How often calls finished beyond the first time."""
        return Counter({call: times - 1 for call, times in self.ended.items() if times > 1})


def judge(lines: Sequence[Line], deaths: Sequence[Death], given_up: Collection[Task]) -> Repeats:
    """Go through a run. `given_up` are the tasks with attempts that ended without regard to their calls, as by a timeout."""
    judging = _Judging(given_up)
    start = 0
    for death in deaths:
        judging.take_life(lines[start : death.line], death)
        start = death.line
    found = judging.found
    if len(lines) > start:
        found.wrong.append(f"{len(lines) - start} lines were noted after the last server")
    for call, times in found.begun.items():
        if call.kind == TOOL and call.name.startswith(ONCE_ONLY) and times > 1:
            found.wrong.append(f"{call} ran {times} times")
    for call, times in found.again.items():
        if times > found.cut_off[call] + found.late[call]:
            found.wrong.append(f"{call} finished {times} times too often, cut off {found.cut_off[call]} times")
    return found


class _Judging:
    """One server's life after the other."""

    def __init__(self, given_up: Collection[Task]) -> None:
        self.found = Repeats()
        self._given_up = given_up
        self._stored: set[Call] = set()
        self._settled: set[Task] = set()
        self._lives = 0

    def take_life(self, life: Sequence[Line], death: Death) -> None:
        """Look at what one server did, and at what it left."""
        self._lives += 1
        ended: dict[Call, int] = {}
        for place, (word, call) in enumerate(life):
            if word == ENDED:
                self.found.ended[call] += 1
                ended[call] = place
            else:
                self._begun(call, ended)
        self._stored |= death.finished
        self._settled |= death.settled
        self.found.in_doubt |= death.in_doubt
        if death.end is End.ORDERLY:
            for task in sorted(death.running):
                self._blame(f"{task} still runs after an orderly stop")
        for call, place in ended.items():
            if not self._safe(call) and call.workflow_id in death.workflows:
                self._cut_off(call, life[place:], death.end)

    def _safe(self, call: Call) -> bool:
        return call in self._stored or call.task in self._settled

    def _begun(self, call: Call, ended: Collection[Call]) -> None:
        self.found.begun[call] += 1
        if self._safe(call):
            self.found.although_stored.append(call)
        elif call in ended:
            self.found.late[call] += 1
            if call.task not in self._given_up:
                self._blame(f"{call} again within one server")

    def _cut_off(self, call: Call, later: Sequence[Line], end: End) -> None:
        """A call had ended, and what came of it was not stored when the server died."""
        self.found.cut_off[call] += 1
        if call.task in self._given_up:
            return
        if end is End.ORDERLY:
            self._blame(f"{call} was lost by an orderly stop")
        acting = next((other for word, other in later if word == BEGUN and _acts_on(other, call)), None)
        if acting is not None:
            self._blame(f"{acting} acts on {call}, which is not stored")

    def _blame(self, what: str) -> None:
        self.found.wrong.append(f"server {self._lives}: {what}")


def _acts_on(later: Call, call: Call) -> bool:
    """Whether a call can only have been made because of what an earlier one answered."""
    if later.task != call.task or later == call:
        return False
    if call.kind == MODEL:
        return later.path == call.path or later.path.startswith(f"{call.path}/" if call.path else "")
    return later.kind == MODEL and later.path == call.path
