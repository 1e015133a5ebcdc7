"""Does a claim cost more when more jobs wait, and how does it stand next to bare RQ?

Every size has a database of its own, and they take turns, so that a busy moment of the machine
falls on all of them alike.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench.queue.rig import (
    Bench,
    Rig,
    make_rig,
    make_sqlite,
    open_bench,
    open_postgres,
)


@dataclass(frozen=True)
class ClaimFigures:
    """One database: medians in seconds by number of waiting jobs, and of bare RQ beside them."""

    database: str
    claim_s: dict[int, float]
    rq_s: float

    @property
    def spread(self) -> float:
        """How many times longer the slowest size takes than the quickest."""
        return max(self.claim_s.values()) / min(self.claim_s.values())

    @property
    def of_rq(self) -> float:
        """Claims at the largest size for each job that goes through bare RQ."""
        return self.rq_s / self.claim_s[max(self.claim_s)]

    def lines(self) -> list[str]:
        """Of the table."""
        return [
            f"  {self.database:12} {size:>9,} {claim_s * 1000:9.2f} {1 / claim_s:9.0f} "
            f"{self.rq_s / claim_s:9.2f}"
            for size, claim_s in self.claim_s.items()
        ]


def measure_claims(
    folder: Path, sizes: Sequence[int], rounds: int, repeats: int
) -> list[ClaimFigures]:
    """Time claims in SQLite and PostgreSQL, `repeats` of every size in each of `rounds` turns."""
    with ExitStack() as stack:
        bench = stack.enter_context(open_bench(folder))
        postgres = stack.enter_context(open_postgres(folder))
        rigs = {
            "SQLite": [make_rig(size, make_sqlite(folder, size)) for size in sizes],
            "PostgreSQL": [make_rig(size, postgres()) for size in sizes],
        }
        return [_measure(bench, name, rigs[name], rounds, repeats) for name in rigs]


def _measure(
    bench: Bench, name: str, rigs: Sequence[Rig], rounds: int, repeats: int
) -> ClaimFigures:
    for rig in rigs:
        bench.fill(rig)
    rq: list[float] = []
    for turn in range(rounds + 1):
        for rig in rigs:
            for _ in range(repeats):
                bench.submit_to_claim(rig)
        if turn == 0:
            # Caches, compiled statements, and the one daily grant.
            for rig in rigs:
                rig.claims.clear()
        rq += [_timed(bench.bare_rq) for _ in range(repeats)]
    for rig in rigs:
        rig.database.close()
    medians = {rig.num_waiting: statistics.median(rig.claims) for rig in rigs}
    return ClaimFigures(name, medians, statistics.median(rq))


def _timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
