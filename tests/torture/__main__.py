"""The long torture, within ten minutes: `make torture`. Prints what it came to; fails at the first thing that is wrong."""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.rpc.surface.campaign import run_over_bad_input
from tests.torture.calls import BEGUN, ENDED, MODEL, TOOL
from tests.torture.checks import Ledger
from tests.torture.faults import JOURNALED
from tests.torture.kills import STATES, Report, Scale, missing, run_over_kills
from tests.torture.overload import figures, run_overload
from tests.torture.power import CutReport, run_over_cuts
from tests.torture.recording import available

LONG = Scale(
    clients=20,
    states=(*STATES, *JOURNALED),
    random_kills=200,
    cold_every=20,
    orderly_every=8,
    commit_points_s=40,
)
RECORDED_S = 8.0
CUTS = 200
BAD_INPUTS = 150
"""Of each kind for each method."""


def show(name: str, value: object) -> None:
    print(f"{name:<58}{value:>12}", flush=True)


def show_kills(report: Report) -> None:
    ledger = report.ledger
    show("kills survived", report.kills["at random"] + report.kills["at a commit point"])
    show("  at random", report.kills["at random"])
    show("  at a commit point", report.kills["at a commit point"])
    show("cold starts", report.kills["after a cold start"])
    show("orderly stops", report.kills["stopped in good order"])
    show("orderly stops cut short by a second SIGTERM", report.kills["stopped by a second SIGTERM"])
    show("commit points × states × events hit", len(report.situations))
    show("commit points × states missed", len(missing(report.situations, LONG.states)))
    show("workflows finished", ledger.workflows)
    show("watch histories equal to the log", ledger.histories)
    show("events in them", ledger.events)
    show("commands repeated, with the first answer", report.repetitions)
    show("attempts lost with their server", ledger.lost_attempts)
    show("workflows failed because of losses in a row", ledger.given_up)
    show_calls(ledger)


def show_calls(ledger: Ledger) -> None:
    repeats = ledger.repeats
    for kind in (MODEL, TOOL):
        show(f"{kind} calls begun, counted outside the server", ledger.calls(kind, BEGUN))
        show(f"{kind} calls finished", ledger.calls(kind, ENDED))
    show("calls repeated although stored", len(repeats.although_stored))
    show("answers cut off before their commit", repeats.cut_off.total())
    show("answers that came after their attempt's time", repeats.late.total())
    show("calls finished again, each for one of these", repeats.again.total())
    show("tools that must not run twice, cut off", len(repeats.in_doubt))
    show("  tasks that asked a person about it", ledger.asked_in_doubt)


def show_cuts(report: CutReport) -> None:
    show("writes, truncations and fsyncs recorded", report.operations)
    show("  of them fsyncs", report.syncs)
    show("power cuts that reopened clean", report.cuts)
    show("acknowledgements and events told before them, all found", report.acknowledged)


def show_bad_input(answers: Counter[str]) -> None:
    show("bad inputs tried, over all methods", answers.total())
    show("  refused as documented, with nothing changed", answers.total() - answers["OK"])
    show("  different answers", len(answers))


def main() -> None:
    """Torture, then print."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1_000_000)
    show("seed", seed)
    folder = Path(tempfile.mkdtemp(prefix="orcs-torture-"))
    start = time.monotonic()
    try:
        for name in ("kills", "power", "input", "overload"):
            (folder / name).mkdir()
        show_kills(asyncio.run(run_over_kills(folder / "kills", LONG, seed)))
        if available():
            show_cuts(asyncio.run(run_over_cuts(folder / "power", RECORDED_S, CUTS, seed)))
        else:
            print("power cuts: skipped, the functions of Python's own SQLite cannot be reached")
        for name, value in figures(*run_overload(folder / "overload")):
            show(name, value)
        show_bad_input(run_over_bad_input(folder / "input", BAD_INPUTS, seed))
    except BaseException:
        print(f"the files are left in {folder}", flush=True)
        raise
    shutil.rmtree(folder)
    show("seconds", round(time.monotonic() - start))


if __name__ == "__main__":
    main()
