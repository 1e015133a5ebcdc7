"""Context parallelism on a CPU: two ranks over gloo make the frames that one makes.

The wiring is what is tested. That it is faster takes several GPUs.
"""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from models.adapters.family import DiffusersAdapter
from models.adapters.parallel import ContextParallel
from models.adapters.wan import WanAdapter
from models.card import ModelCard
from models.catalog import load_catalog
from models.pipeline import Canceled, Frame, LoadFailed, VideoPipeline
from models.spec import Kind, Stage, VideoSpec
from tests.conftest import ROOT
from tests.support.renderers import MODELS, Model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

NO_FAMILY = "models.avatar.pipeline:AvatarPipeline"
SHIPPED = load_catalog(ROOT / "configs" / "models.yaml").default
# Distilled weights of a mode are not split.
TINY = SHIPPED.model_copy(update={"modes": {"standard": SHIPPED.modes["standard"]}})


def card_with(**options: object) -> ModelCard:
    changes = {"adapter": "parallel", "options": {**TINY.options, **options}}
    return ModelCard.model_validate({**TINY.model_dump(), **changes})


def spec_of(seed: int) -> VideoSpec:
    spec = TINY.example(
        kind=Kind.TEXT_TO_VIDEO, mode="standard", size="64x64", fps=8, seconds=2, prompt="a circle"
    )
    return spec.model_copy(update={"seed": seed, "num_inference_steps": 4})


def ignore(*_step: object, previews: object = ()) -> None:
    """Nobody watches."""


def frames(renderer: VideoPipeline, *seeds: int) -> np.ndarray:
    clips = renderer.generate([spec_of(seed) for seed in seeds], ignore)
    return np.stack([np.stack(list(clip.frames)) for clip in clips]).astype(int)


def num_tokens(renderer: VideoPipeline, inner: VideoPipeline | None) -> int:
    """How many tokens the second block of the transformer of `inner` gets in this process."""
    assert isinstance(inner, DiffusersAdapter)
    pipe = inner.pipelines[Kind.TEXT_TO_VIDEO]
    seen: list[int] = []
    block = pipe.transformer.blocks[1]
    handle = block.register_forward_pre_hook(lambda _block, given: seen.append(given[0].shape[1]))
    try:
        frames(renderer, 1)
    finally:
        handle.remove()
    return seen[0]


def test_two_ranks_render_what_one_renders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    alone = WanAdapter()
    alone.load(TINY, "cpu")
    expected = frames(alone, 1, 2)

    both = ContextParallel()
    both.load(card_with(renderer="wan", devices=2), "cpu")
    assert np.abs(frames(both, 1, 2) - expected).max() <= 1
    assert both.memory_bytes == alone.memory_bytes
    assert num_tokens(both, both._inner) * 2 == num_tokens(alone, alone), (
        "each rank has half of them"
    )

    seen: list[int] = []

    def cancel(stage: Stage, done: int, _total: int, previews: Sequence[Frame] = ()) -> None:
        del previews
        seen.append(done)
        if stage is Stage.DENOISING and done == 2:
            raise Canceled

    with pytest.raises(Canceled):
        both.generate([spec_of(3)], cancel)
    assert seen == [0, 1, 2], "it stopped within a step"
    assert np.abs(frames(both, 1, 2) - expected).max() <= 1, "all ranks are in step again"

    [(process, _)] = both._others
    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    assert np.abs(frames(both, 1, 2) - expected).max() <= 1, "a drain signals a whole group"

    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises((LoadFailed, RuntimeError)):
        frames(both, 1)
    with pytest.raises(LoadFailed, match="ranks are gone"):
        frames(both, 1)
    assert not [*tmp_path.iterdir()], "the place where they met is cleared"


@pytest.mark.parametrize(
    ("mode", "key"),
    [
        ({"cache": {"kind": "first_block"}}, "cache"),
        ({"cache": {"kind": "taylor"}}, "cache"),
        ({"second_pass": {"sigmas": [0.9, 0.4]}}, "second_pass"),
        ({"distilled": "fast"}, "distilled"),
        ({"compile": True}, "compile"),
    ],
)
def test_a_mode_that_cannot_be_split_is_refused_by_its_key(
    mode: dict[str, object], key: str
) -> None:
    modes = {"standard": 4, "fast": {"num_inference_steps": 4, **mode}}
    card = card_with(renderer="wan", devices=2).model_dump() | {"modes": modes}
    with pytest.raises(LoadFailed, match=f"mode fast: {key} and parallel do not go together"):
        ContextParallel().load(ModelCard.model_validate(card), "cpu")


@pytest.mark.parametrize(
    "model", [model for model in MODELS if "wan" not in model.name], ids=lambda model: model.name
)
def test_families_that_cannot_be_split_are_refused_before_their_weights_are_read(
    model: Model, tmp_path: Path
) -> None:
    options = {"renderer": model.adapter, "devices": 2}
    card = model.card(tmp_path / "nothing", adapter="parallel", modes={"standard": 4})
    card = card.model_copy(update={"options": options})
    with pytest.raises(LoadFailed, match=f"renderer {model.adapter} cannot be split over devices"):
        ContextParallel().load(card, "cpu")


def test_weights_of_wan_that_cannot_be_split_are_refused_by_name(tmp_path: Path) -> None:
    [model] = [model for model in MODELS if model.name == "wan-vace"]
    model.save(tmp_path)
    options = {**model.options, "renderer": model.adapter, "devices": 2}
    card = model.card(tmp_path, adapter="parallel", options=options, modes={"standard": 4})
    with pytest.raises(LoadFailed, match="a WanVACETransformer3DModel cannot be split"):
        ContextParallel().load(card, "cpu")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"renderer": "wan"}, "options need devices, 2 or more"),
        ({"devices": 2}, "options need renderer"),
        ({"renderer": NO_FAMILY, "devices": 2}, "renderer .*AvatarPipeline is not over diffusers"),
    ],
)
def test_options_that_make_no_ranks_are_refused(options: dict[str, object], problem: str) -> None:
    with pytest.raises(LoadFailed, match=problem):
        ContextParallel().load(card_with(**options), "cpu")
