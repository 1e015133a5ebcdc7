"""Live progress while Redis is away, restarts or forgets everything: no end is ever missed.

Each test has a Redis of its own, so that it can be killed; the clock is the machine's.
"""

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from redis import Redis

from gateway.clock import SystemClock
from gateway.local.valkey import Valkey, answers
from gateway.services import Services
from tests.support.api import Client, PaperWorker
from tests.support.listening import eventually, listening, steps, tell
from workers.live import LiveChannel

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def clock() -> SystemClock:
    """The machine's clock."""
    return SystemClock()


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A server for one test."""
    server = Valkey(tmp_path / "valkey", tmp_path / "valkey.log")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(own_valkey: Valkey) -> str:
    """Where it is."""
    return own_valkey.url


def test_a_restart_in_the_middle_is_survived(
    client: Client, worker: PaperWorker, channel: LiveChannel, own_valkey: Valkey
) -> None:
    video_id = client.submit().json()["id"]
    [job] = worker.claim()
    with listening(client, f"/videos/{video_id}/events") as listener:
        tell(channel, job, 1)
        assert steps([*listener.until("progress"), listener.next()]) == [0, 1]
        os.kill(own_valkey.child.pid, signal.SIGKILL)
        eventually(lambda: own_valkey.child.poll() is not None)
        own_valkey.child.start()
        eventually(lambda: answers(own_valkey.url))
        tell(channel, job, 2)
        assert listener.next().data["step"] == 2
        worker.finish(job)
        [end] = listener.rest()
    assert end.name == "terminal"


def test_without_redis_the_database_is_asked(
    client: Client, worker: PaperWorker, services: Services, own_valkey: Valkey
) -> None:
    own_valkey.stop()
    video_id = client.submit().json()["id"]
    with (
        listening(client, f"/videos/{video_id}/events") as listener,
        listening(client, "/events") as page,
    ):
        assert listener.next().name == page.next().name == "queued"
        [job] = worker.claim()
        assert listener.next().name == page.next().name == "progress"
        worker.finish(job)
        assert [event.name for event in listener.rest()] == ["terminal"]
        assert page.next().name == "terminal"
    assert services.live.is_up is False


def test_the_end_is_told_though_redis_forgot_everything(
    client: Client, worker: PaperWorker, services: Services, redis_url: str
) -> None:
    services.live.heartbeat_s = 0.3
    video_id = client.submit().json()["id"]
    [job] = worker.claim()
    with (
        listening(client, f"/videos/{video_id}/events") as listener,
        listening(client, "/events") as page,
        pytest.MonkeyPatch.context() as patch,
        Redis.from_url(redis_url) as redis,
    ):
        listener.next()
        page.next()
        # The announcement is lost too, as it is when Redis dies with it.
        patch.setattr(services.queue, "announce", lambda *_: None)
        worker.finish(job)
        redis.flushall()
        assert [event.name for event in listener.rest()] == ["terminal"]
        assert page.next().name == "terminal"
        left = page.last_id
    other = client.submit().json()["id"]
    with listening(client, "/events", after=left) as page:
        assert other in {page.next().data["id"], page.next().data["id"]}


def test_a_page_that_was_away_hears_what_ended_without_a_word(
    client: Client,
    worker: PaperWorker,
    services: Services,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client.submit()
    with listening(client, "/events") as page:
        page.next()
        [job] = worker.claim()
        left = page.until("progress")[-1].id
    with Redis.from_url(redis_url) as redis, pytest.MonkeyPatch.context() as patch:
        patch.setattr(services.queue, "announce", lambda *_: None)
        worker.finish(job)
        redis.flushall()
    monkeypatch.setattr("gateway.api.v1.feed._SLACK", timedelta(0))
    with listening(client, "/events", after=left) as page:
        end = page.next()
    assert (end.name, end.data["id"]) == ("terminal", job.job_id)
