"""Workers that vanish, zombies that come back, deliveries that Redis forgot."""

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from redis import Redis
from rq.job import Job as RqJob
from rq.serializers import JSONSerializer
from sqlalchemy import Connection, event, select
from sqlalchemy.exc import OperationalError

from gateway.db.tables import attempt, job
from gateway.housekeeping import (
    RUNG_AT_ONCE,
    Housekeeper,
    clean,
    reap_lost_jobs,
    ring_lost_deliveries,
)
from gateway.jobs.eta import KEEP_FOR
from gateway.jobs.files import artifact_key, job_folder
from gateway.jobs.lane_repair import rebuild_lanes
from gateway.protocol import (
    DELIVERY_FUNCTION,
    ArtifactRole,
    Progress,
    cancel_key,
    progress_key,
    queue_name,
)
from gateway.services import Services
from models.spec import Stage
from tests.support.api import VIDEO_BYTES, Client, PaperWorker
from tests.support.clock import ManualClock
from tests.support.waiting import Want, add_accounts, add_jobs

QUEUE_KEY = f"rq:queue:{queue_name('default')}"


def deliveries(redis_url: str) -> list[str]:
    """RQ ids that wait in the default pool's queue."""
    with Redis.from_url(redis_url) as redis:
        return [item.decode() for item in redis.lrange(QUEUE_KEY, 0, -1)]


def test_a_submit_rings_one_delivery_of_the_one_function(client: Client, redis_url: str) -> None:
    video_id = client.submit().json()["id"]
    assert deliveries(redis_url) == [f"{video_id}-a1"]
    with Redis.from_url(redis_url) as redis:
        rung = RqJob.fetch(f"{video_id}-a1", connection=redis, serializer=JSONSerializer)
        assert rung.func_name == DELIVERY_FUNCTION
        assert redis.ttl(rung.key) > 0


def test_a_silent_worker_loses_its_job_to_the_next(
    client: Client, worker: PaperWorker, services: Services, clock: ManualClock
) -> None:
    video_id = client.submit().json()["id"]
    [lost] = worker.claim()
    clock.advance(seconds=services.settings.lease_s - 1)
    assert reap_lost_jobs(services) == 0

    clock.advance(seconds=2)
    assert reap_lost_jobs(services) == 1
    assert client.video(video_id)["status"] == "queued"
    [again] = worker.claim()
    assert (again.job_id, again.attempt) == (lost.job_id, 2)
    with services.database.read() as connection:
        rows = connection.execute(select(attempt).order_by(attempt.c.attempt)).all()
    assert [(row.attempt, row.outcome) for row in rows] == [(1, "lost"), (2, None)]


def test_a_heartbeat_keeps_the_job(
    client: Client, worker: PaperWorker, services: Services, clock: ManualClock
) -> None:
    client.submit()
    [assignment] = worker.claim()
    for _ in range(3):
        clock.advance(seconds=services.settings.lease_s - 1)
        assert worker.heartbeat(assignment) == []
    assert reap_lost_jobs(services) == 0


def test_a_zombie_changes_nothing(
    client: Client, worker: PaperWorker, services: Services, clock: ManualClock
) -> None:
    video_id = client.submit().json()["id"]
    [zombie] = worker.claim()
    clock.advance(seconds=services.settings.lease_s + 1)
    reap_lost_jobs(services)
    [owner] = worker.claim()

    assert worker.heartbeat(zombie) == [video_id]
    assert worker.upload(zombie, ArtifactRole.VIDEO, VIDEO_BYTES).status_code == 409
    assert worker.fail(zombie, retryable=False).status_code == 409
    answer = worker.complete(zombie)
    assert answer.status_code in (400, 409)
    assert client.video(video_id)["status"] == "in_progress"
    worker.finish(owner)
    assert client.video(video_id)["metadata"]["attempt"] == 2


def test_a_render_that_outlived_its_lease_still_counts_if_nobody_took_over(
    client: Client, worker: PaperWorker, services: Services, clock: ManualClock
) -> None:
    video_id = client.submit().json()["id"]
    [assignment] = worker.claim()
    clock.advance(seconds=services.settings.lease_s + 1)
    reap_lost_jobs(services)
    worker.finish(assignment)
    assert client.video(video_id)["status"] == "completed"
    assert worker.claim() == []
    with services.database.read() as connection:
        assert connection.execute(select(attempt.c.outcome)).scalars().all() == ["succeeded"]


def test_what_was_uploaded_in_time_counts_as_well(
    client: Client, worker: PaperWorker, services: Services, clock: ManualClock
) -> None:
    video_id = client.submit().json()["id"]
    [assignment] = worker.claim()
    worker.upload(assignment, ArtifactRole.VIDEO, VIDEO_BYTES)
    clock.advance(seconds=services.settings.lease_s + 1)
    reap_lost_jobs(services)
    assert worker.complete(assignment).status_code == 204
    key = artifact_key(video_id, 1, ArtifactRole.VIDEO)
    assert services.store.size_bytes(key) == len(VIDEO_BYTES)


