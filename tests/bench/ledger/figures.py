"""Figures from latencies: medians, percentiles, rates."""

import statistics
from dataclasses import dataclass

from tests.bench.ledger.workload import Latency


@dataclass(frozen=True)
class Figures:
    """One side of a comparison.

    Attributes:
        per_s: transactions per second, the median of the rounds.
        work_p50_ms: the median without the commit, whose price is the disk's.
    """

    per_s: float
    p50_ms: float
    p99_ms: float
    work_p50_ms: float
    num_transactions: int


def summarise(rounds: list[list[Latency]]) -> Figures:
    """What the rounds of one side come to."""
    every = [latency for each in rounds for latency in each]
    totals = [latency.total_s for latency in every]
    return Figures(
        per_s=statistics.median(len(each) / sum(one.total_s for one in each) for each in rounds),
        p50_ms=1000 * statistics.median(totals),
        p99_ms=1000 * statistics.quantiles(totals, n=100, method="inclusive")[98],
        work_p50_ms=1000 * statistics.median(latency.work_s for latency in every),
        num_transactions=len(every),
    )
