"""Bad input by the thousand, for `make torture`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import settings

from tests.rpc.surface.methods import methods
from tests.rpc.surface.sequences import run_sequences
from tests.rpc.surface.trials import MODEST, Trials, check_log, try_damage, try_requests
from tests.rpc.surface.world import Place


def run_over_bad_input(folder: Path, examples: int, chance: int) -> Counter[str]:
    """Try so many requests of each kind as they are, and as many damaged ones, and sequences of requests; return how often which
    answer came. Another `chance` tries others. Fails as the tests do.
    """
    place = Place(folder, *methods(), "sequences")
    answers: Counter[str] = Counter()
    try:
        place.open()
        for name, method in methods().items():
            # A world for each: some requests use theirs up.
            trials = Trials(place.world(name), answers)
            try_requests(trials, method, settings(MODEST, max_examples=examples), chance)
            try_damage(trials, method, settings(MODEST, max_examples=examples), chance)
        how = settings(MODEST, max_examples=examples // 3, stateful_step_count=40)
        run_sequences(place.world("sequences"), answers, how, chance)
        check_log(place.log())
        return answers
    finally:
        place.close()
