"""`python -m tests.bench.queue`: does a claim cost more when more jobs wait, and next to bare RQ?

Every size has a database of its own, and they take turns, so that a busy moment of the machine
falls on all of them alike. Half of the waiting jobs are one account's.
"""

import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Annotated

import typer
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy import text

from gateway.accounts.service import Caller, Scope
from gateway.db.migrate import upgrade
from gateway.db.session import Database
from gateway.domain.plans import Plans, load_plans
from gateway.domain.pricing import PriceList, load_prices
from gateway.jobs.claim import claim
from gateway.jobs.idempotency import KEY_TTL, RequestIdentity
from gateway.jobs.lane_repair import rebuild_lanes
from gateway.jobs.submit import Order, submit
from gateway.local.valkey import Valkey
from gateway.protocol import DELIVERY_FUNCTION, AttemptRef
from gateway.queue import DeliveryQueue
from models.catalog import Catalog, load_catalog
from tests.support.postgres import PostgresServer
from tests.support.waiting import POOL, Want, add_accounts, add_jobs, spec_of, with_caps

ROOT = Path(__file__).parents[2]
SIZES = (10, 1_000, 100_000)
NUM_ACCOUNTS = 100
NO_CAP = 10**6
_CHUNK = 5_000
_numbers = count()


@dataclass
class Rig:
    """One database with so many waiting jobs, and what was timed on it, in seconds."""

    database: Database
    num_waiting: int
    claims: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)


