"""Databases in which jobs wait, and a Valkey beside them: what claims and starts are timed on.

Half of the waiting jobs are one account's.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

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

ROOT = Path(__file__).parents[3]
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


@dataclass
class Bench:
    """What all rigs share."""

    plans: Plans
    prices: PriceList
    catalog: Catalog
    deliveries: DeliveryQueue
    redis: Redis
    redis_url: str

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
        self.submit(rig, POOL)
        self.dequeue(self.deliveries._queue(POOL))
        asked = time.perf_counter()
        self.claim(rig)
        rig.claims.append(time.perf_counter() - asked)

    def submit(self, rig: Rig, bell: str) -> None:
        """A job comes, and the delivery for it is rung in the queue of `bell`."""
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
        with rig.database.write() as connection:
            submit(
                connection,
                caller,
                order,
                plans=self.plans,
                prices=self.prices,
                now=datetime.now(UTC),
            )
        self.deliveries.ring(bell, [AttemptRef(job_id=job_id, attempt=0)])

    def bare_rq(self) -> None:
        """Enqueue and dequeue, as an application on RQ alone would."""
        queue = Queue("bare", connection=self.redis, serializer=JSONSerializer)
        queue.enqueue_call(DELIVERY_FUNCTION, timeout=-1, result_ttl=0, job_id=secrets.token_hex(8))
        self.dequeue(queue)

    def dequeue(self, queue: Queue) -> None:
        """What an RQ worker does first."""
        if Queue.dequeue_any([queue], None, connection=self.redis) is None:
            raise LookupError("nothing was rung")


def make_rig(size: int, url: str) -> Rig:
    """A rig on an empty database."""
    return Rig(Database(url), size)


def make_sqlite(folder: Path, size: int) -> str:
    """The URL of an empty SQLite database."""
    url = f"sqlite:///{folder / f'{size}.db'}"
    database = Database(url)
    upgrade(database)
    database.close()
    return url


@contextmanager
def open_postgres(folder: Path) -> Iterator[Callable[[], str]]:
    """A server of its own; calling what it yields makes an empty database and answers its URL."""
    server = PostgresServer(folder / "postgres")
    try:
        server.make_template()
        with ExitStack() as databases:
            yield lambda: databases.enter_context(server.fresh_database())
    finally:
        server.stop()


@contextmanager
def open_bench(folder: Path) -> Iterator[Bench]:
    """What all rigs share, with a Valkey that ends with it."""
    valkey = Valkey(folder / "valkey", folder / "valkey.log")
    valkey.start()
    try:
        with join_bench(valkey.url) as bench:
            yield bench
    finally:
        valkey.stop()


@contextmanager
def join_bench(redis_url: str) -> Iterator[Bench]:
    """What all rigs share, on a Valkey that runs."""
    plans = load_plans(ROOT / "tests" / "support" / "plans.yaml")
    rich = [
        plan.model_copy(update={"daily_points": 10**9, "max_queued": NO_CAP})
        for plan in with_caps(plans, **{plan.id: NO_CAP for plan in plans.plans}).plans
    ]
    catalog = load_catalog(ROOT / "configs" / "models.yaml")
    deliveries = DeliveryQueue(redis_url)
    try:
        with Redis.from_url(redis_url) as redis:
            yield Bench(
                plans=plans.model_copy(update={"plans": rich}),
                prices=load_prices(ROOT / "configs" / "pricing.yaml", catalog),
                catalog=catalog,
                deliveries=deliveries,
                redis=redis,
                redis_url=redis_url,
            )
    finally:
        deliveries.close()
