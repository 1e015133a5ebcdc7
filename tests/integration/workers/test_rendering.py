"""A delivery becomes a finished job, or ends quietly."""

import hashlib
from pathlib import Path

import pytest

from gateway.protocol import ArtifactRole, FailureCode, progress_key
from tests.integration.workers.conftest import MakeJob, StartWorker
from tests.integration.workers.harness.gateway import ScriptedGateway
from tests.integration.workers.harness.polling import wait_until
from tests.integration.workers.harness.processes import POOL, Valkey


def test_a_delivery_becomes_a_finished_job(
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
    tmp_path: Path,
) -> None:
    start_worker(worker_name="w1")
    job = make_job()

    delivery = valkey.ring()
    wait_until(lambda: job.job_id in gateway.completed)

    assert gateway.claims[0].pool == POOL
    assert gateway.claims[0].worker == "w1"
    assert gateway.claims[0].loaded_model == "scripted"
    done = gateway.completed[job.job_id]
    assert (done.rendered.width, done.rendered.height) == (64, 64)
    assert (done.rendered.num_frames, done.rendered.fps) == (5, 4)
    assert done.rendered.label["ProduceID"] == job.job_id
    assert done.rendered.render_s > 0
    assert {artifact.role for artifact in done.artifacts} == set(ArtifactRole)
    for artifact in done.artifacts:
        content = gateway.uploads[job.job_id, 1, artifact.role]
        assert artifact.size_bytes == len(content)
        assert artifact.sha256 == hashlib.sha256(content).hexdigest()

    stages = valkey.stages_of(job.job_id)
    assert stages[0] == "denoising"
    assert stages[-1] == "uploading"
    assert 0 < valkey.client.ttl(progress_key(job.job_id)) <= 3600
    assert not valkey.client.exists(f"rq:job:{delivery}")
    wait_until(lambda: not list((tmp_path / "spool").glob("job_*")))


def test_the_child_stays_warm_over_jobs(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    worker = start_worker()
    [child] = worker.child_pids()
    jobs = [make_job(), make_job()]

    for _ in jobs:
        valkey.ring()
    wait_until(lambda: len(gateway.completed) == len(jobs))

    assert worker.child_pids() == [child]


def test_a_stale_delivery_ends_quietly(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    worker = start_worker()

    stale = valkey.ring()
    wait_until(lambda: len(gateway.claims) == 1)
    wait_until(lambda: not valkey.client.exists(f"rq:job:{stale}"))
    job = make_job()
    valkey.ring()
    wait_until(lambda: job.job_id in gateway.completed)

    assert not {"delivery_refused", "serving_failed", "job_failed"} & set(worker.events)


@pytest.mark.parametrize("function", ["os.system", "workers.delivery.deliver.__call__"])
def test_a_forged_delivery_is_refused_and_logged(
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
    function: str,
) -> None:
    worker = start_worker()
    job = make_job()

    forged = valkey.ring(function)
    wait_until(lambda: "delivery_refused" in worker.events)
    assert not gateway.claims
    assert not valkey.client.exists(f"rq:job:{forged}")

    valkey.ring()
    wait_until(lambda: job.job_id in gateway.completed)


def test_a_garbled_delivery_does_not_end_the_worker(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    start_worker()
    job = make_job()

    valkey.client.hset("rq:job:garbled", mapping={"data": b"\x80\x05.", "status": "no such state"})
    valkey.client.rpush(f"rq:queue:reelgate-{POOL}", "garbled")
    valkey.ring()

    wait_until(lambda: job.job_id in gateway.completed)
    assert 0 < valkey.client.ttl("rq:job:garbled") <= 600


def test_inputs_are_fetched_before_rendering(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    start_worker()
    job = make_job("show-image", image=b"a picture")

    valkey.ring()
    wait_until(lambda: job.job_id in gateway.completed)


def test_a_damaged_input_fails_the_attempt(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    start_worker()
    job = make_job(image=b"a picture")
    gateway.files[job.inputs[0].url] = b"another one"

    valkey.ring()
    wait_until(lambda: job.job_id in gateway.failed)

    assert gateway.failed[job.job_id].code is FailureCode.INPUT_UNREADABLE
    assert gateway.failed[job.job_id].retryable
