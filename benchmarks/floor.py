"""The floor: the same tasks under bare `Runner.run` and asyncio, in one process, with nothing durable and nobody watching."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

from agents import Agent, RunConfig, Runner, set_tracing_disabled

from benchmarks.instant import ANSWER, INSTRUCTIONS, InstantModel

WIDTH = 8


async def workflow(model: InstantModel, config: RunConfig, shared: Agent[None] | None) -> None:
    """Run 1 -> 8 -> 1 tasks, each getting its predecessors' answers."""

    async def task(name: str, earlier: list[str]) -> str:
        agent = shared or Agent(name="instant_agent", instructions=INSTRUCTIONS, model=model)
        text = f"# Task: {name}\n\nAnswer the question of task {name}.\n" + "\n".join(earlier)
        result = await Runner.run(agent, text, run_config=config)
        return str(result.final_output)

    first = await task("t1", [])
    middle = await asyncio.gather(*(task(f"t{index + 2}", [first]) for index in range(WIDTH)))
    last = await task(f"t{WIDTH + 2}", list(middle))
    assert last.startswith(ANSWER)


async def measure(concurrency: int, total: int, *, fresh: bool) -> dict[str, float | list[float]]:
    """Run `total` workflows, `concurrency` at a time; return wall and CPU seconds and every latency."""
    model = InstantModel()
    config = RunConfig(tracing_disabled=True)
    shared = None if fresh else Agent[None](name="instant_agent", instructions=INSTRUCTIONS, model=model)
    latencies: list[float] = []
    left = iter(range(total))

    async def worker() -> None:
        for _ in left:
            began = time.perf_counter()
            await workflow(model, config, shared)
            latencies.append(time.perf_counter() - began)

    await asyncio.gather(*(worker() for _ in range(min(concurrency, 4))))  # warm-up takes part of `total`
    latencies.clear()
    left = iter(range(total))
    before, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    wall = time.perf_counter() - began
    return {
        "wall_s": wall,
        "cpu_s": time.process_time() - before,
        "latencies_s": latencies,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Print the better of a shared and a fresh agent, as JSON. Arguments: concurrency, workflows."""
    set_tracing_disabled(True)
    concurrency, total = int(sys.argv[1]), int(sys.argv[2])
    runs = [asyncio.run(measure(concurrency, total, fresh=fresh)) for fresh in (False, True)]
    best = min(runs, key=lambda run: float(run["wall_s"]))  # type: ignore[arg-type]
    sys.stdout.write(json.dumps(best))


if __name__ == "__main__":
    main()
