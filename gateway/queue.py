"""Redis: deliveries out, progress in, cancel flags out. It may lose or repeat all of it.

An RQ delivery is a doorbell: it tells some worker of a pool to ask the gateway for work. Who is
next is decided at that moment, in the database. So a lost delivery is rung again by housekeeping
and a repeated one finds nothing to do; no method here raises when Redis is away, except `check`.
"""

from collections.abc import Iterable

import structlog
from pydantic import ValidationError
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError
from rq import Queue
from rq.serializers import JSONSerializer

from gateway.protocol import (
    DELIVERY_FUNCTION,
    AttemptRef,
    Progress,
    cancel_key,
    progress_key,
    queue_name,
)

# A delivery that waited a day is rung again by housekeeping, should its job still wait.
_DELIVERY_TTL_S = 86_400
_CANCEL_FLAG_TTL_S = 3_600

log = structlog.get_logger()


class DeliveryQueue:
    """The gateway's side of Redis."""

    def __init__(self, redis_url: str) -> None:
        # Short limits: a silent Redis must not hold up requests that can do without it.
        self._redis: Redis = Redis.from_url(redis_url, socket_connect_timeout=1, socket_timeout=2)

    def ring(self, pool: str, waiting: Iterable[AttemptRef]) -> bool:
        """Enqueue one delivery for each waiting job; False if Redis is away."""
        try:
            queue = self._queue(pool)
            with self._redis.pipeline() as pipeline:
                for ref in waiting:
                    self._enqueue(queue, ref, pipeline)
                pipeline.execute()
        except RedisError as error:
            log.warning("delivery_not_rung", pool=pool, error=type(error).__name__)
            return False
        return True

    def ring_missing(self, pool: str, waiting: list[AttemptRef]) -> int:
        """Enqueue deliveries for those jobs of `waiting` that have none; how many that were."""
        try:
            present = set(self._redis.lrange(self._queue(pool).key, 0, -1))
        except RedisError:
            return 0
        missing = [ref for ref in waiting if _delivery_id(ref).encode() not in present]
        return len(missing) if missing and self.ring(pool, missing) else 0

    def num_deliveries(self, pool: str) -> int | None:
        """Deliveries that wait; None if Redis is away."""
        try:
            return int(self._redis.llen(self._queue(pool).key))
        except RedisError:
            return None

    def find_progress(self, job_id: str, attempt: int) -> Progress | None:
        """The newest progress of this attempt, if a worker has told of any."""
        try:
            newest = self._redis.xrevrange(progress_key(job_id), count=1)
            fields = newest[0][1] if newest else None
            if not fields:
                return None
            progress = Progress.from_fields(fields)
        except (RedisError, ValidationError):
            return None
        return progress if progress.attempt == attempt else None

    def flag_cancel(self, job_id: str) -> None:
        """Let the worker that runs this job see within one step that it is canceled."""
        try:
            self._redis.set(cancel_key(job_id), "1", ex=_CANCEL_FLAG_TTL_S)
        except RedisError as error:
            # The worker hears it with its next heartbeat.
            log.warning("cancel_not_flagged", job_id=job_id, error=type(error).__name__)

    def check(self) -> None:
        """Prove that Redis answers.

        Raises:
            RedisError: it does not.
        """
        self._redis.ping()

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _queue(self, pool: str) -> Queue:
        return Queue(queue_name(pool), connection=self._redis, serializer=JSONSerializer)

    def _enqueue(self, queue: Queue, ref: AttemptRef, pipeline: Pipeline) -> None:
        queue.enqueue_call(
            DELIVERY_FUNCTION,
            job_id=_delivery_id(ref),
            timeout=-1,
            ttl=_DELIVERY_TTL_S,
            result_ttl=0,
            failure_ttl=0,
            pipeline=pipeline,
        )


def _delivery_id(ref: AttemptRef) -> str:
    """The RQ id of the delivery for the attempt that follows `ref.attempt` finished ones."""
    return f"{ref.job_id}-a{ref.attempt + 1}"
