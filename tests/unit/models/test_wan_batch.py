"""Small clips of a batch, decoded side by side: what becomes of one does not touch the other."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch

from models.adapters.wan import WanAdapter
from models.card import ModelCard
from models.pipeline import Canceled, Clip, Frame, OutOfMemory, StepCallback
from models.spec import Kind, Stage, VideoSpec

Video = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def adapter(make_card: Callable[..., ModelCard]) -> WanAdapter:
    renderer = WanAdapter()
    renderer.load(make_card(), "cpu")
    return renderer


@pytest.fixture
def specs(make_spec: Callable[..., VideoSpec]) -> list[VideoSpec]:
    return [make_spec(seed=1), make_spec(seed=2)]


def video(clip: Clip) -> Video:
    return np.stack(list(clip.frames))


def test_a_canceled_clip_leaves_the_other_whole(
    adapter: WanAdapter, specs: list[VideoSpec], ignore_steps: StepCallback
) -> None:
    expected = [video(clip) for clip in adapter.generate(specs, ignore_steps)][1]

    def cancel_once(stage: Stage, done: int, _total: int, previews: Sequence[Frame] = ()) -> None:
        del previews
        if (stage, done) == (Stage.DECODING, 2) and not canceled:
            canceled.append(True)
            raise Canceled

    canceled: list[bool] = []
    one, other = adapter.generate(specs, cancel_once)
    with pytest.raises(Canceled):
        video(one)
    assert np.array_equal(video(other), expected)


def test_without_memory_for_one_frame_the_next_reader_begins_anew(
    adapter: WanAdapter,
    specs: list[VideoSpec],
    ignore_steps: StepCallback,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = [video(clip) for clip in adapter.generate(specs, ignore_steps)][1]
    one, other = adapter.generate(specs, ignore_steps)
    next(one.frames)
    decoder = adapter.pipelines[Kind.TEXT_TO_VIDEO].vae.decoder
    whole = decoder.up_blocks[-1].forward

    def full(*_args: object, **_named: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(decoder.up_blocks[-1], "forward", full)
    with pytest.raises(OutOfMemory, match="of 2 clips"):
        list(one.frames)
    monkeypatch.setattr(decoder.up_blocks[-1], "forward", whole)
    assert np.array_equal(video(other), expected)


def test_clips_too_large_to_wait_are_decoded_one_after_the_other(
    adapter: WanAdapter,
    specs: list[VideoSpec],
    ignore_steps: StepCallback,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together = [video(clip) for clip in adapter.generate(specs, ignore_steps)]
    monkeypatch.setattr("models.adapters.wan_batch.MOST_BYTES", 0)
    decoder = adapter.pipelines[Kind.TEXT_TO_VIDEO].vae.decoder
    widths: list[int] = []
    handle = decoder.register_forward_pre_hook(lambda _module, args: widths.append(len(args[0])))
    alone = [video(clip) for clip in adapter.generate(specs, ignore_steps)]
    handle.remove()
    assert set(widths) == {1}
    differences = [
        np.abs(one.astype(int) - other.astype(int)).max()
        for one, other in zip(together, alone, strict=True)
    ]
    assert max(differences) <= 1
