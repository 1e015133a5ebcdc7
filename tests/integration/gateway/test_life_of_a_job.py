"""Submit, claim, finish, fail, cancel: what each does to the job, its files and its points."""

from pathlib import Path

import pytest
from redis import RedisError
from sqlalchemy import func, select

from gateway.db.tables import artifact, attempt, job, ledger_tx
from gateway.points.service import get_balance
from gateway.protocol import ArtifactRole
from gateway.queue import DeliveryQueue
from gateway.services import Services
from tests.support.api import VIDEO_BYTES, Client, PaperWorker, png_bytes

DAILY_POINTS = 60
PRICE = 10


def balance(services: Services) -> tuple[int, int]:
    """Available and held points of the only account."""
    with services.database.read() as connection:
        account_id = connection.execute(select(job.c.account_id).limit(1)).scalar_one()
        found = get_balance(connection, account_id)
    return found.available, found.held


def stored_files(services: Services) -> list[str]:
    """Every file in the store, relative to its root."""
    root = services.settings.storage_dir
    assert root is not None
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_submitted_job_waits_and_its_price_is_held(client: Client, services: Services) -> None:
    answer = client.submit(seconds="2", size="64x64", seed=7)

    assert answer.status_code == 200
    video = answer.json()
    assert (video["status"], video["progress"], video["queue_position"]) == ("queued", 0, 1)
    assert (video["kind"], video["seconds"], video["size"]) == ("text_to_video", "2", "64x64")
    assert video["usage"]["points_held"] == PRICE
    assert video["usage"]["points_charged"] is None
    assert video["metadata"]["seed"] == 7
    assert int(answer.headers["openai-poll-after-ms"]) >= 500
    assert balance(services) == (DAILY_POINTS - PRICE, PRICE)


def test_a_finished_job_has_its_video_and_has_spent_its_hold(
    client: Client, worker: PaperWorker, services: Services
) -> None:
    video_id = client.submit().json()["id"]
    [assignment] = worker.claim()
    assert client.video(video_id)["status"] == "in_progress"
    worker.finish(assignment)

    video = client.video(video_id)
    assert (video["status"], video["progress"]) == ("completed", 100)
    assert video["usage"] == {**video["usage"], "points_held": 0, "points_charged": PRICE}
    assert balance(services) == (DAILY_POINTS - PRICE, 0)
    content = client.get(f"/videos/{video_id}/content")
    assert content.content == VIDEO_BYTES
    assert content.headers["content-type"] == "video/mp4"


def test_complete_sent_twice_changes_nothing(client: Client, worker: PaperWorker) -> None:
    video_id = client.submit().json()["id"]
    [assignment] = worker.claim()
    worker.finish(assignment)

    assert worker.complete(assignment).status_code == 204
    assert client.video(video_id)["usage"]["points_charged"] == PRICE


def test_an_image_makes_it_image_to_video_and_reaches_the_worker(
    client: Client, worker: PaperWorker
) -> None:
    answer = client.http.post(
        "/v1/videos",
        data={"prompt": "it moves up"},
        files={"input_reference": ("photo.png", png_bytes(200, 100), "image/png")},
        headers=client.headers,
    )
    assert answer.json()["kind"] == "image_to_video"

    [assignment] = worker.claim()
    [given] = assignment.inputs
    fetched = client.http.get(given.url)
    assert fetched.status_code == 200
    assert len(fetched.content) == given.size_bytes


def test_a_retryable_failure_puts_the_job_back_with_its_hold(
    client: Client, worker: PaperWorker, services: Services
) -> None:
    video_id = client.submit().json()["id"]
    [first] = worker.claim()
    worker.upload(first, ArtifactRole.VIDEO, VIDEO_BYTES)

    assert worker.fail(first, retryable=True).status_code == 204
    assert client.video(video_id)["status"] == "queued"
    assert balance(services) == (DAILY_POINTS - PRICE, PRICE)
    assert stored_files(services) == []

    [second] = worker.claim()
    assert second.attempt == 2
    worker.finish(second)
    assert client.video(video_id)["status"] == "completed"


def test_after_the_last_attempt_the_job_fails_and_is_refunded(
    client: Client, worker: PaperWorker, services: Services
) -> None:
    video_id = client.submit().json()["id"]
    for _ in range(services.settings.max_attempts):
        [assignment] = worker.claim()
        worker.fail(assignment, retryable=True)

    video = client.video(video_id)
    assert video["status"] == "failed"
    assert video["error"] == {
        "code": "model_error",
        "message": "it did not work",
        "refunded": True,
    }
    assert balance(services) == (DAILY_POINTS, 0)
    with services.database.read() as connection:
        rows = connection.execute(select(attempt.c.outcome)).scalars().all()
    assert rows == ["failed"] * services.settings.max_attempts


def test_what_cannot_be_retried_fails_at_once(client: Client, worker: PaperWorker) -> None:
    video_id = client.submit().json()["id"]
    [assignment] = worker.claim()
    worker.fail(assignment, retryable=False)
    assert client.video(video_id)["status"] == "failed"
    assert worker.claim() == []


def test_a_queued_job_is_canceled_at_once_and_refunded(
    client: Client, worker: PaperWorker, services: Services
) -> None:
    answer = client.http.post(
        "/v1/videos",
        data={"prompt": "it moves up"},
        files={"input_reference": ("photo.png", png_bytes(), "image/png")},
        headers=client.headers,
    )
    video_id = answer.json()["id"]

    for _ in range(2):
        video = client.post(f"/videos/{video_id}/cancel").json()
        assert (video["status"], video["metadata"]["state"]) == ("failed", "canceled")
        assert video["error"] == {**video["error"], "code": "canceled", "refunded": True}
    assert balance(services) == (DAILY_POINTS, 0)
    assert worker.claim() == []
    assert stored_files(services) == []


