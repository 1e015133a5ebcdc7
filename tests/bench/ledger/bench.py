"""The whole measurement on one kind of database."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tests.bench.ledger.backends import Backend
from tests.bench.ledger.fill import Filled, fill
from tests.bench.ledger.past.frame import Frame
from tests.bench.ledger.scale import Scale, measure_scale
from tests.bench.ledger.throughput import Throughput, measure_throughput
from tests.bench.ledger.workload import Workload, make_requests

SMALL_JOBS = 1_000
JOBS_PER_SMALL_ACCOUNT = 10
SMALL, LARGE = "small", "large"


@dataclass(frozen=True)
class Plan:
    """What to measure. The large database has `num_jobs` and `num_accounts`."""

    num_jobs: int
    num_accounts: int
    num_rounds: int
    num_submits: int
    now: datetime
    is_kept: bool


@dataclass(frozen=True)
class Outcome:
    """What came out for one kind of database. `fill_s`: seconds to fill the large one."""

    version: str
    throughput: Throughput
    scale: Scale
    tables: list[Filled]
    fill_s: float


def measure(
    backend: Backend, plan: Plan, workload: Workload, *, say: Callable[[str], None]
) -> Outcome:
    """Throughput in the small database, then latency in the small and the large one."""
    rng = random.Random(plan.num_jobs)  # noqa: S311 -- a repeatable draw, not a secret
    small = _frame(backend, SMALL_JOBS, SMALL_JOBS // JOBS_PER_SMALL_ACCOUNT, plan, workload)
    large = _frame(backend, plan.num_jobs, plan.num_accounts, plan, workload)
    for name in (SMALL, LARGE):
        backend.create(name)
    fill(backend, SMALL, small)
    say(f"{backend.name}: throughput")
    rounds = [
        make_requests(workload, rng.choices(small.account_ids(), k=plan.num_submits), plan.now)
        for _ in range(plan.num_rounds + 1)
    ]
    throughput = measure_throughput(backend, SMALL, rounds, workload)
    say(f"{backend.name}: filling in {plan.num_jobs} jobs of {plan.num_accounts} accounts")
    tables, fill_s = fill(backend, LARGE, large)
    say(f"{backend.name}: latency, after {fill_s:.0f} s of filling")
    scale = measure_scale(
        backend,
        {SMALL: small, LARGE: large},
        num_rounds=plan.num_rounds,
        num_submits=plan.num_submits,
        workload=workload,
        rng=rng,
    )
    if not plan.is_kept:
        backend.drop(LARGE)
    return Outcome(backend.version, throughput, scale, tables, fill_s)


def _frame(
    backend: Backend, num_jobs: int, num_accounts: int, plan: Plan, workload: Workload
) -> Frame:
    return Frame(num_jobs, num_accounts, workload, plan.now, is_sqlite=backend.name == "sqlite")
