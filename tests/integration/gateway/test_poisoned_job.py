"""A job that crashes renderers may not go on crashing them."""

from typing import Any

from gateway.protocol import Assignment, FailRequest, FailureCode
from tests.support.api import Client, PaperWorker


def crash(worker: PaperWorker, job: Assignment) -> Any:
    """Report that the renderer crashed over `job`; a worker always thinks a retry may help."""
    request = FailRequest(
        attempt=job.attempt,
        code=FailureCode.RENDERER_CRASHED,
        message="the renderer ended unexpectedly",
        retryable=True,
    )
    return worker._post(f"/jobs/{job.job_id}/fail", request.model_dump_json())


def test_a_job_that_crashes_the_renderer_twice_fails_for_good(
    client: Client, worker: PaperWorker
) -> None:
    video_id = client.submit().json()["id"]
    [first] = worker.claim()
    assert crash(worker, first).status_code == 204
    assert client.video(video_id)["status"] == "queued"

    [second] = worker.claim()
    assert crash(worker, second).status_code == 204

    video = client.video(video_id)
    assert (video["status"], video["error"]["code"]) == ("failed", "renderer_crashed")
    assert video["error"]["refunded"] is True
    assert worker.claim() == []


def test_only_crashes_are_counted(client: Client, worker: PaperWorker) -> None:
    video_id = client.submit().json()["id"]
    [first] = worker.claim()
    worker.fail(first, retryable=True)
    [second] = worker.claim()
    crash(worker, second)
    assert client.video(video_id)["status"] == "queued"

    [third] = worker.claim()
    worker.finish(third)
    assert client.video(video_id)["status"] == "completed"


def test_a_crash_told_twice_is_one_crash(client: Client, worker: PaperWorker) -> None:
    video_id = client.submit().json()["id"]
    [first] = worker.claim()
    assert crash(worker, first).status_code == 204
    assert crash(worker, first).status_code == 409
    assert client.video(video_id)["status"] == "queued"


def test_crashes_of_one_job_are_not_held_against_another(
    client: Client, worker: PaperWorker
) -> None:
    for seed in (1, 2):
        client.submit(seed=seed)
    jobs = [*worker.claim(), *worker.claim()]
    for job in jobs:
        crash(worker, job)
    assert [client.video(job.job_id)["status"] for job in jobs] == ["queued", "queued"]
