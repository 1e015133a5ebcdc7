"""The device goes on with the next job while the files of the last one are still being written."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from gateway.protocol import Assignment, FailureCode, cancel_key
from tests.integration.workers.conftest import MakeJob, StartWorker
from tests.integration.workers.harness.gateway import ScriptedGateway
from tests.integration.workers.harness.polling import wait_until
from tests.integration.workers.harness.processes import Valkey, WorkerProcess

NUM_FRAMES = 80
BIG = {"prompt": "noise", "width": 1280, "height": 720, "num_frames": NUM_FRAMES}
LONG = 1000
"""Steps of a job that is rendered for as long as a test takes."""


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    """What the renderer was asked for, a line for each call."""
    return tmp_path / "diary"


@pytest.fixture
def worker(start_worker: StartWorker) -> WorkerProcess:
    # Far shorter than a clip takes to be written.
    return start_worker(cancel_grace_s=0.2)


@pytest.fixture
def slow(gateway: ScriptedGateway, make_job: MakeJob, worker: WorkerProcess) -> Assignment:
    """Waits to be claimed; drawn in a moment, encoded for seconds."""
    job = make_job()
    spec = job.spec.model_copy(update=BIG)
    gateway.waiting[-1] = job = job.model_copy(update={"spec": spec})
    return job


def begin_both(worker: WorkerProcess, valkey: Valkey, after: Assignment) -> None:
    """Return when `after` is being denoised, while the clip before it is still being written."""
    valkey.ring()
    valkey.ring()
    wait_until(lambda: "denoising" in valkey.stages_of(after.job_id))
    assert "job_rendered" not in worker.events


def test_the_next_job_is_denoised_while_the_last_clip_is_encoded(
    worker: WorkerProcess,
    slow: Assignment,
    valkey: Valkey,
    gateway: ScriptedGateway,
    make_job: MakeJob,
    diary: Path,
) -> None:
    after = make_job("b", steps=20)
    begin_both(worker, valkey, after)
    wait_until(lambda: {slow.job_id, after.job_id} <= gateway.completed.keys())

    assert gateway.completed[slow.job_id].rendered.num_frames == NUM_FRAMES
    assert diary.read_text().splitlines() == ["noise", "b"]
    stages = valkey.stages_of(slow.job_id)
    assert stages == sorted(stages, key=["denoising", "encoding", "uploading"].index)
    assert len(gateway.claims) == 2
    assert not gateway.failed


def test_nothing_is_claimed_beside_a_tail_without_a_delivery(
    worker: WorkerProcess,
    slow: Assignment,
    valkey: Valkey,
    gateway: ScriptedGateway,
    make_job: MakeJob,
) -> None:
    make_job("b")
    valkey.ring()
    wait_until(lambda: slow.job_id in gateway.completed)
    assert len(gateway.claims) == 1


def test_a_job_is_canceled_while_its_clip_is_written_and_the_next_goes_on(
    worker: WorkerProcess,
    slow: Assignment,
    valkey: Valkey,
    gateway: ScriptedGateway,
    make_job: MakeJob,
    diary: Path,
) -> None:
    after = make_job("b", steps=20)
    begin_both(worker, valkey, after)
    valkey.client.set(cancel_key(slow.job_id), "1", ex=60)
    wait_until(lambda: slow.job_id in gateway.failed)
    wait_until(lambda: after.job_id in gateway.completed)

    assert gateway.failed[slow.job_id].code is FailureCode.CANCELED
    assert slow.job_id not in gateway.completed
    assert diary.read_text().splitlines() == ["noise", "b"]


def test_a_deaf_renderer_costs_the_clip_before_nothing_but_time(
    worker: WorkerProcess,
    slow: Assignment,
    valkey: Valkey,
    gateway: ScriptedGateway,
    make_job: MakeJob,
    diary: Path,
) -> None:
    deaf = make_job("deaf", steps=LONG)
    begin_both(worker, valkey, deaf)
    valkey.client.set(cancel_key(deaf.job_id), "1", ex=60)
    wait_until(lambda: deaf.job_id in gateway.failed and slow.job_id in gateway.completed)
    assert gateway.failed[deaf.job_id].code is FailureCode.CANCELED


def test_a_child_that_dies_takes_neither_job_with_it(
    worker: WorkerProcess,
    slow: Assignment,
    valkey: Valkey,
    gateway: ScriptedGateway,
    make_job: MakeJob,
    diary: Path,
) -> None:
    after = make_job("b", steps=20)
    [child] = worker.child_pids()
    begin_both(worker, valkey, after)
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: {slow.job_id, after.job_id} <= gateway.completed.keys())

    assert sorted(diary.read_text().splitlines()) == ["b", "b", "noise", "noise"]
    assert not gateway.failed


def test_a_renderer_that_crashes_beside_a_tail_is_found_out(
    worker: WorkerProcess,
    slow: Assignment,
    valkey: Valkey,
    gateway: ScriptedGateway,
    make_job: MakeJob,
) -> None:
    bad = make_job("crash", steps=LONG)
    valkey.ring()
    valkey.ring()
    wait_until(lambda: bad.job_id in gateway.failed and slow.job_id in gateway.completed)
    assert gateway.failed[bad.job_id].code is FailureCode.RENDERER_CRASHED


def test_a_job_that_runs_out_of_memory_takes_no_clip_with_it(
    worker: WorkerProcess,
    slow: Assignment,
    valkey: Valkey,
    gateway: ScriptedGateway,
    make_job: MakeJob,
) -> None:
    hungry = make_job("oom", steps=4)
    begin_both(worker, valkey, hungry)
    wait_until(lambda: hungry.job_id in gateway.failed)
    assert gateway.failed[hungry.job_id].code == FailureCode.OUT_OF_MEMORY
    wait_until(lambda: slow.job_id in gateway.completed)
    assert "serving_failed" not in worker.events


def test_a_drain_waits_for_the_tail_and_the_job_beside_it(
    worker: WorkerProcess,
    slow: Assignment,
    valkey: Valkey,
    gateway: ScriptedGateway,
    make_job: MakeJob,
    tmp_path: Path,
) -> None:
    after = make_job("b", steps=10)
    begin_both(worker, valkey, after)
    worker.signal(signal.SIGTERM)
    assert worker.wait(within_s=60) == 0
    assert gateway.completed.keys() == {slow.job_id, after.job_id}
    assert not list((tmp_path / "spool").glob("job_*"))


def test_an_attempt_that_is_dropped_while_it_is_written_leaves_nothing(
    worker: WorkerProcess,
    slow: Assignment,
    valkey: Valkey,
    gateway: ScriptedGateway,
    make_job: MakeJob,
    tmp_path: Path,
) -> None:
    after = make_job("b", steps=20)
    begin_both(worker, valkey, after)
    gateway.drop = [slow.job_id]
    wait_until(lambda: "attempt_dropped" in worker.events)
    wait_until(lambda: after.job_id in gateway.completed)
    assert not {slow.job_id} & (gateway.completed.keys() | gateway.failed.keys())
    wait_until(partial(_is_empty, tmp_path / "spool"))


def test_a_killed_worker_reports_nothing_of_a_half_written_clip(
    worker: WorkerProcess,
    slow: Assignment,
    valkey: Valkey,
    gateway: ScriptedGateway,
    make_job: MakeJob,
    start_worker: StartWorker,
) -> None:
    after = make_job("b", steps=LONG)
    begin_both(worker, valkey, after)
    worker.kill()
    start_worker()
    assert not gateway.completed
    assert not gateway.failed


def _is_empty(spool: Path) -> bool:
    return not list(spool.glob("job_*"))
