"""Less memory on demand: tiles instead of whole pictures, weights that go with their owner."""

import gc
import weakref
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from models.adapters.wan import WanAdapter
from models.card import ModelCard
from models.pipeline import Clip, LoadFailed, StepCallback
from models.spec import Kind, Stage, VideoSpec

MakeSpec = Callable[..., VideoSpec]
MakeCard = Callable[..., ModelCard]
Steps = list[tuple[Stage, int, int]]
TILE, STRIDE = 64, 32
Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def sparing(make_card: MakeCard) -> WanAdapter:
    """A renderer with a preset for little memory, whose tiles are small."""
    renderer = WanAdapter()
    renderer.load(make_card(low_memory={"vae_tiling": True}), "cpu")
    vae = renderer.pipelines[Kind.TEXT_TO_VIDEO].vae
    vae.enable_tiling(TILE, TILE, STRIDE, STRIDE)
    return renderer


def _video(clip: Clip) -> Floats:
    return np.stack(list(clip.frames)).astype(np.float32)


def test_tiles_make_the_clip_that_the_stock_tiles_make(
    sparing: WanAdapter,
    make_spec: MakeSpec,
    ignore_steps: StepCallback,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[torch.Tensor] = []

    def keep(vae: object, latents: torch.Tensor, _on_step: StepCallback) -> list[object]:
        seen.append(latents)
        return []

    spec = make_spec(num_frames=9)
    (clip,) = sparing.generate([spec], ignore_steps, low_memory=True)
    tiled = _video(clip)
    monkeypatch.setattr("models.adapters.wan.decode_tiled", keep)
    sparing.generate([spec], ignore_steps, low_memory=True)
    vae = sparing.pipelines[Kind.TEXT_TO_VIDEO].vae
    like = seen[0].to(torch.float32)
    mean, std = (
        torch.tensor(values).view(1, -1, 1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    with torch.inference_mode():
        stock = vae.tiled_decode(like * std + mean).sample[0]
    expected = stock.mul(127.5).add(127.5).permute(1, 2, 3, 0).numpy()
    assert tiled.shape == expected.shape
    # Beyond the last stride the stock decoder lays one more tile, which no pixel needs.
    difference = np.abs(tiled - expected)[:, :64, :32]
    assert difference[:, :STRIDE].max() <= 0.5, "outside the seams only rounding differs"
    assert difference[:, STRIDE:].mean() < 3, "the stock ramp rises a patch at a time, ours a pixel"


def test_only_a_call_that_asks_for_it_is_tiled(
    sparing: WanAdapter, make_card: MakeCard, make_spec: MakeSpec, ignore_steps: StepCallback
) -> None:
    plain = WanAdapter()
    plain.load(make_card(), "cpu")
    expected = _video(plain.generate([make_spec()], ignore_steps)[0])
    tiled = _video(sparing.generate([make_spec()], ignore_steps, low_memory=True)[0])
    again = _video(sparing.generate([make_spec()], ignore_steps)[0])
    assert np.array_equal(again, expected)
    assert not np.array_equal(tiled, expected)


def test_a_clip_of_one_tile_is_the_clip_without_tiles(
    make_card: MakeCard, make_spec: MakeSpec, ignore_steps: StepCallback
) -> None:
    renderer = WanAdapter()
    renderer.load(make_card(low_memory={"vae_tiling": True}), "cpu")
    whole = _video(renderer.generate([make_spec()], ignore_steps)[0])
    tiled = _video(renderer.generate([make_spec()], ignore_steps, low_memory=True)[0])
    assert np.array_equal(whole, tiled)


def test_tiles_count_as_steps_of_decoding(
    sparing: WanAdapter,
    make_spec: MakeSpec,
    steps: Steps,
    note_step: StepCallback,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("models.adapters.wan_decode.MOST_PIXELS", 0)
    (clip,) = sparing.generate([make_spec(num_frames=9)], note_step, low_memory=True)
    steps.clear()
    list(clip.frames)
    # 64x96 in tiles of 64 every 32: one column, two rows, three latent frames each.
    assert steps == [(Stage.DECODING, done, 6) for done in range(1, 7)]


def test_a_preset_that_the_adapter_does_not_know_is_refused(make_card: MakeCard) -> None:
    with pytest.raises(LoadFailed, match="low_memory must leave out batch"):
        WanAdapter().load(make_card(low_memory={"batch": 1}), "cpu")


def test_the_weights_are_counted_once_though_two_kinds_use_them(make_card: MakeCard) -> None:
    renderer = WanAdapter()
    assert renderer.memory_bytes == 0
    renderer.load(make_card(), "cpu")
    parts = renderer.pipelines[Kind.TEXT_TO_VIDEO]
    modules = (parts.transformer, parts.vae, parts.text_encoder)
    weights = sum(p.numel() * 4 for module in modules for p in module.parameters())
    assert weights <= renderer.memory_bytes < weights * 1.1


def test_a_dropped_renderer_frees_its_weights(
    make_card: MakeCard, make_spec: MakeSpec, ignore_steps: StepCallback
) -> None:
    renderer = WanAdapter()
    renderer.load(make_card(), "cpu")
    list(renderer.generate([make_spec()], ignore_steps)[0].frames)
    weight = weakref.ref(renderer.pipelines[Kind.TEXT_TO_VIDEO].transformer)
    del renderer
    gc.collect()
    assert weight() is None
