"""Gateway, Redis, model or disk away for a while: no render is lost, the worker goes on."""

from pathlib import Path

import pytest

from gateway.protocol import FailureCode, queue_name
from tests.integration.workers.conftest import MakeJob, StartWorker
from tests.integration.workers.harness.gateway import ScriptedGateway
from tests.integration.workers.harness.polling import wait_until
from tests.integration.workers.harness.processes import POOL, Valkey


def test_a_render_waits_for_the_gateway_and_is_not_done_twice(
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
    tmp_path: Path,
) -> None:
    worker = start_worker()
    job = make_job(steps=10)

    valkey.ring()
    wait_until(gateway.held)
    gateway.is_down = True
    wait_until(lambda: "job_rendered" in worker.events)
    wait_until(lambda: worker.events.count("gateway_unavailable") >= 2)
    assert (tmp_path / "spool" / f"{job.job_id}-1" / "manifest.json").exists()
    gateway.is_down = False

    wait_until(lambda: job.job_id in gateway.completed)
    assert (tmp_path / "diary").read_text().splitlines() == ["plain"]


def test_a_restarted_worker_reports_what_the_killed_one_had_finished(
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
    tmp_path: Path,
) -> None:
    first = start_worker()
    job = make_job()
    valkey.ring()
    wait_until(gateway.held)
    gateway.is_down = True
    wait_until(lambda: "job_rendered" in first.events)
    first.kill()
    unfinished = tmp_path / "spool" / "job_9-1"
    unfinished.mkdir()
    foreign = tmp_path / "spool" / "not ours"
    foreign.mkdir()
    gateway.is_down = False

    start_worker()

    assert job.job_id in gateway.completed
    assert not unfinished.exists()
    assert foreign.exists()
    assert (tmp_path / "diary").read_text().splitlines() == ["plain"]


def test_redis_may_die_while_the_worker_is_idle(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    start_worker()
    job = make_job()

    valkey.kill()
    valkey.start()
    valkey.ring()

    wait_until(lambda: job.job_id in gateway.completed)


def test_redis_may_die_while_the_worker_renders(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    worker = start_worker()
    job, after = make_job(steps=40), make_job()

    valkey.ring()
    wait_until(gateway.held)
    valkey.kill()
    wait_until(lambda: job.job_id in gateway.completed)
    assert "redis_unavailable" in worker.events or "live_channel_unavailable" in worker.events
    valkey.start()
    valkey.ring()

    wait_until(lambda: after.job_id in gateway.completed)


def test_a_worker_without_its_model_claims_nothing_until_it_loads(
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
    tmp_path: Path,
) -> None:
    broken = tmp_path / "broken-scripted"
    broken.touch()
    worker = start_worker(is_ready=False)
    job = make_job()
    valkey.ring()
    wait_until(lambda: worker.events.count("worker_unfit") >= 2)
    assert not gateway.claims
    assert valkey.client.llen(f"rq:queue:{queue_name(POOL)}") == 1

    broken.unlink()

    wait_until(lambda: job.job_id in gateway.completed)


def test_a_full_disk_fails_the_attempt_and_is_said_once(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    worker = start_worker()
    job, after = make_job("disk-full"), make_job()

    valkey.ring()
    valkey.ring()
    wait_until(lambda: after.job_id in gateway.completed)

    assert gateway.failed[job.job_id].code is FailureCode.WORKER_LOST
    assert gateway.failed[job.job_id].retryable
    assert worker.events.count("disk_full") == 1


def test_a_spool_that_came_off_costs_one_attempt_and_not_the_queue(
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
    tmp_path: Path,
) -> None:
    worker = start_worker()
    spool, off = tmp_path / "spool", tmp_path / "off"
    spool.rename(off)
    first, second = make_job(), make_job()
    valkey.ring()
    valkey.ring()
    wait_until(lambda: first.job_id in gateway.failed)
    wait_until(lambda: worker.events.count("worker_unfit") >= 2)
    assert gateway.failed[first.job_id].retryable
    assert len(gateway.claims) == 1
    off.rename(spool)
    wait_until(lambda: second.job_id in gateway.completed)


def test_an_unaccepted_token_costs_no_delivery(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    worker = start_worker(worker_token="wrong")
    make_job()

    valkey.ring()
    wait_until(lambda: worker.events.count("gateway_unavailable") >= 2)

    assert not gateway.claims


@pytest.mark.parametrize("is_rendering", [False, True])
def test_nothing_lasting_stays_in_redis_after_a_kill(
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
    *,
    is_rendering: bool,
) -> None:
    worker = start_worker()
    if is_rendering:
        make_job("deaf")
        valkey.ring()
        wait_until(gateway.held)
    worker.kill()

    index = {b"rq:queues", b"rq:workers", f"rq:workers:{queue_name(POOL)}".encode()}
    lasting = {key for key in valkey.client.scan_iter() if valkey.client.ttl(key) == -1}
    assert lasting <= index
    assert all(0 < valkey.client.ttl(key) <= 3600 for key in valkey.client.scan_iter("rq:worker:*"))
