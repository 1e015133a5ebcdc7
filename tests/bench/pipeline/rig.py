"""Our side: a worker host with its warm child, real Valkey, and a gateway that only hands out jobs.

A job's time runs from the doorbell until its files are uploaded and reported. Processor time is
that of the worker's two processes until they are quiet again, for they tidy up after a report; to
a hundredth of a second, Linux only.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import NamedTuple

from gateway.protocol import Assignment, LabelFields
from models.card import ModelCard
from models.catalog import load_catalog
from models.spec import Kind
from tests.bench.pipeline.plain import FPS, PROMPT
from tests.bench.pipeline.stages import Stages
from tests.conftest import ROOT
from tests.integration.workers.harness.gateway import TOKEN, ScriptedGateway
from tests.integration.workers.harness.processes import POOL, Valkey, WorkerProcess

READY_S = 300.0
PATIENCE_S = 600.0
LOOK_EVERY_S = 0.005
HEARTBEAT_S = 10.0
"""As the real gateway asks for."""

SETTLE_S = 0.2


class Spent(NamedTuple):
    """Seconds by the clock, and of all processors."""

    wall_s: float
    cpu_s: float


class Rig:
    """A running worker. Jobs are of the shipped model, in its card's size and length."""

    def __init__(self, gateway: ScriptedGateway, valkey: Valkey, worker: WorkerProcess) -> None:
        self._worker = worker
        self.stages = Stages(worker.log_path)
        self.card: ModelCard = load_catalog(ROOT / "configs" / "models.yaml").default
        self._gateway = gateway
        self._valkey = valkey
        self._numbers = count(1)

    def run(self, num_jobs: int, mode: str, *, is_noted: bool = True) -> Spent:
        """From the doorbells of `num_jobs` until all of them are reported, for each.

        The stages of a single one are noted, unless it is only to warm up.
        """
        jobs = [self._make_job(mode) for _ in range(num_jobs)]
        cpu_s = self._settle()
        rung_at, began = datetime.now(UTC), time.perf_counter()
        self._gateway.waiting.extend(jobs)
        for _ in jobs:
            self._valkey.ring()
        while not all(job.job_id in self._gateway.completed for job in jobs):
            if self._gateway.failed or time.perf_counter() > began + PATIENCE_S:
                raise RuntimeError(f"a job did not finish: {self._gateway.failed}")
            time.sleep(LOOK_EVERY_S)
        wall_s = max(self._gateway.completed_at[job.job_id] for job in jobs) - began
        spent = Spent(wall_s / num_jobs, (self._settle() - cpu_s) / num_jobs)
        if num_jobs == 1 and is_noted:
            self.stages.note(jobs[0].job_id, rung_at, mode)
        return spent

    def _settle(self) -> float:
        """Processor seconds of the worker so far, once it has nothing more to do."""
        pids = (self._worker.pid, *self._worker.child_pids())
        before, now = -1.0, sum(map(_cpu_s, pids))
        while now > before:
            time.sleep(SETTLE_S)
            before, now = now, sum(map(_cpu_s, pids))
        return now

    def _make_job(self, mode: str) -> Assignment:
        number = next(self._numbers)
        spec = self.card.example(
            kind=Kind.TEXT_TO_VIDEO,
            mode=mode,
            size=self.card.sizes[0],
            fps=FPS,
            seconds=self.card.seconds[0],
            prompt=PROMPT,
        )
        return Assignment(
            job_id=f"job_{number}",
            attempt=1,
            spec=spec.model_copy(update={"seed": number}),
            inputs=[],
            label=LabelFields(producer="bench", produce_id=f"job_{number}"),
            deadline_s=PATIENCE_S,
            lease_s=60,
            heartbeat_s=10,
        )


@contextmanager
def running(folder: Path) -> Iterator[Rig]:
    """A worker that is ready, with its files in `folder`."""
    gateway, valkey = ScriptedGateway(HEARTBEAT_S), Valkey(folder)
    gateway.start()
    valkey.start()
    settings = {
        "GATEWAY_URL": gateway.url,
        "WORKER_TOKEN": TOKEN,
        "REDIS_URL": valkey.url,
        "POOL": POOL,
        "CONFIG_DIR": ROOT / "configs",
        "SPOOL_DIR": folder / "spool",
        # Its lines tell the stages of a job; writing them counts against the worker.
        "LOG_LEVEL": "DEBUG",
    }
    env = {f"REELGATE_{name}": str(value) for name, value in settings.items()}
    worker = WorkerProcess(env, folder / "worker.log")
    try:
        _wait_ready(worker)
        yield Rig(gateway, valkey, worker)
    finally:
        worker.kill()
        valkey.client.close()
        valkey.kill()
        gateway.stop()


def _wait_ready(worker: WorkerProcess) -> None:
    until = time.monotonic() + READY_S
    while "worker_ready" not in worker.events:
        if not worker.is_running() or time.monotonic() > until:
            raise RuntimeError(f"the worker did not start:\n{worker.log_path.read_text()}")
        time.sleep(0.1)


def _cpu_s(pid: int) -> float:
    """Processor seconds of a process so far, ended threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    # utime and stime, fields 14 and 15 of proc(5); the split begins with field 3.
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
