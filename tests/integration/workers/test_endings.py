"""Ways in which a render does not end well, and what the gateway and the next job see."""

import os
import signal
from pathlib import Path

import pytest

from gateway.protocol import FailureCode, cancel_key
from tests.integration.workers.conftest import MakeJob, StartWorker
from tests.integration.workers.harness.gateway import ScriptedGateway
from tests.integration.workers.harness.polling import wait_until
from tests.integration.workers.harness.processes import Valkey, is_running

LONG = 1000


def test_a_killed_child_costs_one_attempt_and_the_next_job_works(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    worker = start_worker()
    [child] = worker.child_pids()
    lost, after = make_job(steps=LONG), make_job()

    valkey.ring()
    wait_until(gateway.held)
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: lost.job_id in gateway.failed, within_s=5)
    valkey.ring()
    wait_until(lambda: after.job_id in gateway.completed)

    assert gateway.failed[lost.job_id].code is FailureCode.RENDERER_CRASHED
    assert gateway.failed[lost.job_id].retryable
    assert worker.child_pids() != [child]


def test_what_a_crashed_attempt_keeps_is_there_for_the_next_one_and_gone_behind_it(
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
    tmp_path: Path,
) -> None:
    start_worker()
    workspace = tmp_path / "spool" / "workspaces" / "job_x"
    make_job("resume", job_id="job_x")
    valkey.ring()
    wait_until(lambda: "job_x" in gateway.failed)
    assert gateway.failed["job_x"].retryable
    assert (workspace / "half").exists()

    make_job("resume", job_id="job_x", attempt=2)
    valkey.ring()
    wait_until(lambda: "job_x" in gateway.completed)
    wait_until(lambda: not workspace.exists())


def test_the_child_does_not_outlive_a_killed_parent(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    worker = start_worker()
    [child] = worker.child_pids()
    make_job("deaf")

    valkey.ring()
    wait_until(gateway.held)
    worker.kill()

    wait_until(lambda: not is_running(child), within_s=5)


def test_a_cancel_is_seen_within_a_step(
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
    tmp_path: Path,
) -> None:
    worker = start_worker()
    [child] = worker.child_pids()
    job, after = make_job(steps=LONG), make_job()

    valkey.ring()
    wait_until(gateway.held)
    valkey.client.set(cancel_key(job.job_id), "1", ex=60)
    wait_until(lambda: job.job_id in gateway.failed, within_s=5)
    valkey.ring()
    wait_until(lambda: after.job_id in gateway.completed)

    assert gateway.failed[job.job_id].code is FailureCode.CANCELED
    assert not gateway.failed[job.job_id].retryable
    assert worker.child_pids() == [child]
    wait_until(lambda: not list((tmp_path / "spool").glob("job_*")))


def test_a_job_dropped_by_a_heartbeat_is_not_reported(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    worker = start_worker()
    job, after = make_job(steps=LONG), make_job()

    valkey.ring()
    wait_until(gateway.held)
    gateway.drop = [job.job_id]
    wait_until(lambda: "attempt_dropped" in worker.events)
    valkey.ring()
    wait_until(lambda: after.job_id in gateway.completed)

    assert job.job_id not in gateway.failed
    assert job.job_id not in gateway.completed


def test_a_deaf_child_is_killed_after_the_grace_time(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    worker = start_worker(cancel_grace_s=0.5)
    [child] = worker.child_pids()
    job, after = make_job("deaf"), make_job()

    valkey.ring()
    wait_until(gateway.held)
    valkey.client.set(cancel_key(job.job_id), "1", ex=60)
    wait_until(lambda: not is_running(child), within_s=5)
    valkey.ring()
    wait_until(lambda: after.job_id in gateway.completed)

    assert gateway.failed[job.job_id].code is FailureCode.CANCELED


@pytest.mark.parametrize(("prompt", "retryable"), [("slow", False), ("deaf", True)])
def test_the_deadline_ends_an_attempt(
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
    *,
    prompt: str,
    retryable: bool,
) -> None:
    start_worker(cancel_grace_s=0.5)
    job = make_job(prompt, steps=LONG, deadline_s=0.5)

    valkey.ring()
    wait_until(lambda: job.job_id in gateway.failed)

    assert gateway.failed[job.job_id].code is FailureCode.DEADLINE_EXCEEDED
    assert gateway.failed[job.job_id].retryable is retryable


def test_a_stale_attempt_is_dropped_with_its_files(
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
    tmp_path: Path,
) -> None:
    worker = start_worker()
    job = make_job()
    gateway.stale.add(job.job_id)

    valkey.ring()
    wait_until(lambda: "attempt_stale" in worker.events)

    wait_until(lambda: not list((tmp_path / "spool").glob("job_*")))
    assert job.job_id not in gateway.completed
    assert job.job_id not in gateway.failed


def test_sigterm_lets_the_running_job_finish(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    worker = start_worker()
    job, waiting = make_job(steps=20), make_job()

    valkey.ring()
    valkey.ring()
    wait_until(gateway.held)
    worker.signal(signal.SIGTERM)

    assert worker.wait() == 0
    assert job.job_id in gateway.completed
    assert gateway.waiting == [waiting]


def test_sigterm_hands_back_what_cannot_finish_in_time(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    worker = start_worker(drain_s=0.2, cancel_grace_s=0.5)
    job = make_job(steps=LONG)

    valkey.ring()
    wait_until(gateway.held)
    worker.signal(signal.SIGTERM)

    assert worker.wait() == 0
    assert gateway.failed[job.job_id].code is FailureCode.WORKER_LOST
    assert gateway.failed[job.job_id].retryable


def test_sigterm_ends_an_idle_worker_and_a_second_one_any_worker(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    idle = start_worker()
    idle.signal(signal.SIGTERM)
    assert idle.wait(5) == 0
    assert not valkey.client.smembers("rq:workers")

    busy = start_worker()
    [child] = busy.child_pids()
    make_job("deaf")
    valkey.ring()
    wait_until(gateway.held)
    busy.signal(signal.SIGINT)
    wait_until(lambda: "worker_stopping" in busy.events)
    busy.signal(signal.SIGINT)

    assert busy.wait(5) == 128 + signal.SIGINT
    wait_until(lambda: not is_running(child), within_s=5)
