"""A worker whose model runs on two ranks: one job, and nothing left when the worker is killed."""

import json
from functools import partial
from pathlib import Path

import pytest

from gateway.protocol import ArtifactRole
from models.catalog import load_catalog
from tests.conftest import ROOT
from tests.integration.workers.conftest import MakeJob, StartWorker
from tests.integration.workers.harness.gateway import ScriptedGateway
from tests.integration.workers.harness.polling import wait_until
from tests.integration.workers.harness.processes import Valkey, is_running
from workers.media.probe import probe_video

PATIENCE_S = 200.0


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_a_worker_renders_on_two_ranks_and_takes_them_along(
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
    tmp_path: Path,
) -> None:
    card = load_catalog(ROOT / "configs" / "models.yaml").default.model_dump(mode="json")
    # Distilled weights of a mode are not split.
    card |= {"id": "scripted", "adapter": "parallel", "modes": {"standard": 12}}
    card["options"] |= {"renderer": "wan", "devices": 2}
    (tmp_path / "models.yaml").write_text(json.dumps({"models": [card]}))
    worker = start_worker(is_ready=False)
    wait_until(lambda: "worker_ready" in worker.events, within_s=PATIENCE_S)
    [child] = worker.child_pids()
    followers = spawned_by(child)
    assert len(followers) == 1

    job = make_job()
    spec = job.spec.model_copy(update={"num_frames": 17, "fps": 8, "guidance_scale": 3.0})
    gateway.waiting[:] = [job.model_copy(update={"spec": spec})]
    valkey.ring()
    wait_until(partial(gateway.completed.get, job.job_id), within_s=PATIENCE_S)
    video = tmp_path / "video.mp4"
    video.write_bytes(gateway.uploads[job.job_id, 1, ArtifactRole.VIDEO])
    assert probe_video(video).num_frames == 17

    worker.kill()
    wait_until(lambda: not any(map(is_running, [child, *followers])))


def spawned_by(pid: int) -> list[int]:
    """The ranks among the processes that `pid` has started."""
    found = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    lines = {each: Path(f"/proc/{each}/cmdline").read_bytes() for each in found}
    return [each for each, line in lines.items() if b"spawn_main" in line]
