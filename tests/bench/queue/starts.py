"""From submit to start: our submit, doorbell and claim, next to RQ's enqueue and stock worker.

Both sides have worker processes of their own that wait in Valkey. Ours writes the job, its price
and its ledger entries to SQLite and is fair to accounts; RQ alone does none of it. The stock
worker forks for every job; `SimpleWorker`, which does not, is measured too.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from rq import Queue

from gateway.local.processes import Child
from tests.bench.queue.marks import STARTS
from tests.bench.queue.rig import ROOT, Bench, make_rig, make_sqlite, open_bench

PATIENCE_S = 60
STOCK, SIMPLE = "rq.worker.Worker", "rq.worker.SimpleWorker"
WARM_UP = 5
SETTLE_S = 0.05
"""Lets a worker put its last job away, so that every start finds it waiting."""


@dataclass(frozen=True)
class StartFigures:
    """Median seconds from submit to start: ours by waiting jobs, RQ's by class of worker."""

    ours_s: dict[int, float]
    rq_s: dict[str, float]

    @property
    def spread(self) -> float:
        """How many times longer the slowest size takes than the quickest."""
        return max(self.ours_s.values()) / min(self.ours_s.values())

    def of(self, worker_class: str) -> float:
        """How many times longer ours takes at the largest size."""
        return self.ours_s[max(self.ours_s)] / self.rq_s[worker_class]

    def lines(self) -> list[str]:
        """The table."""
        ours = [
            f"  Reelgate, {size:>7,} waiting  {value * 1000:8.1f}   x{value / self.rq_s[STOCK]:.2f}"
            f"   x{value / self.rq_s[SIMPLE]:.2f}"
            for size, value in self.ours_s.items()
        ]
        rq = [f"  {name:26} {value * 1000:8.1f}" for name, value in self.rq_s.items()]
        return ["start                            ms  of Worker  of SimpleWorker", *ours, *rq]


def measure_starts(folder: Path, sizes: Sequence[int], rounds: int, repeats: int) -> StartFigures:
    """Take turns among the sizes and both RQ workers, `repeats` starts in each of `rounds`."""
    with ExitStack() as stack:
        bench = stack.enter_context(open_bench(folder))
        sides: dict[int | str, Callable[[], None]] = {}
        for size in sizes:
            url = make_sqlite(folder, size)
            rig = make_rig(size, url)
            bench.fill(rig)
            bell = f"bench-{size}"
            arguments = ["tests.bench.queue.listener", bench.redis_url, url, bell]
            stack.enter_context(_process(folder, bell, arguments))
            sides[size] = lambda rig=rig, bell=bell: bench.submit(rig, bell)  # type: ignore[misc]
        for worker_class in (STOCK, SIMPLE):
            options = [
                "--url",
                bench.redis_url,
                "--worker-class",
                worker_class,
                "--path",
                str(ROOT),
            ]
            arguments = ["rq.cli", "worker", *options, worker_class]
            stack.enter_context(_process(folder, worker_class, arguments))
            sides[worker_class] = lambda name=worker_class: _enqueue(bench, name)  # type: ignore[misc]
        times = _take_turns(bench.redis, sides, rounds, repeats)
    medians = {side: statistics.median(values) for side, values in times.items()}
    return StartFigures(
        ours_s={side: value for side, value in medians.items() if isinstance(side, int)},
        rq_s={side: value for side, value in medians.items() if isinstance(side, str)},
    )


def _take_turns(
    redis: Redis, sides: dict[int | str, Callable[[], None]], rounds: int, repeats: int
) -> dict[int | str, list[float]]:
    times: dict[int | str, list[float]] = {side: [] for side in sides}
    for submit in sides.values():
        for _ in range(WARM_UP):
            _time_start(redis, submit)
    for _ in range(rounds):
        for side, submit in sides.items():
            times[side] += [_time_start(redis, submit) for _ in range(repeats)]
    return times


def _time_start(redis: Redis, submit: Callable[[], None]) -> float:
    time.sleep(SETTLE_S)
    began_at = time.monotonic()
    submit()
    while time.monotonic() < began_at + PATIENCE_S:
        # Shorter than what the client waits for any answer.
        found = redis.blpop([STARTS], timeout=1)
        if found is not None:
            return float(found[1]) - began_at
    raise TimeoutError(f"nothing started within {PATIENCE_S} s")


def _enqueue(bench: Bench, queue: str) -> None:
    Queue(queue, connection=bench.redis).enqueue_call(
        "tests.bench.queue.marks.note_start", result_ttl=0
    )


@contextmanager
def _process(folder: Path, name: str, arguments: Sequence[str]) -> Iterator[Child]:
    """A Python process of the bench."""
    child = Child(
        name,
        [sys.executable, "-m", *arguments],
        env={"PYTHONPATH": str(ROOT)},
        log_path=folder / f"{name}.log",
    )
    try:
        child.start()
        yield child
    finally:
        child.stop()
