"""Redis: deliveries, announcements and cancel flags out, progress in. It may lose any of it.

An RQ delivery is a doorbell: it tells some worker of a pool to ask the gateway for work. Who is
next is decided at that moment, in the database. So a lost delivery is rung again by housekeeping
and a repeated one finds nothing to do; no method here raises when Redis is away, except `check`.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog
from pydantic import ValidationError
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError
from redis.typing import EncodableT
from rq import Queue
from rq.serializers import JSONSerializer

from gateway.protocol import (
    DELIVERY_FUNCTION,
    AttemptRef,
    Progress,
    cancel_key,
    preview_key,
    progress_key,
    queue_name,
)
from gateway.streams import (
    START,
    Announcement,
    Change,
    Entry,
    StreamId,
    account_key,
    format_stream_id,
    read_entry,
)

# A delivery that waited a day is rung again by housekeeping, should its job still wait.
_DELIVERY_TTL_S = 86_400
_CANCEL_FLAG_TTL_S = 3_600
_STREAM_TTL_S = 3_600
_JOB_STREAM_LENGTH = 64
_ACCOUNT_STREAM_LENGTH = 256
# How long Redis is left alone after a failure, by what can do without it altogether.
_AVOID_S = 2.0

log = structlog.get_logger()


class DeliveryQueue:
    """The gateway's side of Redis."""

    def __init__(self, redis_url: str) -> None:
        # Short limits: a silent Redis must not hold up requests that can do without it.
        self._redis: Redis = Redis.from_url(redis_url, socket_connect_timeout=1, socket_timeout=2)
        self._avoid_until = float("-inf")

    def ring(self, pool: str, waiting: Iterable[AttemptRef]) -> bool:
        """Enqueue one delivery for each waiting job; False if Redis is away."""

        def enqueue() -> bool:
            queue = self._queue(pool)
            with self._redis.pipeline() as pipeline:
                for ref in waiting:
                    self._enqueue(queue, ref, pipeline)
                pipeline.execute()
            return True

        return bool(self._try(enqueue))

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
        newest = self._try(lambda: self._redis.xrevrange(progress_key(job_id), count=1))
        fields = newest[0][1] if newest else None
        if not fields:
            return None
        try:
            progress = Progress.from_fields(fields)
        except (ValidationError, UnicodeDecodeError):
            return None
        return progress if progress.attempt == attempt else None

    def flag_cancel(self, job_id: str) -> None:
        """Let the worker that runs this job see within one step that it is canceled."""
        try:
            self._redis.set(cancel_key(job_id), "1", ex=_CANCEL_FLAG_TTL_S)
        except RedisError as error:
            # The worker hears it with its next heartbeat.
            log.warning("cancel_not_flagged", job_id=job_id, error=type(error).__name__)

    def announce(self, change: Change, owners: Mapping[str, str]) -> None:
        """Tell whoever listens that jobs changed; call it after the commit.

        Args:
            change: what happened to each of them.
            owners: account id by job id.
        """

        def append(pipeline: Pipeline) -> None:
            for job_id, account_id in owners.items():
                told = Announcement(job_id=job_id, change=change).to_fields()
                fields: dict[EncodableT, EncodableT] = dict(told.items())
                for key, length in (
                    (progress_key(job_id), _JOB_STREAM_LENGTH),
                    (account_key(account_id), _ACCOUNT_STREAM_LENGTH),
                ):
                    pipeline.xadd(key, fields, maxlen=length, approximate=True)
                    pipeline.expire(key, _STREAM_TTL_S)

        self._try(lambda: self._run(append))

    def read_streams(self, after: Mapping[str, StreamId | None]) -> list[Entry]:
        """Entries of several streams behind the ids given, by id; none if Redis is away.

        A stream given with None yields its newest entry alone.
        """

        def ask(pipeline: Pipeline) -> None:
            for key, stream_id in after.items():
                if stream_id is None:
                    pipeline.xrevrange(key, count=1)
                elif stream_id == START:
                    pipeline.xrange(key)
                else:
                    pipeline.xrange(key, min=f"({format_stream_id(stream_id)}")

        answers = self._try(lambda: self._run(ask)) or []
        entries = [
            read_entry(key, entry_id, fields)
            for key, answer in zip(after, answers, strict=False)
            for entry_id, fields in answer
        ]
        return sorted(entries, key=lambda entry: entry.id)

    def find_preview(self, job_id: str) -> bytes | None:
        """The newest preview frame of a job, a JPEG."""
        found: bytes | None = self._try(lambda: self._redis.get(preview_key(job_id)))
        return found

    def check(self) -> None:
        """Prove that Redis answers.

        Raises:
            RedisError: it does not.
        """
        self._redis.ping()

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _run(self, fill: Callable[[Pipeline], None]) -> list[Any]:
        with self._redis.pipeline(transaction=False) as pipeline:
            fill(pipeline)
            return list(pipeline.execute())

    def _try(self, command: Callable[[], Any]) -> Any:  # noqa: ANN401 -- whatever the command answers
        """What `command` answers; None while Redis is away, without asking it each time."""
        if time.monotonic() < self._avoid_until:
            return None
        try:
            return command()
        except RedisError as error:
            self._avoid_until = time.monotonic() + _AVOID_S
            log.warning("redis_left_alone", error=type(error).__name__, for_s=_AVOID_S)
            return None

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
