"""`/v1/videos/{id}/events`, `/v1/events`: live progress as Server-Sent Events; and preview frames.

Clients that reconnect send `Last-Event-ID` and go on where they were. What is announced in Redis is
told at once; what Redis lost is found in the database, by the next heartbeat at the latest.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Header, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, format_sse_event
from sqlalchemy.exc import DBAPIError

from gateway.api.deps import CallerDep, ServicesDep
from gateway.api.v1.feed import Feed
from gateway.domain.errors import NotFound
from gateway.jobs.repository import find_own_job
from gateway.live import LiveHub, Subscription
from gateway.streams import Entry, format_stream_id, parse_stream_id

RECONNECT_MS = 1000
LOOK_WITHOUT_REDIS_S = 2.0
LOOK_WHILE_WAITING_S = 5.0
# Then the client connects anew, and its key is looked at again.
LONGEST_STREAM_S = 3600.0
_HEADERS = {
    "Cache-Control": "no-cache",
    # Tells nginx to hand events on one by one.
    "X-Accel-Buffering": "no",
}
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `queued`, `progress` and `terminal`, each with JSON in `data`.",
        "content": {"text/event-stream": {}},
    }
}
_NO_MORE: dict[int | str, dict[str, Any]] = {
    204: {"description": "The client has had the end; there is nothing to reconnect for."}
}

log = structlog.get_logger()
router = APIRouter(prefix="/v1", tags=["events"])


async def get_subscription(services: ServicesDep) -> AsyncIterator[Subscription]:
    """A place at the reader of this process, given back when the connection has closed."""
    async with services.live.subscribe() as subscription:
        yield subscription


SubscriptionDep = Annotated[Subscription, Depends(get_subscription)]
LastEventId = Annotated[str | None, Header()]


@router.get(
    "/videos/{video_id}/events", response_class=StreamingResponse, responses={**_STREAM, **_NO_MORE}
)
async def video_events(
    video_id: str,
    caller: CallerDep,
    services: ServicesDep,
    subscription: SubscriptionDep,
    last_event_id: LastEventId = None,
) -> Response:
    """One job: its place, its progress, and its end, with which the stream ends too."""
    resume_after = parse_stream_id(last_event_id)
    feed = Feed(services, caller.account_id, video_id=video_id, resume_after=resume_after)
    entries = await run_in_threadpool(feed.open)
    if feed.is_over:
        return Response(status_code=204)
    return _stream(feed, entries, subscription, services.live)


@router.get("/events", response_class=StreamingResponse, responses=_STREAM)
async def account_events(
    caller: CallerDep,
    services: ServicesDep,
    subscription: SubscriptionDep,
    last_event_id: LastEventId = None,
) -> Response:
    """Every job of the caller, on one connection that stays open."""
    feed = Feed(services, caller.account_id, resume_after=parse_stream_id(last_event_id))
    entries = await run_in_threadpool(feed.open)
    return _stream(feed, entries, subscription, services.live)


@router.get("/videos/{video_id}/preview", response_class=Response)
def get_preview(video_id: str, caller: CallerDep, services: ServicesDep) -> Response:
    """The newest preview frame of a running job, a small JPEG; 404 if there is none."""
    with services.database.read() as connection:
        job = find_own_job(connection, caller.account_id, video_id)
    jpeg = services.queue.find_preview(video_id) if job else None
    if jpeg is None:
        raise NotFound(f"no preview of video {video_id}", param="video_id")
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(jpeg, media_type="image/jpeg", headers=headers)


def _stream(
    feed: Feed, entries: list[Entry], subscription: Subscription, live: LiveHub
) -> EventSourceResponse:
    events = _events(feed, entries, subscription, live)
    return EventSourceResponse(events, headers=_HEADERS)


async def _events(
    feed: Feed, entries: list[Entry], subscription: Subscription, live: LiveHub
) -> AsyncIterator[bytes]:
    """Events until the feed is over, the process ends, or an hour has passed."""
    await subscription.follow(feed.streams())
    yield format_sse_event(id=format_stream_id(feed.position), retry=RECONNECT_MS)
    for event in feed.digest(entries):
        yield event
    loop = asyncio.get_running_loop()
    looked_at = loop.time()
    closes_at, beats_at = looked_at + LONGEST_STREAM_S, looked_at + live.heartbeat_s
    while not (feed.is_over or subscription.is_over or loop.time() > closes_at):
        looks_at = min(beats_at, looked_at + _look_after_s(feed, live))
        entries = await subscription.take(looks_at - loop.time())
        has_doubt = subscription.take_doubt()
        if has_doubt or feed.wants_look(entries) or loop.time() >= looks_at:
            try:
                await run_in_threadpool(feed.look, entries)
            except DBAPIError as error:
                log.warning("event_stream_broken_off", error=type(error).__name__)
                return
            looked_at = loop.time()
            await subscription.follow(feed.streams())
        for event in feed.digest(entries):
            yield event
        if loop.time() >= beats_at:
            beats_at = loop.time() + live.heartbeat_s
            yield format_sse_event(comment="heartbeat")


def _look_after_s(feed: Feed, live: LiveHub) -> float:
    """How long the database is left alone if nothing comes."""
    if not live.is_up:
        return LOOK_WITHOUT_REDIS_S
    return LOOK_WHILE_WAITING_S if feed.has_waiting else live.heartbeat_s
