"""All benchmarks, or those named on the command line, by the names in `ALL`."""

from __future__ import annotations

import sys

from benchmarks import audit, context, disk, journal, main_job, memory, observed, people, recovery, scale

ALL = {
    "main": main_job.measure,
    "deltas": lambda: main_job.measure(deltas=50),
    "scale": scale.measure,
    "journal": journal.measure,
    "observed": observed.measure,
    "recovery": recovery.measure,
    "disk": disk.measure,
    "control": people.control,
    "waiting": people.waiting,
    "context": context.measure,
    "memory": memory.measure,
    "audit": audit.measure,
}


def main() -> None:
    """Run them one after the other."""
    chosen = sys.argv[1:] or list(ALL)
    unknown = [name for name in chosen if name not in ALL]
    if unknown:
        raise SystemExit(f"there is no benchmark {unknown[0]!r}: choose from {', '.join(ALL)}")
    for name in chosen:
        ALL[name]()


if __name__ == "__main__":
    main()