@dataclass
class Bench:
    """What all rigs share."""

    plans: Plans
    prices: PriceList
    catalog: Catalog
    deliveries: DeliveryQueue
    redis: Redis
    rq: list[float] = field(default_factory=list)

    def fill(self, rig: Rig) -> None:
        """Let the jobs wait."""
        now = datetime.now(UTC)
        names = [f"acc_{number:04}" for number in range(NUM_ACCOUNTS)]
        wants = [
            Want(names[0] if number % 2 else names[number // 2 % NUM_ACCOUNTS])
            for number in range(rig.num_waiting)
        ]
        with rig.database.write() as connection:
            add_accounts(connection, dict.fromkeys([*names, "acc_new"], "top"), now=now)
            for start in range(0, len(wants), _CHUNK):
                add_jobs(connection, wants[start : start + _CHUNK], now=now)
            rebuild_lanes(connection, self.plans)
            connection.execute(text("ANALYZE"))

    def claim(self, rig: Rig) -> None:
        """One claim, as the worker API makes it."""
        with rig.database.write() as connection:
            claimed = claim(
                connection,
                POOL,
                "bench",
                limit=1,
                lease_s=60,
                plans=self.plans,
                now=datetime.now(UTC),
                loaded_model="reel-tiny",
                swap_s=30,
                catalog=self.catalog,
            )
        if not claimed:
            raise LookupError("nothing was claimed")

    def submit_to_claim(self, rig: Rig) -> None:
        """A job comes, its delivery is rung and taken, and something is claimed for it.

        As many jobs wait afterwards as before.
        """
        job_id = f"video_new{next(_numbers):020}"
        order = Order(
            job_id=job_id,
            card=self.catalog.default,
            spec=spec_of(Want("acc_new")),
            image=None,
            client_metadata={},
            identity=RequestIdentity(f"key:{job_id}", job_id, KEY_TTL, replays=False),
        )
        caller = Caller("acc_new", "key", is_suspended=False, scope=Scope.CLIENT)
        began = time.perf_counter()
        with rig.database.write() as connection:
            submit(
                connection,
                caller,
                order,
                plans=self.plans,
                prices=self.prices,
                now=datetime.now(UTC),
            )
        self.deliveries.ring(POOL, [AttemptRef(job_id=job_id, attempt=0)])
        self.dequeue(self.deliveries._queue(POOL))
        asked = time.perf_counter()
        self.claim(rig)
        ended = time.perf_counter()
        rig.claims.append(ended - asked)
        rig.latencies.append(ended - began)

    def bare_rq(self) -> None:
        """Enqueue and dequeue, as an application on RQ alone would."""
        queue = Queue("bare", connection=self.redis, serializer=JSONSerializer)
        queue.enqueue_call(DELIVERY_FUNCTION, timeout=-1, result_ttl=0, job_id=secrets.token_hex(8))
        self.dequeue(queue)

    def dequeue(self, queue: Queue) -> None:
        """What an RQ worker does first."""
        if Queue.dequeue_any([queue], None, connection=self.redis) is None:
            raise LookupError("nothing was rung")


def main(
    rounds: Annotated[int, typer.Option(help="Turns of every size.")] = 8,
    repeats: Annotated[int, typer.Option(help="Jobs of one turn.")] = 25,
) -> None:
    """Measure and print."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bench = stack.enter_context(_bench(folder))
        postgres = stack.enter_context(_postgres(folder))
        typer.echo(f"{'':10} {'waiting':>8} {'claim':>9} {'claims/s':>9} {'submit to claim':>16}")
        spreads = [
            _measure(bench, name, rigs, rounds, repeats)
            for name, rigs in (
                ("SQLite", [_rig(size, _sqlite(folder, size)) for size in SIZES]),
                ("PostgreSQL", [_rig(size, postgres()) for size in SIZES]),
            )
        ]
        rq = statistics.median(bench.rq)
        typer.echo(f"{'bare RQ':10} {'':>8} {_ms(rq)} {1 / rq:9.0f}    enqueue and dequeue")
        typer.echo(
            f"from {SIZES[0]} to {SIZES[-1]:,} waiting jobs a claim takes at most "
            f"{max(slow for slow, _ in spreads):.2f} times as long; at {SIZES[-1]:,} it makes "
            f"{rq / spreads[0][1]:.2f} (SQLite) and "
            f"{rq / spreads[1][1]:.2f} (PostgreSQL) claims for each job through bare RQ"
        )


def _measure(
    bench: Bench, name: str, rigs: list[Rig], rounds: int, repeats: int
) -> tuple[float, float]:
    """How many times longer the slowest size takes than the quickest; a claim of the largest."""
    for rig in rigs:
        bench.fill(rig)
    for turn in range(rounds + 1):
        for rig in rigs:
            for _ in range(repeats):
                bench.submit_to_claim(rig)
        if turn == 0:
            # Caches, compiled statements, and the one daily grant.
            for rig in rigs:
                rig.claims.clear()
                rig.latencies.clear()
        bench.rq += [_timed(bench.bare_rq) for _ in range(repeats)]
    medians = [statistics.median(rig.claims) for rig in rigs]
    for rig, claim_s in zip(rigs, medians, strict=True):
        latency_s = statistics.median(rig.latencies)
        typer.echo(
            f"{name:10} {rig.num_waiting:>8,} {_ms(claim_s)} {1 / claim_s:9.0f} "
            f"{_ms(latency_s):>16}"
        )
        rig.database.close()
    return max(medians) / min(medians), medians[-1]


def _rig(size: int, url: str) -> Rig:
    return Rig(Database(url), size)


def _sqlite(folder: Path, size: int) -> str:
    url = f"sqlite:///{folder / f'{size}.db'}"
    database = Database(url)
    upgrade(database)
    database.close()
    return url


@contextmanager
def _postgres(folder: Path) -> Iterator[Callable[[], str]]:
    server = PostgresServer(folder / "postgres")
    try:
        server.make_template()
        with ExitStack() as databases:
            yield lambda: databases.enter_context(server.fresh_database())
    finally:
        server.stop()


@contextmanager
def _bench(folder: Path) -> Iterator[Bench]:
    plans = load_plans(ROOT / "tests" / "support" / "plans.yaml")
    rich = [
        plan.model_copy(update={"daily_points": 10**9, "max_queued": NO_CAP})
        for plan in with_caps(plans, **{plan.id: NO_CAP for plan in plans.plans}).plans
    ]
    catalog = load_catalog(ROOT / "configs" / "models.yaml")
    valkey = Valkey(folder / "valkey", folder / "valkey.log")
    valkey.start()
    deliveries = DeliveryQueue(valkey.url)
    try:
        with Redis.from_url(valkey.url) as redis:
            yield Bench(
                plans=plans.model_copy(update={"plans": rich}),
                prices=load_prices(ROOT / "configs" / "pricing.yaml", catalog),
                catalog=catalog,
                deliveries=deliveries,
                redis=redis,
            )
    finally:
        deliveries.close()
        valkey.stop()


def _timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:6.2f} ms"


if __name__ == "__main__":
    typer.run(main)