def test_files_of_a_lost_attempt_go_when_another_has_succeeded(
    client: Client, worker: PaperWorker, services: Services, clock: ManualClock
) -> None:
    video_id = client.submit().json()["id"]
    [lost] = worker.claim()
    worker.upload(lost, ArtifactRole.VIDEO, VIDEO_BYTES)
    clock.advance(seconds=services.settings.lease_s + 1)
    reap_lost_jobs(services)
    [again] = worker.claim()
    worker.finish(again)
    clean(services)
    assert list(services.store.list_folders(job_folder(video_id))) == ["2"]


def test_a_job_that_loses_every_worker_fails_and_is_refunded(
    client: Client, worker: PaperWorker, services: Services, clock: ManualClock
) -> None:
    video_id = client.submit().json()["id"]
    for _ in range(services.settings.max_attempts):
        assert len(worker.claim()) == 1
        clock.advance(seconds=services.settings.lease_s + 1)
        assert reap_lost_jobs(services) == 1
    video = client.video(video_id)
    assert (video["status"], video["error"]["code"]) == ("failed", "worker_lost")
    assert video["error"]["refunded"] is True
    assert video["usage"]["points_charged"] == 0


def test_a_wiped_redis_is_rung_again(client: Client, services: Services, redis_url: str) -> None:
    ids = {client.submit(seed=seed).json()["id"] for seed in range(3)}
    with Redis.from_url(redis_url) as redis:
        redis.flushall()
    assert ring_lost_deliveries(services) == 3
    assert {item.removesuffix("-a1") for item in deliveries(redis_url)} == ids
    assert ring_lost_deliveries(services) == 0


def test_a_claimed_job_needs_no_delivery(
    client: Client, worker: PaperWorker, services: Services, redis_url: str
) -> None:
    client.submit()
    worker.claim()
    with Redis.from_url(redis_url) as redis:
        redis.flushall()
    assert ring_lost_deliveries(services) == 0


def test_a_long_queue_is_rung_in_parts(
    services: Services, clock: ManualClock, redis_url: str
) -> None:
    names = {f"acc_{number}": "free" for number in range(RUNG_AT_ONCE + 50)}
    with services.database.write() as connection:
        add_accounts(connection, names, now=clock.now())
        add_jobs(connection, [Want(name) for name in names for _ in "12"], now=clock.now())
        rebuild_lanes(connection, services.configuration.plans)
    assert ring_lost_deliveries(services) == RUNG_AT_ONCE
    assert len(set(deliveries(redis_url))) == RUNG_AT_ONCE
    assert ring_lost_deliveries(services) == 0
    with Redis.from_url(redis_url) as redis:
        redis.lpop(QUEUE_KEY, 3)
    assert ring_lost_deliveries(services) == 3


def test_progress_of_this_attempt_is_shown(
    client: Client, worker: PaperWorker, redis_url: str
) -> None:
    video_id = client.submit().json()["id"]
    [assignment] = worker.claim()

    def tell(attempt: int, stage: Stage, done: int, total: int) -> None:
        progress = Progress(attempt=attempt, stage=stage, done=done, total=total)
        with Redis.from_url(redis_url) as redis:
            redis.xadd(progress_key(video_id), {**progress.to_fields()})

    tell(assignment.attempt + 1, Stage.ENCODING, 1, 1)
    assert client.video(video_id)["stage"] is None
    tell(assignment.attempt, Stage.DENOISING, 6, 12)
    halfway = client.video(video_id)
    assert halfway["stage"] == "denoising"
    assert halfway["progress"] == 44
    tell(assignment.attempt, Stage.DENOISING, 12, 12)
    assert client.video(video_id)["progress"] == 80
    tell(assignment.attempt, Stage.ENCODING, 9, 17)
    assert 80 < client.video(video_id)["progress"] < 100


def test_a_running_job_that_is_canceled_is_flagged_for_its_worker(
    client: Client, worker: PaperWorker, redis_url: str
) -> None:
    video_id = client.submit().json()["id"]
    worker.claim()
    client.post(f"/videos/{video_id}/cancel")
    with Redis.from_url(redis_url) as redis:
        assert redis.exists(cancel_key(video_id))
        assert redis.ttl(cancel_key(video_id)) > 0


