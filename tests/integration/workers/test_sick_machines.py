"""Out of memory, crashes, models that do not load: what is retried, and when a worker stops."""

import os
import subprocess
import sys
from pathlib import Path

from gateway.protocol import FailureCode
from tests.integration.workers.conftest import MakeJob, StartWorker
from tests.integration.workers.harness.gateway import ScriptedGateway
from tests.integration.workers.harness.polling import wait_until
from tests.integration.workers.harness.processes import ROOT, Valkey, is_running

SPARING = {"low_memory": {"slowly": True}, "max_batch": 2}


def health(spool: Path) -> tuple[int, str]:
    """Exit code and complaint of `reelgate worker health`."""
    done = subprocess.run(
        [sys.executable, "-c", "from workers.cli import worker; worker()", "health"],
        env={**os.environ, "REELGATE_SPOOL_DIR": str(spool), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr.strip()


def test_out_of_memory_is_tried_once_more_with_less(
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
    tmp_path: Path,
) -> None:
    worker = start_worker(card=SPARING)
    [child] = worker.child_pids()
    jobs = [make_job("heavy"), make_job("light")]

    valkey.ring()
    wait_until(lambda: len(gateway.completed) == len(jobs))

    calls = (tmp_path / "diary").read_text().splitlines()
    assert calls == ["heavy+light", "heavy in low memory", "light in low memory"]
    assert worker.child_pids() == [child]


def test_out_of_memory_for_good_fails_the_job_and_recycles_the_child(
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
    tmp_path: Path,
) -> None:
    worker = start_worker(card=SPARING)
    [child] = worker.child_pids()
    job = make_job("oom")

    valkey.ring()
    wait_until(lambda: job.job_id in gateway.failed)
    after = make_job()
    valkey.ring()
    wait_until(lambda: after.job_id in gateway.completed)

    assert gateway.failed[job.job_id].code is FailureCode.OUT_OF_MEMORY
    assert not gateway.failed[job.job_id].retryable
    assert (tmp_path / "diary").read_text().splitlines()[:2] == ["oom", "oom in low memory"]
    assert not is_running(child)
    assert "worker_quarantined" not in worker.events


def test_a_worker_that_keeps_failing_claims_nothing_until_it_renders_again(
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
    tmp_path: Path,
) -> None:
    worker = start_worker(quarantine_after=2)
    spool = tmp_path / "spool"
    assert health(spool) == (0, "")
    crashing = tmp_path / "crash-scripted"
    crashing.touch()
    jobs = [make_job(), make_job(), make_job()]

    for _ in jobs:
        valkey.ring()
    wait_until(lambda: "worker_quarantined" in worker.events)
    reason = "2 failures in a row, the last: renderer_crashed"
    assert worker.field_of("worker_quarantined", "reason") == [reason]
    assert health(spool) == (1, reason)
    wait_until(lambda: gateway.hears(unfit=reason))
    wait_until(lambda: (tmp_path / "diary").read_text().count("a grey wall") >= 2)
    assert len(gateway.claims) == 2, "the third delivery waits"
    crashing.unlink()

    wait_until(lambda: jobs[2].job_id in gateway.completed)
    assert "worker_trusted_again" in worker.events
    assert health(spool) == (0, "")
    wait_until(lambda: gateway.hears(unfit=None))


def test_a_model_that_never_loads_is_said_to_the_health_check_and_the_gateway(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, tmp_path: Path
) -> None:
    broken = tmp_path / "broken-scripted"
    broken.touch()
    worker = start_worker(is_ready=False, quarantine_after=100)
    spool = tmp_path / "spool"

    wait_until(lambda: "model_not_loaded" in worker.events)
    wait_until((spool / "unfit").exists)
    code, complaint = health(spool)
    assert code == 1
    assert complaint == "model scripted does not load: LoadFailed: the weights are not there"
    wait_until(lambda: gateway.hears(unfit=complaint))
    assert gateway.heartbeats[-1].loaded_models == []
    assert gateway.claims == []
    broken.unlink()

    worker.wait_ready()
    assert health(spool) == (0, "")
    wait_until(lambda: gateway.heartbeats[-1].loaded_models == ["scripted"])
    assert gateway.hears(unfit=None)
