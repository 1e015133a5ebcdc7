"""Live progress over a real port: order, resuming, strangers, and what a closed stream leaves.

The clock is the machine's here: what a client missed is told by time.
"""

from contextlib import ExitStack

import pytest
from redis import Redis

from gateway.accounts.service import create_key, ensure_account
from gateway.clock import SystemClock
from gateway.protocol import Progress, progress_key
from gateway.services import Services
from models.spec import Stage
from tests.support.api import Client, PaperWorker
from tests.support.listening import eventually, listening, steps, tell
from workers.live import LiveChannel

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def clock() -> SystemClock:
    """The machine's clock."""
    return SystemClock()


def test_queued_then_progress_then_the_end(
    client: Client, worker: PaperWorker, channel: LiveChannel
) -> None:
    video_id = client.submit().json()["id"]
    with listening(client, f"/videos/{video_id}/events") as listener:
        queued = listener.next()
        assert (queued.name, queued.data["id"], queued.data["position"]) == ("queued", video_id, 1)
        [job] = worker.claim()
        assert listener.next().data["stage"] is None
        for done in (3, 6, 9):
            tell(channel, job, done)
        tell(channel, job, 1, stage=Stage.ENCODING)
        told = [listener.next() for _ in range(4)]
        assert [event.data["step"] for event in told] == [3, 6, 9, 1]
        percents = [event.data["progress"] for event in told]
        assert percents == sorted(percents)
        assert told[-1].data["stage"] == "encoding"
        worker.finish(job)
        [end] = listener.rest()
    assert (end.name, end.data) == ("terminal", client.video(video_id))
    assert end.data["status"] == "completed"


def test_resuming_leaves_no_gap_and_repeats_nothing(
    client: Client, worker: PaperWorker, channel: LiveChannel
) -> None:
    video_id = client.submit().json()["id"]
    [job] = worker.claim()
    path = f"/videos/{video_id}/events"
    for done in (1, 2):
        tell(channel, job, done)
    with listening(client, path) as first:
        assert steps([first.next()]) == [2]
        tell(channel, job, 3)
        seen = first.next()
    for done in (4, 5):
        tell(channel, job, done)
    with listening(client, path, after=seen.id) as second:
        assert steps([second.next(), second.next()]) == [4, 5]
        tell(channel, job, 6)
        seen = second.next()
        assert steps([seen]) == [6]
    tell(channel, job, 7)
    worker.finish(job)
    with listening(client, path, after=seen.id) as third:
        missed = third.rest()
    assert [event.name for event in missed] == ["progress", "terminal"]
    assert steps(missed) == [7]
    again = client.get(path, headers={"Last-Event-ID": missed[-1].id})
    assert again.status_code == 204


def test_what_is_no_id_of_ours_starts_afresh(client: Client) -> None:
    video_id = client.submit().json()["id"]
    for nonsense in ("", "yesterday", "9" * 40, "1-2-3"):
        with listening(client, f"/videos/{video_id}/events", after=nonsense) as listener:
            assert listener.next().name == "queued"


def test_a_requeued_job_waits_again_and_zombies_are_not_heard(
    client: Client, worker: PaperWorker, channel: LiveChannel
) -> None:
    video_id = client.submit().json()["id"]
    with listening(client, f"/videos/{video_id}/events") as listener:
        listener.next()
        [zombie] = worker.claim()
        tell(channel, zombie, 5)
        listener.until("progress")
        worker.fail(zombie, retryable=True)
        listener.until("queued")
        tell(channel, zombie, 6)
        [owner] = worker.claim()
        tell(channel, zombie, 7)
        tell(channel, owner, 1)
        told = [listener.next(), listener.next()]
        assert [(event.data["attempt"], event.data["step"]) for event in told] == [(2, 0), (2, 1)]


def test_cancel_and_delete_end_the_stream(client: Client) -> None:
    canceled, deleted = (client.submit(seed=seed).json()["id"] for seed in (1, 2))
    with listening(client, f"/videos/{canceled}/events") as listener:
        listener.next()
        client.post(f"/videos/{canceled}/cancel")
        [end] = listener.rest()
        assert end.data["metadata"]["state"] == "canceled"
    with listening(client, f"/videos/{deleted}/events") as listener:
        listener.next()
        client.delete(f"/videos/{deleted}")
        [end] = listener.rest()
        assert (end.name, end.data["deleted"]) == ("terminal", True)


def test_an_ended_job_tells_its_end_and_closes(client: Client, worker: PaperWorker) -> None:
    video_id = client.submit().json()["id"]
    [job] = worker.claim()
    worker.finish(job)
    with listening(client, f"/videos/{video_id}/events") as listener:
        assert [event.name for event in listener.rest()] == ["terminal"]


