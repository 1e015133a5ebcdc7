"""What a running job says and hears through Redis: progress out, cancel in.

Redis may be away at any time. Nothing here raises or waits long, and while it is away it is left
alone for a moment, so a render never notices.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import cast

import redis
import structlog
from redis.backoff import NoBackoff
from redis.client import Pipeline
from redis.retry import Retry
from redis.typing import EncodableT

from gateway.protocol import (
    MAX_PREVIEW_BYTES,
    PREVIEW_TTL_S,
    Progress,
    cancel_key,
    preview_key,
    progress_key,
)
from models.spec import Stage

STREAM_LENGTH = 64
STREAM_TTL_S = 3600
TIMEOUT_S = 1.0
AVOID_S = 2.0
"""How long Redis is left alone after a failure."""

MIN_INTERVAL_S = 0.25
"""Four progress messages a second are enough for any eye."""

log = structlog.stdlib.get_logger(__name__)
_ORDER = list(Stage)


class LiveChannel:
    """Progress streams and cancel keys; safe to use from several threads."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis.Redis.from_url(
            redis_url,
            socket_connect_timeout=TIMEOUT_S,
            socket_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._avoid_until = float("-inf")

    def publish(self, job_id: str, progress: Progress) -> None:
        """Append the newest position of a job to its stream."""
        key = progress_key(job_id)
        fields: dict[EncodableT, EncodableT] = dict(progress.to_fields().items())

        def append(pipeline: Pipeline) -> None:
            pipeline.xadd(key, fields, maxlen=STREAM_LENGTH, approximate=True)
            pipeline.expire(key, STREAM_TTL_S)

        self.send(append)

    def publish_preview(self, job_id: str, jpeg: bytes) -> str | None:
        """Keep `jpeg` as the newest preview frame of a job, for ten minutes.

        Returns its name, for `Progress.preview`; None if it is too large or Redis did not take it.
        """
        if len(jpeg) > MAX_PREVIEW_BYTES:
            log.warning("preview_too_large", job_id=job_id, size_bytes=len(jpeg))
            return None
        key = preview_key(job_id)
        kept = self._try(lambda: self._redis.set(key, jpeg, ex=PREVIEW_TTL_S))
        return hashlib.sha256(jpeg).hexdigest()[:16] if kept else None

    def send(self, fill: Callable[[Pipeline], None]) -> None:
        """Run the commands that `fill` puts into a pipeline, in one round trip, or none."""
        with self._redis.pipeline() as pipeline:
            fill(pipeline)
            self._try(pipeline.execute)

    def find_canceled(self, job_ids: Sequence[str]) -> set[str]:
        """Which of these jobs are to be dropped; none when Redis cannot say."""
        if not job_ids:
            return set()
        keys = [cancel_key(job_id) for job_id in job_ids]
        found = cast("list[bytes | None] | None", self._try(lambda: self._redis.mget(keys)))
        pairs = zip(job_ids, found or [None] * len(keys), strict=True)
        return {job_id for job_id, value in pairs if value is not None}

    def close(self) -> None:
        """Give the connections back."""
        self._redis.close()

    def _try(self, command: Callable[[], object]) -> object:
        if time.monotonic() < self._avoid_until:
            return None
        try:
            return command()
        except redis.RedisError as error:
            self._avoid_until = time.monotonic() + AVOID_S
            log.warning("live_channel_unavailable", reason=type(error).__name__)
            return None


class ProgressGate:
    """Decides which steps of a batch are worth a message: at most four a second, never backwards.

    A later stage passes at once, and so does a new preview frame. Frames are decoded while they
    are encoded; a step of a stage that is over for the viewer is dropped.
    """

    def __init__(self) -> None:
        self._stage = _ORDER[0]
        self._next_at = float("-inf")

    def passes(self, stage: Stage, *, has_preview: bool = False) -> bool:
        """Whether a step of `stage` that happened now is to be published."""
        rank, newest = _ORDER.index(stage), _ORDER.index(self._stage)
        now = time.monotonic()
        if rank < newest or (rank == newest and now < self._next_at and not has_preview):
            return False
        self._stage = stage
        self._next_at = now + MIN_INTERVAL_S
        return True
