"""A batch through a real worker and the real Wan adapter, with random weights."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.integration.workers.conftest import MakeJob, StartWorker
from tests.integration.workers.harness.gateway import ScriptedGateway
from tests.integration.workers.harness.polling import wait_until
from tests.integration.workers.harness.processes import Valkey
from tests.support.checkpoints.wan import save_ti2v

SEEDS = (7, 8, 9)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Where the renderer keeps its frames; the one model there is is Wan."""
    folder = tmp_path / "frames"
    folder.mkdir()
    save_ti2v(tmp_path / "wan")
    card = {
        "id": "scripted",
        "title": "Random weights",
        "adapter": "recording_wan:RecordingWan",
        "checkpoint": str(tmp_path / "wan"),
        "licence": "Apache-2.0",
        "kinds": ["text_to_video"],
        "sizes": ["64x64"],
        "size_multiple": 32,
        "fps": [4],
        "seconds": [1],
        "num_frames": {"multiple": 4, "offset": 1, "min": 5, "max": 5},
        "num_inference_steps": {"min": 2, "max": 8, "default": 3},
        "modes": {"standard": 8},
        "guidance_scale": {"min": 1.0, "max": 8.0, "default": 3.0},
        "max_prompt_chars": 100,
        "max_batch": {"64x64": 3},
        "deadline_s": 60,
        "options": {"max_sequence_length": 32, "frames": str(folder)},
    }
    (tmp_path / "models.yaml").write_text(json.dumps({"models": [card]}))
    return folder


def test_a_job_of_a_batch_gets_the_frames_it_would_have_got_alone(
    frames: Path,
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
) -> None:
    start_worker()
    together = [make_job(f"prompt {seed}", seed=seed) for seed in SEEDS]
    valkey.ring()
    wait_until(lambda: len(gateway.completed) == len(together))
    for seed in SEEDS:
        job = make_job(f"prompt {seed}", seed=seed)
        valkey.ring()
        wait_until(partial(gateway.completed.get, job.job_id))

    batch = [np.load(frames / f"3-{seed}.npy").astype(int) for seed in SEEDS]
    alone = [np.load(frames / f"1-{seed}.npy").astype(int) for seed in SEEDS]
    for mine, solo in zip(batch, alone, strict=True):
        assert mine.shape == (5, 64, 64, 3)
        assert np.abs(mine - solo).max() <= 1
    assert np.abs(batch[0] - batch[1]).max() > 10
