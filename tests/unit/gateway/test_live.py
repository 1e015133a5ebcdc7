"""One reader for all listeners: what it keeps for slow ones, what it leaves when all are gone."""

import asyncio

import pytest

from gateway.live import MAX_WAITING, LiveHub
from gateway.protocol import Progress
from gateway.queue import DeliveryQueue
from gateway.streams import START, Announcement, Change, Entry, account_key, parse_stream_id
from models.spec import Stage

NOWHERE = "redis://127.0.0.1:1/0"
PROGRESS = Progress(attempt=1, stage=Stage.DENOISING, done=1, total=2)


def entry(number: int, key: str = "stream") -> Entry:
    """Some progress."""
    return Entry((1, number), key, PROGRESS)


def test_a_slow_client_holds_a_bounded_number_of_entries_and_looks_instead() -> None:
    async def listen() -> None:
        async with LiveHub(NOWHERE).subscribe() as subscription:
            await subscription.follow({"stream": START})
            for number in range(1, 3 * MAX_WAITING):
                subscription.offer(entry(number))
            taken = await subscription.take(1)
            assert len(taken) == MAX_WAITING
            assert taken[-1] == entry(3 * MAX_WAITING - 1)
            assert subscription.take_doubt()
            assert not subscription.take_doubt()

    asyncio.run(listen())


def test_what_was_had_or_is_not_followed_is_not_taken() -> None:
    async def listen() -> None:
        async with LiveHub(NOWHERE).subscribe() as subscription:
            await subscription.follow({"stream": (1, 2)})
            for number in (1, 2, 3, 3):
                subscription.offer(entry(number))
            subscription.offer(entry(9, "another"))
            assert await subscription.take(1) == [entry(3)]
            assert await subscription.take(0) == []

    asyncio.run(listen())


def test_the_end_of_the_process_ends_every_stream() -> None:
    async def listen() -> None:
        hub = LiveHub(NOWHERE)
        async with hub.subscribe() as first:
            hub.end()
            async with hub.subscribe() as late:
                assert await first.take(10) == []
                assert first.is_over
                assert late.is_over

    asyncio.run(listen())


def test_however_soon_listeners_go_nothing_is_left(redis_url: str) -> None:
    async def listen(hub: LiveHub, turns: int) -> None:
        async with hub.subscribe() as subscription:
            await subscription.follow({"stream": START})
            for _ in range(turns):
                await asyncio.sleep(0)

    async def come_and_go() -> None:
        hub = LiveHub(redis_url)
        for turns in range(30):
            await asyncio.gather(*(listen(hub, turns * many) for many in (0, 1, 2)))
            assert hub.num_subscriptions == 0
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(come_and_go())


def test_who_joins_late_is_served_from_where_he_asked(redis_url: str) -> None:
    queue = DeliveryQueue(redis_url)

    def submitted(job_id: str) -> Announcement:
        queue.announce(Change.SUBMITTED, {job_id: "acc"})
        return Announcement(job_id=job_id, change=Change.SUBMITTED)

    async def listen() -> None:
        first, second = submitted("one"), submitted("two")
        hub = LiveHub(redis_url)
        async with hub.subscribe() as early, hub.subscribe() as late:
            await early.follow({account_key("acc"): START})
            assert [each.content for each in await early.take(5)] == [first, second]
            await late.follow({account_key("acc"): START})
            assert [each.content for each in await late.take(5)] == [first, second]
            third = submitted("three")
            assert [each.content for each in await early.take(5)] == [third]
            assert [each.content for each in await late.take(5)] == [third]

    asyncio.run(listen())
    queue.close()


def test_without_redis_nobody_is_told_and_nothing_fails() -> None:
    queue = DeliveryQueue(NOWHERE)
    queue.announce(Change.CLAIMED, {"video": "acc"})
    assert queue.read_streams({account_key("acc"): START}) == []
    assert queue.find_preview("video") is None
    queue.close()


@pytest.mark.parametrize(
    ("text", "stream_id"),
    [("12-3", (12, 3)), ("0-0", START), ("12", None), ("-1-2", None), ("1-2 ", None), (None, None)],
)
def test_a_stream_id_is_read_as_redis_writes_it(
    text: str | None, stream_id: tuple[int, int] | None
) -> None:
    assert parse_stream_id(text) == stream_id
