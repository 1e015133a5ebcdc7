"""Jobs that are rendered together, and that what becomes of one does not touch the others."""

from pathlib import Path

import pytest

from gateway.protocol import FailureCode, cancel_key
from tests.integration.workers.conftest import MakeJob, StartWorker
from tests.integration.workers.harness.gateway import ScriptedGateway
from tests.integration.workers.harness.polling import wait_until
from tests.integration.workers.harness.processes import Valkey, WorkerProcess

LONG = 1000
ROOMY = {"max_batch": {"64x64": 3}}


@pytest.fixture
def worker(start_worker: StartWorker) -> WorkerProcess:
    """A worker with room for three jobs at once."""
    return start_worker(card=ROOMY, cancel_grace_s=0.5)


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    """What the renderer was asked for, a line for each call."""
    return tmp_path / "diary"


def test_compatible_jobs_are_claimed_and_rendered_together(
    worker: WorkerProcess, valkey: Valkey, gateway: ScriptedGateway, make_job: MakeJob, diary: Path
) -> None:
    jobs = [make_job(prompt, seed=seed) for seed, prompt in enumerate("abc")]

    valkey.ring()
    wait_until(lambda: len(gateway.completed) == 3)

    assert gateway.claims[0].room == 3
    assert diary.read_text().splitlines() == ["a+b+c"]
    for job in jobs:
        assert gateway.completed[job.job_id].rendered.label["ProduceID"] == job.job_id
        assert valkey.stages_of(job.job_id)[0] == "denoising"
        assert "encoding" in valkey.stages_of(job.job_id)
    videos = {gateway.uploads[job.job_id, 1, "video"] for job in jobs}
    assert len(videos) == 3, "every job has frames of its own seed"
    assert worker.events.count("job_rendered") == 3


def test_a_canceled_job_is_answered_at_once_and_the_others_go_on(
    worker: WorkerProcess, valkey: Valkey, gateway: ScriptedGateway, make_job: MakeJob, diary: Path
) -> None:
    canceled, kept = make_job("a", steps=100), make_job("b", steps=100)
    [child] = worker.child_pids()

    valkey.ring()
    wait_until(lambda: len(gateway.held()) == 2)
    valkey.client.set(cancel_key(canceled.job_id), "1", ex=60)
    wait_until(lambda: canceled.job_id in gateway.failed)
    assert kept.job_id not in gateway.completed, "the batch goes on after the cancel is answered"
    wait_until(lambda: kept.job_id in gateway.completed)

    assert gateway.failed[canceled.job_id].code is FailureCode.CANCELED
    assert canceled.job_id not in gateway.completed
    assert diary.read_text().splitlines() == ["a+b"]
    assert worker.child_pids() == [child]


def test_a_batch_that_nobody_waits_for_is_stopped(
    worker: WorkerProcess, valkey: Valkey, gateway: ScriptedGateway, make_job: MakeJob
) -> None:
    canceled, dropped = make_job(steps=LONG), make_job(steps=LONG)
    [child] = worker.child_pids()

    valkey.ring()
    wait_until(lambda: len(gateway.held()) == 2)
    valkey.client.set(cancel_key(canceled.job_id), "1", ex=60)
    gateway.drop = [dropped.job_id]
    wait_until(lambda: canceled.job_id in gateway.failed)
    wait_until(lambda: "attempt_dropped" in worker.events)
    after = make_job()
    valkey.ring()
    wait_until(lambda: after.job_id in gateway.completed)

    assert dropped.job_id not in gateway.failed
    assert worker.child_pids() == [child]


def test_every_job_of_a_batch_has_its_own_deadline(
    worker: WorkerProcess, valkey: Valkey, gateway: ScriptedGateway, make_job: MakeJob
) -> None:
    hasty, patient = make_job(steps=60, deadline_s=0.5), make_job(steps=60)

    valkey.ring()
    wait_until(lambda: patient.job_id in gateway.completed)

    assert gateway.failed[hasty.job_id].code is FailureCode.DEADLINE_EXCEEDED
    assert not gateway.failed[hasty.job_id].retryable


def test_one_bad_input_fails_one_job(
    worker: WorkerProcess, valkey: Valkey, gateway: ScriptedGateway, make_job: MakeJob, diary: Path
) -> None:
    good, bad, fine = make_job("good"), make_job("bad-image"), make_job("fine")

    valkey.ring()
    wait_until(lambda: {good.job_id, fine.job_id} <= gateway.completed.keys())

    assert list(gateway.failed) == [bad.job_id]
    assert gateway.failed[bad.job_id].code is FailureCode.MODEL_ERROR
    assert not gateway.failed[bad.job_id].retryable
    assert diary.read_text().splitlines() == ["good+bad-image+fine", "good", "bad-image", "fine"]


def test_one_crashing_job_takes_no_other_with_it(
    worker: WorkerProcess, valkey: Valkey, gateway: ScriptedGateway, make_job: MakeJob, diary: Path
) -> None:
    good, bad = make_job("good"), make_job("crash")

    valkey.ring()
    wait_until(lambda: good.job_id in gateway.completed)
    wait_until(lambda: bad.job_id in gateway.failed)

    assert gateway.failed[bad.job_id].code is FailureCode.RENDERER_CRASHED
    assert gateway.failed[bad.job_id].retryable
    assert diary.read_text().splitlines() == ["good+crash", "good", "crash"]


def test_what_does_not_go_together_is_rendered_in_turn(
    worker: WorkerProcess, valkey: Valkey, gateway: ScriptedGateway, make_job: MakeJob, diary: Path
) -> None:
    make_job("a")
    make_job("b")
    make_job("c", steps=5)

    valkey.ring()
    wait_until(lambda: len(gateway.completed) == 3)

    assert diary.read_text().splitlines() == ["a+b", "c"]


def test_an_outage_holds_up_neither_a_batch_nor_its_deadlines(
    worker: WorkerProcess, valkey: Valkey, gateway: ScriptedGateway, make_job: MakeJob
) -> None:
    jobs = [make_job(steps=20, deadline_s=8) for _ in range(3)]

    valkey.ring()
    wait_until(lambda: len(gateway.held()) == 3)
    gateway.is_down = True
    wait_until(lambda: worker.events.count("job_rendered") == 3)
    gateway.is_down = False

    wait_until(lambda: gateway.completed.keys() == {job.job_id for job in jobs})
