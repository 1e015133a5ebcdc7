"""One worker, several models: kept while they fit the budget, swapped in one child else."""

from functools import partial
from pathlib import Path

from gateway.protocol import FailureCode
from tests.integration.workers.conftest import MakeJob, StartWorker
from tests.integration.workers.harness.gateway import ScriptedGateway
from tests.integration.workers.harness.polling import wait_until
from tests.integration.workers.harness.processes import Valkey, is_running

EACH = {"memory_bytes": 1000}


def test_models_that_fit_the_budget_stay_loaded(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    worker = start_worker(card=EACH, model_budget_bytes=2000)
    [child] = worker.child_pids()
    jobs = [make_job(model=model) for model in ("other", "scripted", "other")]

    for job in jobs:
        valkey.ring()
        wait_until(partial(gateway.completed.get, job.job_id))

    assert worker.field_of("model_loaded", "model") == ["scripted", "other"]
    assert worker.child_pids() == [child]
    loaded = [claim.loaded_model for claim in gateway.claims]
    assert loaded == ["scripted", "other", "scripted"], "the one used last"
    assert valkey.stages_of(jobs[0].job_id)[:2] == ["loading", "denoising"]
    assert valkey.stages_of(jobs[1].job_id)[0] == "denoising"


def test_a_model_beyond_the_budget_evicts_the_least_used_one_in_the_same_child(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    worker = start_worker(card=EACH, model_budget_bytes=1999)
    [child] = worker.child_pids()
    first, second = make_job(model="other"), make_job()

    valkey.ring()
    wait_until(lambda: first.job_id in gateway.completed)
    valkey.ring()
    wait_until(lambda: second.job_id in gateway.completed)

    assert worker.field_of("model_evicted", "model") == ["scripted", "other"]
    assert worker.field_of("model_loaded", "model") == ["scripted", "other", "scripted"]
    assert worker.child_pids() == [child]


def test_a_model_that_does_not_load_here_is_not_the_jobs_fault(
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
    tmp_path: Path,
) -> None:
    worker = start_worker()
    [child] = worker.child_pids()
    (tmp_path / "broken-other").touch()
    job, after = make_job(model="other"), make_job()

    valkey.ring()
    valkey.ring()
    wait_until(lambda: after.job_id in gateway.completed)

    assert gateway.failed[job.job_id].code is FailureCode.WORKER_LOST
    assert gateway.failed[job.job_id].retryable
    assert not is_running(child), "a failed load costs the child"
    assert "the weights are not there" in str(worker.field_of("model_not_loaded", "reason"))
