"""One reader of the Redis streams for all open event streams of this process.

Nobody listens: no task, no connection, no cost. Somebody does: one task reads, in one blocking
command, every stream that any of them follows, and hands each subscription what it has not had.
While Redis is away subscriptions learn that too, and look into the database more often.
"""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.streams import START, Entry, StreamId, format_stream_id, parse_stream_id, read_entry

HEARTBEAT_S = 15.0
MAX_WAITING = 256
"""Entries kept for a slow client; the oldest go first, and it looks into the database instead."""

_BLOCK_S = 2.0
_SILENT_S = 2.0
_RETRY_S = 0.5
# A burst of steps is read in one go, not one by one.
_PACE_S = 0.05
_WAKE_TTL_S = 60
# One reads, one wakes the reader.
_MAX_CONNECTIONS = 2

log = structlog.get_logger()


class Subscription:
    """What one event stream follows, and what has come for it.

    Attributes:
        is_over: the process ends; so should the event stream.
    """

    def __init__(self, hub: "LiveHub") -> None:
        self.is_over = False
        self.positions: dict[str, StreamId] = {}
        self._hub = hub
        self._entries: deque[Entry] = deque(maxlen=MAX_WAITING)
        self._news = asyncio.Event()
        self._is_doubtful = False

    async def follow(self, after: Mapping[str, StreamId]) -> None:
        """Follow these streams and no others, each from behind an id or from where it is."""
        known = self.positions
        self.positions = {key: known.get(key, start) for key, start in after.items()}
        if self.positions.keys() - known.keys():
            await self._hub.wake()

    async def take(self, timeout_s: float) -> list[Entry]:
        """What has come, by id; waits for something, at most `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        self._news.clear()
        taken = sorted(self._entries, key=lambda entry: entry.id)
        self._entries.clear()
        return taken

    def take_doubt(self) -> bool:
        """Whether something may have been missed since the last call."""
        doubtful, self._is_doubtful = self._is_doubtful, False
        return doubtful

    def offer(self, entry: Entry) -> None:
        """Keep an entry, unless it is not followed or was had before."""
        position = self.positions.get(entry.key)
        if position is None or entry.id <= position:
            return
        self.positions[entry.key] = entry.id
        if len(self._entries) == MAX_WAITING:
            self._is_doubtful = True
        self._entries.append(entry)
        self._news.set()

    def doubt(self) -> None:
        """Something may have been missed."""
        self._is_doubtful = True
        self._news.set()

    def end(self) -> None:
        """The process ends."""
        self.is_over = True
        self._news.set()


class LiveHub:
    """The reader and its subscriptions; used from one event loop.

    Attributes:
        heartbeat_s: how often an event stream says that it lives, and looks into the database.
        is_up: whether Redis answered the last time.
    """

    def __init__(self, redis_url: str, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self.heartbeat_s = heartbeat_s
        self.is_up = True
        self._redis_url = redis_url
        self._subscriptions: set[Subscription] = set()
        self._task: asyncio.Task[None] | None = None
        self._adjusting = asyncio.Lock()
        self._redis: Redis | None = None
        self._wake_key = f"reelgate:wake:{secrets.token_hex(8)}"
        self._wake_position = START
        self._is_reading = False
        self._is_over = False

    @property
    def num_subscriptions(self) -> int:
        """Event streams that are open."""
        return len(self._subscriptions)

    @contextlib.asynccontextmanager
    async def subscribe(self) -> AsyncIterator[Subscription]:
        """A subscription, for as long as the block runs. The last one takes the reader along."""
        subscription = Subscription(self)
        subscription.is_over = self._is_over
        self._subscriptions.add(subscription)
        try:
            await self._adjust()
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            await self._adjust()

    async def wake(self) -> None:
        """Let the reader read anew, since somebody follows another stream."""
        if not self._is_reading or self._redis is None or not self.is_up:
            return
        # One is enough for all who follow something new before it reads again.
        self._is_reading = False
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xadd(self._wake_key, {"wake": "1"}, maxlen=1)
        pipeline.expire(self._wake_key, _WAKE_TTL_S)
        with contextlib.suppress(RedisError):
            await pipeline.execute()

    def end(self) -> None:
        """Let every event stream end; their clients go on at another process."""
        self._is_over = True
        for subscription in self._subscriptions:
            subscription.end()

    async def _adjust(self) -> None:
        """One reader if anybody listens, none if nobody does."""
        async with self._adjusting:
            if self._subscriptions and self._task is None:
                self._task = asyncio.create_task(self._run(), name="live-hub")
            elif not self._subscriptions and self._task is not None:
                # The Redis client now and then swallows a cancellation while it connects.
                while not self._task.done():
                    self._task.cancel()
                    await asyncio.wait([self._task], timeout=0.1)
                self._task = None

    async def _run(self) -> None:
        pool = BlockingConnectionPool.from_url(
            self._redis_url,
            max_connections=_MAX_CONNECTIONS,
            timeout=_SILENT_S,
            socket_connect_timeout=_SILENT_S,
            socket_timeout=_BLOCK_S + _SILENT_S,
            retry=Retry(NoBackoff(), 0),
        )
        async with Redis.from_pool(pool) as redis:
            self._redis = redis
            while True:
                await self._read_once(redis)

    async def _read_once(self, redis: Redis) -> None:
        try:
            answer = await self._read(redis)
            self._hand_out(answer)
        except Exception as error:  # noqa: BLE001 -- whatever it is, listeners must not hang on it
            self._note(is_up=False, error=type(error).__name__)
            await asyncio.sleep(_RETRY_S)
            return
        self._note(is_up=True)
        await asyncio.sleep(_PACE_S)

    async def _read(self, redis: Redis) -> Any:  # noqa: ANN401 -- streams with their entries
        positions = {self._wake_key: self._wake_position}
        for subscription in self._subscriptions:
            for key, position in subscription.positions.items():
                positions[key] = min(position, positions.get(key, position))
        self._is_reading = True
        try:
            return await redis.xread(
                {key: format_stream_id(position) for key, position in positions.items()},
                # Back from an outage, answer at once: there is news, if only that.
                block=int(_BLOCK_S * 1000) if self.is_up else 1,
            )
        finally:
            self._is_reading = False

    def _hand_out(self, answer: Any) -> None:  # noqa: ANN401 -- as `_read` gives it
        for raw_key, raw_entries in answer:
            key = raw_key.decode()
            if key == self._wake_key:
                self._wake_position = parse_stream_id(raw_entries[-1][0].decode()) or START
                continue
            entries = [read_entry(key, entry_id, fields) for entry_id, fields in raw_entries]
            for subscription in self._subscriptions:
                if key in subscription.positions:
                    for entry in entries:
                        subscription.offer(entry)

    def _note(self, *, is_up: bool, error: str | None = None) -> None:
        if is_up == self.is_up:
            return
        self.is_up = is_up
        log.warning("live_streams_back" if is_up else "live_streams_away", error=error)
        for subscription in self._subscriptions:
            subscription.doubt()
