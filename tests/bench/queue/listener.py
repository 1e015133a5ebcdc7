"""`python -m tests.bench.queue.listener REDIS_URL DATABASE_URL BELL`: claims for every delivery.

It is the real delivery loop of a worker host, with a claim on the database in place of one over
HTTP, as the other side has no HTTP either.
"""

import sys
import time

from redis import Redis

from gateway.db.session import Database
from tests.bench.queue.marks import STARTS
from tests.bench.queue.rig import Rig, join_bench
from workers.delivery import DeliveryWorker


def main(redis_url: str, database_url: str, bell: str) -> None:
    """Listen until killed."""
    rig = Rig(Database(database_url), 0)
    with join_bench(redis_url) as bench, Redis.from_url(redis_url) as redis:

        def serve() -> None:
            bench.claim(rig)
            redis.rpush(STARTS, time.monotonic())

        DeliveryWorker(bell, name=bell, connection=redis, serve=serve, beat=lambda: None).work(
            logging_level=None
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
