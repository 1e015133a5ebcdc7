"""Workers whose engine is another server: a Reelgate with its real model, and one that dies."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from gateway.protocol import ArtifactRole, FailureCode
from models.adapters.remote import RemoteAdapter
from models.adapters.remote_api import EngineApi
from models.adapters.wan import WanAdapter
from models.card import ModelCard
from models.catalog import load_catalog
from models.pipeline import Canceled, Clip
from models.spec import Kind, Stage, VideoSpec
from tests.conftest import ROOT
from tests.integration.workers.conftest import MakeJob, StartWorker
from tests.integration.workers.harness.gateway import ScriptedGateway
from tests.integration.workers.harness.polling import wait_until
from tests.integration.workers.harness.processes import Valkey
from tests.support.api import png_bytes
from tests.support.engines import MODEL, SGLangDiffusion
from tests.support.serving import serving
from tests.support.stack import running_stack, sdk_of
from workers.media.label import build_label, read_label
from workers.media.probe import probe_video

PROMPT = "a red circle moving right on a black background"
LOCAL = load_catalog(ROOT / "configs" / "models.yaml").default
KEY_VARIABLE = "ENGINE_KEY_OF_THE_TESTS"


def remote_card(url: str, **options: object) -> ModelCard:
    """The card of the shipped model, rendered by the Reelgate at `url`."""
    changes = {
        "id": "reel-elsewhere",
        "adapter": "models.adapters.remote:RemoteAdapter",
        "checkpoint": "",
        "options": {
            "base_url": url,
            "model": LOCAL.id,
            "api_key_env": KEY_VARIABLE,
            "poll_s": 0.1,
            **options,
        },
    }
    return ModelCard.model_validate({**LOCAL.model_dump(), **changes})


def spec_for(card: ModelCard, **changes: object) -> VideoSpec:
    spec = card.example(
        kind=Kind.TEXT_TO_VIDEO, mode="standard", size="64x64", fps=8, seconds=2, prompt=PROMPT
    )
    return spec.model_copy(update={"seed": 11, "num_inference_steps": 4, **changes})


def ignore(*_step: object, previews: object = ()) -> None:
    """Nobody watches."""


def read(clip: Clip) -> np.ndarray:
    return np.stack(list(clip.frames)).astype(int)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_reelgate_renders_for_a_reelgate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    local = WanAdapter()
    local.load(LOCAL, "cpu")
    [here] = local.generate([spec_for(LOCAL)], ignore)
    with running_stack(tmp_path / "data") as stack, sdk_of(stack) as sdk:
        monkeypatch.setenv(KEY_VARIABLE, stack.api_key)
        card = remote_card(stack.base_url)
        adapter = RemoteAdapter()
        adapter.load(card, "cpu")

        [there] = adapter.generate([spec_for(card)], ignore)
        difference = np.abs(read(there) - read(here))
        assert difference.mean() < 3, "as far as H.264 at CRF 18 goes"
        assert there.fps == 8
        assert not sdk.videos.list().data, "what was read is not kept there"

        (tmp_path / "blue.png").write_bytes(png_bytes(colour="blue"))
        spec = spec_for(card, kind=Kind.IMAGE_TO_VIDEO, image=tmp_path / "blue.png")
        [from_image] = adapter.generate([spec], ignore)
        assert read(from_image)[0].mean(axis=(0, 1)) == pytest.approx([0, 0, 255], abs=40)

        _check_names(card, adapter)


def _check_names(card: ModelCard, adapter: RemoteAdapter) -> None:
    """A job is submitted once over all its attempts, unless what was begun is gone."""
    api = EngineApi(card)
    first = api.submit(spec_for(card), "job_1")
    assert api.submit(spec_for(card), "job_1").id == first.id
    [clip] = adapter.generate_named(["job_1"], [spec_for(card)], ignore)
    assert len(read(clip)) == 17
    # It was removed when it was read, so that its key leads nowhere.
    begun: list[Stage] = []

    def cancel(stage: Stage, _done: int, _total: int, previews: object = ()) -> None:
        del previews
        begun.append(stage)
        if len(begun) > 1:
            raise Canceled

    with pytest.raises(Canceled):
        adapter.generate_named(["job_1"], [spec_for(card)], cancel)
    [clip] = adapter.generate_named(["job_1"], [spec_for(card)], ignore)
    assert len(read(clip)) == 17


def write_engine_card(folder: Path, url: str) -> None:
    """A worker's only model, at the played engine."""
    card = {
        "id": "scripted",
        "title": "Elsewhere",
        "adapter": "models.adapters.remote:RemoteAdapter",
        "licence": "Apache-2.0",
        "kinds": ["text_to_video", "image_to_video"],
        "sizes": ["64x64"],
        "size_multiple": 2,
        "fps": [4],
        "seconds": [1],
        "num_frames": {"min": 5, "max": 5},
        "num_inference_steps": {"min": 1, "max": 1000, "default": 4},
        "guidance_scale": {"min": 1.0, "max": 8.0, "default": 1.0},
        "max_prompt_chars": 100,
        "deadline_s": 60,
        "options": {"base_url": url, "model": MODEL, "poll_s": 0.05, "patience_s": 0.2},
    }
    (folder / "models.yaml").write_text(json.dumps({"models": [card]}))


def test_labels_and_files_stay_ours(
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
    tmp_path: Path,
) -> None:
    engine = SGLangDiffusion(task="TI2V", sound=True)
    with serving(engine.app()) as url:
        write_engine_card(tmp_path, url)
        start_worker()
        job = make_job()
        valkey.ring()
        wait_until(lambda: job.job_id in gateway.completed)

    assert gateway.completed[job.job_id].rendered.label["ProduceID"] == job.job_id
    video = tmp_path / "video.mp4"
    video.write_bytes(gateway.uploads[job.job_id, 1, ArtifactRole.VIDEO])
    assert read_label(video) == build_label("reelgate-test", job.job_id)
    assert probe_video(video).audio is not None
    assert engine.submits[0][2]["idempotency-key"] == job.job_id
    assert "rendering" in valkey.stages_of(job.job_id)


def test_a_lost_engine_is_not_the_jobs_fault(
    valkey: Valkey,
    gateway: ScriptedGateway,
    start_worker: StartWorker,
    make_job: MakeJob,
    tmp_path: Path,
) -> None:
    engine = SGLangDiffusion(task="TI2V", looks=1_000_000)
    with serving(engine.app()) as url:
        write_engine_card(tmp_path, url)
        worker = start_worker()
        job = make_job()
        valkey.ring()
        wait_until(lambda: "rendering" in valkey.stages_of(job.job_id))
        engine.is_down = True
        wait_until(lambda: job.job_id in gateway.failed)
        failed = gateway.failed[job.job_id]
        assert (failed.code, failed.retryable) == (FailureCode.WORKER_LOST, True)
        unfit = tmp_path / "spool" / "unfit"
        wait_until(unfit.exists)
        assert "status 502" in unfit.read_text()

        waiting = make_job()
        valkey.ring()
        engine.is_down, engine.looks = False, 1
        wait_until(partial(gateway.completed.get, waiting.job_id))
        assert not unfit.exists()
        assert worker.field_of("model_lost", "model") == ["scripted"]