def test_videos_are_kept_as_long_as_the_plan_says(
    client: Client, worker: PaperWorker, services: Services, clock: ManualClock
) -> None:
    video_id = client.submit().json()["id"]
    [assignment] = worker.claim()
    worker.finish(assignment)
    clock.advance(hours=71)
    clean(services)
    assert client.get(f"/videos/{video_id}/content").status_code == 200

    clock.advance(hours=2)
    clean(services)
    answer = client.get(f"/videos/{video_id}/content")
    assert answer.status_code == 404
    assert "expired" in answer.json()["error"]["message"]
    assert client.video(video_id)["status"] == "completed"


def test_an_upload_outlives_the_lease(
    client: Client, worker: PaperWorker, services: Services, clock: ManualClock
) -> None:
    """Nobody has taken the job since, so the video counts; its file must not be swept away."""
    video_id = client.submit().json()["id"]
    [late] = worker.claim()
    assert worker.upload(late, ArtifactRole.VIDEO, VIDEO_BYTES).status_code == 204
    clock.advance(seconds=services.settings.lease_s + 1)
    assert reap_lost_jobs(services) == 1

    assert worker.complete(late).status_code == 204
    clean(services)
    assert client.get(f"/videos/{video_id}/content").content == VIDEO_BYTES


def test_files_of_lost_attempts_go_when_their_job_has_ended(
    client: Client, worker: PaperWorker, services: Services, clock: ManualClock
) -> None:
    video_id = client.submit().json()["id"]
    [zombie] = worker.claim()
    clock.advance(seconds=services.settings.lease_s + 1)
    reap_lost_jobs(services)
    assert worker.upload(zombie, ArtifactRole.VIDEO, VIDEO_BYTES[::-1]).status_code == 204
    [heir] = worker.claim()
    assert worker.complete(zombie).status_code == 409
    clean(services)
    assert set(services.store.list_folders(f"jobs/{video_id}")) == {"1"}

    worker.finish(heir)
    clean(services)
    assert set(services.store.list_folders(f"jobs/{video_id}")) == {"2"}
    assert client.get(f"/videos/{video_id}/content").content == VIDEO_BYTES


def test_files_that_a_crash_left_are_dropped(
    client: Client, services: Services, clock: ManualClock
) -> None:
    kept = client.submit().json()["id"]
    orphan = "jobs/video_of_a_submit_that_never_committed/inputs/image.png"
    services.store.put(orphan, io.BytesIO(b"x"), "image/png")
    services.store.put(f"jobs/{kept}/1/video.mp4", io.BytesIO(b"x"), "video/mp4")
    clean(services)
    assert services.store.size_bytes(orphan) == 1

    clock.instant = services.clock.now() + timedelta(days=365 * 10)
    clean(services)
    assert services.store.size_bytes(orphan) is None
    assert services.store.size_bytes(f"jobs/{kept}/1/video.mp4") == 1


def test_a_sweep_asks_once_for_many_videos(
    client: Client, worker: PaperWorker, services: Services
) -> None:
    statements: list[str] = []
    event.listen(
        services.database._readers,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_rest: statements.append(statement),
    )
    counts = []
    for num_videos in (1, 3):
        for seed in range(num_videos):
            client.submit(seed=seed)
            worker.finish(*worker.claim())
        statements.clear()
        clean(services)
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_after_an_outage_workers_may_renew_before_leases_are_judged(
    client: Client,
    worker: PaperWorker,
    services: Services,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    video_id = client.submit().json()["id"]
    worker.claim()
    quick = {"lease_s": 1.0, "reap_every_s": 0.2, "deliver_every_s": 0.2}
    settings = services.settings.model_copy(update=quick)
    read, is_away = services.database.read, threading.Event()

    @contextmanager
    def torn() -> Iterator[Connection]:
        if is_away.is_set():
            raise OperationalError("SELECT 1", {}, Exception("the server closed the connection"))
        with read() as connection:
            yield connection

    monkeypatch.setattr(services.database, "read", torn)
    is_away.set()
    keeper = Housekeeper(replace(services, settings=settings))
    keeper.start()
    time.sleep(1.5)
    # No heartbeat got through; the next is still to come.
    clock.advance(seconds=90)
    is_away.clear()
    time.sleep(0.6)
    keeper.stop()
    assert client.video(video_id)["status"] == "in_progress"


def test_the_claim_gives_out_the_longest_waiting_first(
    client: Client, worker: PaperWorker, services: Services, clock: ManualClock
) -> None:
    ids = []
    for seed in range(4):
        ids.append(client.submit(seed=seed).json()["id"])
        clock.advance(seconds=1)
    assert [client.video(video_id)["queue_position"] for video_id in ids] == [1, 2, 3, 4]
    assert [each.job_id for each in worker.claim(room=3)] == ids[:3]
    clock.advance(seconds=KEEP_FOR.total_seconds())
    assert client.video(ids[3])["queue_position"] == 1
    with services.database.read() as connection:
        states = connection.execute(select(job.c.state).order_by(job.c.id)).scalars().all()
    assert states == ["running"] * 3 + ["queued"]