def test_a_running_job_is_canceled_and_its_worker_told(
    client: Client, worker: PaperWorker, services: Services
) -> None:
    video_id = client.submit().json()["id"]
    [assignment] = worker.claim()
    client.post(f"/videos/{video_id}/cancel")

    assert worker.heartbeat(assignment) == [video_id]
    assert worker.upload(assignment, ArtifactRole.VIDEO, VIDEO_BYTES).status_code == 409
    assert worker.fail(assignment, retryable=True).status_code == 409
    assert client.video(video_id)["metadata"]["state"] == "canceled"
    assert balance(services) == (DAILY_POINTS, 0)


def test_cancel_after_the_end_changes_nothing(client: Client, worker: PaperWorker) -> None:
    video_id = client.submit().json()["id"]
    [assignment] = worker.claim()
    worker.finish(assignment)
    assert client.post(f"/videos/{video_id}/cancel").json()["status"] == "completed"
    assert client.get(f"/videos/{video_id}/content").status_code == 200


@pytest.mark.parametrize("moment", ["queued", "running", "completed"])
def test_delete_removes_job_and_files_in_every_state(
    client: Client, worker: PaperWorker, services: Services, moment: str
) -> None:
    video_id = client.submit().json()["id"]
    if moment != "queued":
        [assignment] = worker.claim()
        if moment == "completed":
            worker.finish(assignment)

    answer = client.delete(f"/videos/{video_id}")
    assert answer.json() == {"id": video_id, "object": "video.deleted", "deleted": True}
    assert client.get(f"/videos/{video_id}").status_code == 404
    assert client.delete(f"/videos/{video_id}").status_code == 404
    assert client.get("/videos").json()["data"] == []
    assert stored_files(services) == []
    charged = PRICE if moment == "completed" else 0
    assert balance(services) == (DAILY_POINTS - charged, 0)
    with services.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(artifact)).scalar() == 0
        assert connection.execute(select(job.c.spec)).scalar_one()["prompt"] == ""


def test_each_job_has_one_hold_and_one_end(
    client: Client, worker: PaperWorker, services: Services
) -> None:
    ids = [client.submit(seed=seed).json()["id"] for seed in range(3)]
    finished, _running = worker.claim(room=2)
    worker.finish(finished)
    for video_id in ids:
        client.post(f"/videos/{video_id}/cancel")
    with services.database.read() as connection:
        rows = connection.execute(
            select(ledger_tx.c.job_id, ledger_tx.c.kind).where(ledger_tx.c.job_id.is_not(None))
        ).all()
    ends = {row.job_id: row.kind for row in rows if row.kind != "hold"}
    assert sorted(row.job_id for row in rows if row.kind == "hold") == sorted(ids)
    assert ends == {**dict.fromkeys(ids, "refund"), finished.job_id: "settle"}
    assert len(rows) == 2 * len(ids)


def test_redis_away_costs_nothing_but_the_doorbell(
    client: Client, worker: PaperWorker, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = DeliveryQueue("redis://127.0.0.1:1/0")
    monkeypatch.setattr(services.queue, "_redis", away._redis)
    answer = client.submit()
    assert answer.status_code == 200
    [assignment] = worker.claim()
    assert client.video(assignment.job_id)["status"] == "in_progress"
    worker.finish(assignment)
    assert client.video(assignment.job_id)["status"] == "completed"


def test_nobody_has_a_job_whose_id_holds_nul(client: Client) -> None:
    for path in ("/videos/a%00b", "/videos/a%00b/content", "/videos?after=a%00b"):
        assert client.get(path).status_code in (200, 400, 404)


def test_a_redis_that_is_away_is_not_asked_for_every_job(
    client: Client, worker: PaperWorker, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        client.submit(seed=seed)
        worker.claim()
    asked: list[object] = []

    def away(*_args: object, **_options: object) -> None:
        asked.append(_args)
        raise RedisError

    monkeypatch.setattr(services.queue._redis, "xrevrange", away)
    assert len(client.get("/videos").json()["data"]) == 3
    assert len(asked) == 1


def test_a_full_disk_at_upload_keeps_the_attempt_alive(
    client: Client, worker: PaperWorker, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.submit()
    [assignment] = worker.claim()

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(services.store, "put", full)
        answer = worker.upload(assignment, ArtifactRole.VIDEO, VIDEO_BYTES)
    assert answer.status_code == 503
    assert "No space left" in answer.json()["error"]["message"]
    worker.finish(assignment)
    assert client.video(assignment.job_id)["status"] == "completed"


def test_a_damaged_upload_is_refused(client: Client, worker: PaperWorker) -> None:
    client.submit()
    [assignment] = worker.claim()
    answer = worker.http.put(
        f"/worker/v1/jobs/{assignment.job_id}/artifacts/video",
        params={"attempt": 1},
        content=b"torn",
        headers={**worker._headers, "X-Content-SHA256": "0" * 64},
    )
    assert answer.status_code == 400
    assert worker.complete(assignment).status_code == 400


def test_a_file_store_key_cannot_leave_the_store(services: Services) -> None:
    with pytest.raises(ValueError, match="leaves the store"):
        services.store.local_path("../../etc/passwd")
    assert isinstance(services.store.local_path("jobs/a"), Path)