def test_one_connection_tells_of_every_job(
    client: Client, worker: PaperWorker, channel: LiveChannel
) -> None:
    with listening(client, "/events") as page:
        ids = [client.submit(seed=seed).json()["id"] for seed in (1, 2)]
        assert [page.until("queued")[-1].data["id"] for _ in ids] == ids
        jobs = worker.claim(room=2)
        eventually(lambda: steps([page.next()]) == [0])
        eventually(lambda: steps([page.next()]) == [0])
        for done in (1, 2):
            for job in jobs:
                tell(channel, job, done)
        told = [page.next() for _ in range(4)]
        for video_id in ids:
            assert steps([event for event in told if event.data["id"] == video_id]) == [1, 2]
        worker.finish(jobs[0])
        assert page.until("terminal")[-1].data["id"] == jobs[0].job_id
        tell(channel, jobs[1], 3)
        last = page.next()
        assert (last.data["id"], last.data["step"]) == (jobs[1].job_id, 3)
    tell(channel, jobs[1], 4)
    worker.finish(jobs[1])
    third = client.submit(seed=3).json()["id"]
    with listening(client, "/events", after=last.id) as page:
        missed = [page.next() for _ in range(3)]
    assert [event.name for event in missed] == ["progress", "terminal", "queued"]
    assert (steps(missed), missed[2].data["id"]) == ([4], third)


def test_a_heartbeat_comes_when_nothing_else_does(client: Client, services: Services) -> None:
    services.live.heartbeat_s = 0.1
    video_id = client.submit().json()["id"]
    with listening(client, f"/videos/{video_id}/events") as listener:
        eventually(lambda: len(listener.comments) >= 3)
    assert set(listener.comments) == {": heartbeat"}


def test_strangers_see_nothing(client: Client, services: Services) -> None:
    video_id = client.submit().json()["id"]
    now = services.clock.now()
    with services.database.write() as connection:
        account_id = ensure_account(connection, "eve", plan_id="free", now=now)
        eve = Client(client.http, create_key(connection, account_id, now=now))
    for path in (f"/videos/{video_id}/events", f"/videos/{video_id}/preview"):
        answer = eve.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert client.http.get("/v1/events").status_code == 401
    with listening(eve, "/events") as page:
        client.submit(seed=2)
        own = eve.submit().json()["id"]
        assert page.next().data["id"] == own


def test_the_newest_preview_is_served(
    client: Client, worker: PaperWorker, channel: LiveChannel
) -> None:
    video_id = client.submit().json()["id"]
    [job] = worker.claim()
    assert client.get(f"/videos/{video_id}/preview").status_code == 404
    assert channel.publish_preview(video_id, b"\xff" * 70_000) is None
    name = channel.publish_preview(video_id, b"\xff\xd8 a small frame")
    progress = Progress(attempt=job.attempt, stage=Stage.DENOISING, done=4, total=12, preview=name)
    channel.publish(video_id, progress)
    with listening(client, f"/videos/{video_id}/events") as listener:
        told = listener.next().data["preview"]
    answer = client.http.get(told, headers=client.headers)
    assert answer.content == b"\xff\xd8 a small frame"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "image/jpeg"
    assert client.video(video_id)["stage"] == "denoising"


def test_fifty_listeners_hear_the_same_and_leave_nothing_behind(
    client: Client, worker: PaperWorker, channel: LiveChannel, services: Services, redis_url: str
) -> None:
    video_id = client.submit().json()["id"]
    with Redis.from_url(redis_url) as redis:
        before = redis.info("clients")["connected_clients"]
        with ExitStack() as stack:
            listeners = [
                stack.enter_context(listening(client, f"/videos/{video_id}/events"))
                for _ in range(50)
            ]
            for listener in listeners:
                assert listener.next().name == "queued"
            assert services.live.num_subscriptions == 50
            assert redis.info("clients")["connected_clients"] <= before + 10
            [job] = worker.claim()
            tell(channel, job, 6)
            for listener in listeners:
                assert steps([*listener.until("progress"), listener.next()]) == [0, 6]
        eventually(lambda: services.live.num_subscriptions == 0)
        eventually(lambda: services.live._task is None)
        names = {each["name"]: each for each in redis.client_list()}
        assert not [each for each in names.values() if each["cmd"] == "xread"]


def test_a_stream_that_is_closed_frees_its_place_at_once(
    client: Client, services: Services
) -> None:
    video_id = client.submit().json()["id"]
    for path in (f"/videos/{video_id}/events", "/events"):
        with listening(client, path) as listener:
            listener.next()
            assert services.live.num_subscriptions == 1
        eventually(lambda: services.live.num_subscriptions == 0)
        eventually(lambda: services.live._task is None)


def test_the_stream_of_a_job_is_capped_and_expires(
    client: Client, worker: PaperWorker, services: Services, redis_url: str
) -> None:
    video_id = client.submit().json()["id"]
    worker.claim()
    with Redis.from_url(redis_url) as redis:
        account_stream = next(iter(redis.scan_iter("reelgate:events:*")))
        for key in (progress_key(video_id), account_stream):
            assert redis.xlen(key) == 2
            assert redis.ttl(key) > 0
