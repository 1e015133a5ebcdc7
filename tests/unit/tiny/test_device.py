"""Training draws the same numbers everywhere, and runs on a GPU where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from models.tiny.render import render
from models.tiny.scenes import draw_autoencoder_scene
from models.tiny.tracks import Stage
from models.tiny.train import main
from models.tiny.training import Draws

if TYPE_CHECKING:
    from pathlib import Path


def test_draws_are_made_on_the_cpu_and_moved_to_the_default_device() -> None:
    plain = Draws(1, 2)
    numbers = plain.uniform(4), plain.integers(10, 5), plain.normal(torch.zeros(2, 3))
    with torch.device("meta"):
        moved = Draws(1, 2)
        elsewhere = moved.uniform(4), moved.integers(10, 5), moved.normal(torch.zeros(2, 3))
    for here, there in zip(numbers, elsewhere, strict=True):
        assert (here.device.type, there.device.type) == ("cpu", "meta")
        assert here.shape == there.shape
    assert torch.equal(plain.generator.get_state(), moved.generator.get_state())


def test_clips_are_drawn_on_the_default_device() -> None:
    rng = Draws(2, 0).rng
    scenes = [draw_autoencoder_scene(Stage(), rng) for _ in range(20)]
    assert render(scenes).device.type == "cpu"
    rng = Draws(2, 0).rng
    plain = [draw_autoencoder_scene(Stage(), rng) for _ in range(20)]
    untextured = [scene for scene in plain if scene.backdrop.texture_seed is None]
    assert len(untextured) < len(plain), "a texture is among them"
    with torch.device("meta"):
        assert render(plain).device.type == "meta"


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
def test_every_stage_runs_on_a_gpu_and_goes_on_from_its_state(tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path), "--chunks", "1", "--device", "cuda", "--steps"]
    main([*arguments, "2"])
    main([*arguments, "3"])
    assert (tmp_path / "checkpoint" / "fast" / "transformer" / "config.json").exists()
    assert torch.load(tmp_path / "distil.pt", map_location="cpu")["step"] == 3
