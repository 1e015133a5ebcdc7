"""What a renderer promises, held against Wan with random weights."""

import socket
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pytest
import torch
from diffusers import WanPipeline
from PIL import Image

from models.adapters.wan import WanAdapter
from models.card import ModelCard, SpecError
from models.pipeline import Canceled, Clip, Frame, OutOfMemory, StepCallback, VideoPipeline
from models.registry import create_pipeline
from models.spec import Kind, Stage, VideoSpec

Video = npt.NDArray[np.uint8]
MakeSpec = Callable[..., VideoSpec]
MakeCard = Callable[..., ModelCard]
Steps = list[tuple[Stage, int, int]]


@pytest.fixture(scope="module")
def adapter(make_card: MakeCard) -> VideoPipeline:
    renderer = create_pipeline(make_card())
    renderer.load(make_card(), "cpu")
    return renderer


@pytest.fixture
def red_spec(make_spec: MakeSpec, tmp_path: Path) -> VideoSpec:
    return make_spec(kind=Kind.IMAGE_TO_VIDEO, image=_picture(tmp_path / "red.png", (200, 50, 30)))


@pytest.fixture
def blue_spec(make_spec: MakeSpec, tmp_path: Path) -> VideoSpec:
    image = _picture(tmp_path / "blue.png", (10, 90, 200))
    return make_spec(kind=Kind.IMAGE_TO_VIDEO, image=image, prompt="a whale", seed=8)


def _picture(path: Path, colour: tuple[int, int, int]) -> Path:
    Image.new("RGB", (96, 96), colour).save(path)
    return path


def _video(clip: Clip) -> Video:
    return np.stack(list(clip.frames))


def _largest_difference(one: Video, other: Video) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def test_a_clip_has_exactly_the_geometry_of_its_spec(
    adapter: VideoPipeline, make_spec: MakeSpec, ignore_steps: StepCallback
) -> None:
    (clip,) = adapter.generate([make_spec(num_frames=9)], ignore_steps)
    frames = list(clip.frames)
    assert len(frames) == 9
    assert {(frame.shape, str(frame.dtype)) for frame in frames} == {((96, 64, 3), "uint8")}
    assert all(frame.flags.c_contiguous for frame in frames)
    assert clip.fps == Fraction(8)
    assert clip.audio is None
    assert np.stack(frames).std() > 10, "random weights make noise, not one colour"


def test_the_same_spec_gives_the_same_bits_and_another_seed_does_not(
    adapter: VideoPipeline, make_spec: MakeSpec, ignore_steps: StepCallback
) -> None:
    first, again, other = (
        _video(adapter.generate([make_spec(seed=seed)], ignore_steps)[0]) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert _largest_difference(first, other) > 10


def test_frames_equal_those_of_the_stock_pipeline(
    adapter: VideoPipeline, make_spec: MakeSpec, wan_folder: Path, ignore_steps: StepCallback
) -> None:
    spec = make_spec(negative_prompt="blurry")
    (clip,) = adapter.generate([spec], ignore_steps)
    stock = WanPipeline.from_pretrained(wan_folder, dtype=torch.float32)
    stock.set_progress_bar_config(disable=True)
    expected = stock(
        prompt=spec.prompt,
        negative_prompt=spec.negative_prompt,
        width=spec.width,
        height=spec.height,
        num_frames=spec.num_frames,
        num_inference_steps=spec.num_inference_steps,
        guidance_scale=spec.guidance_scale,
        generator=torch.Generator().manual_seed(spec.seed),
        max_sequence_length=32,
    ).frames[0]
    assert _largest_difference(_video(clip), (expected * 255).round().astype(np.uint8)) <= 1


def test_a_batch_equals_its_clips_rendered_alone(
    adapter: VideoPipeline, make_spec: MakeSpec, ignore_steps: StepCallback
) -> None:
    specs = [make_spec(), make_spec(prompt="a blue whale", negative_prompt="fog", seed=8)]
    batch = [_video(clip) for clip in adapter.generate(specs, ignore_steps)]
    alone = [_video(adapter.generate([spec], ignore_steps)[0]) for spec in specs]
    assert max(map(_largest_difference, batch, alone)) <= 1
    assert _largest_difference(*batch) > 10


def test_a_batch_of_different_first_frames_equals_its_clips_rendered_alone(
    adapter: VideoPipeline,
    red_spec: VideoSpec,
    blue_spec: VideoSpec,
    ignore_steps: StepCallback,
) -> None:
    batch = [_video(clip) for clip in adapter.generate([red_spec, blue_spec], ignore_steps)]
    alone = [_video(adapter.generate([spec], ignore_steps)[0]) for spec in (red_spec, blue_spec)]
    assert max(map(_largest_difference, batch, alone)) <= 1
    assert _largest_difference(*batch) > 10


def test_the_first_frame_of_image_to_video_comes_from_the_image_alone(
    adapter: VideoPipeline,
    red_spec: VideoSpec,
    blue_spec: VideoSpec,
    ignore_steps: StepCallback,
) -> None:
    another_seed = red_spec.model_copy(update={"seed": 99, "prompt": "something else"})
    red, red_again, blue = (
        _video(adapter.generate([spec], ignore_steps)[0])
        for spec in (red_spec, another_seed, blue_spec)
    )
    assert np.array_equal(red[0], red_again[0])
    assert not np.array_equal(red[1:], red_again[1:])
    assert not np.array_equal(red[0], blue[0])


def test_both_kinds_take_turns_on_one_set_of_weights(
    adapter: VideoPipeline, make_spec: MakeSpec, red_spec: VideoSpec, ignore_steps: StepCallback
) -> None:
    before = _video(adapter.generate([make_spec()], ignore_steps)[0])
    _video(adapter.generate([red_spec], ignore_steps)[0])
    after = _video(adapter.generate([make_spec()], ignore_steps)[0])
    assert np.array_equal(before, after)


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latent frames are decoded one by one, as those of large clips are."""
    monkeypatch.setattr("models.adapters.wan_decode.MOST_PIXELS", 0)


@pytest.mark.usefixtures("one_by_one")
def test_progress_counts_every_denoising_step_and_every_latent_frame(
    adapter: VideoPipeline, make_spec: MakeSpec, steps: Steps, note_step: StepCallback
) -> None:
    (clip,) = adapter.generate([make_spec(num_frames=9, num_inference_steps=4)], note_step)
    assert steps == [(Stage.DENOISING, done, 4) for done in range(5)]
    steps.clear()
    list(clip.frames)
    assert steps == [(Stage.DECODING, done, 3) for done in (1, 2, 3)]


@pytest.mark.usefixtures("one_by_one")
def test_frames_are_made_as_they_are_read(
    adapter: VideoPipeline, make_spec: MakeSpec, steps: Steps, note_step: StepCallback
) -> None:
    (clip,) = adapter.generate([make_spec(num_frames=17)], note_step)
    next(clip.frames)
    assert steps[-1] == (Stage.DECODING, 1, 5), "the first latent frame is one frame"
    next(clip.frames)
    assert steps[-1] == (Stage.DECODING, 2, 5), "the second is four, and the third waits"


def test_latent_frames_of_a_small_clip_are_decoded_together(
    adapter: VideoPipeline,
    make_spec: MakeSpec,
    steps: Steps,
    note_step: StepCallback,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    videos, counts = [], []
    # 64x96 is 24,576 pixels for each latent frame of four.
    for most_pixels in (0, 2 * 24_576, 4 * 24_576 - 1, 1 << 18):
        monkeypatch.setattr("models.adapters.wan_decode.MOST_PIXELS", most_pixels)
        (clip,) = adapter.generate([make_spec(num_frames=17)], note_step)
        steps.clear()
        videos.append(_video(clip).astype(int))
        counts.append([done for _, done, _ in steps])
    assert counts == [[1, 2, 3, 4, 5], [1, 3, 5], [1, 4, 5], [1, 5]]
    assert [len(video) for video in videos] == [17] * 4
    assert max(np.abs(video - videos[0]).max() for video in videos) <= 1


def test_clips_of_a_batch_may_be_read_side_by_side(
    adapter: VideoPipeline, make_spec: MakeSpec, ignore_steps: StepCallback
) -> None:
    specs = [make_spec(), make_spec(seed=8)]
    one, two = (_video(clip) for clip in adapter.generate(specs, ignore_steps))
    left, right = adapter.generate(specs, ignore_steps)
    pairs = list(zip(left.frames, right.frames, strict=True))
    assert np.array_equal(np.stack([pair[0] for pair in pairs]), one)
    assert np.array_equal(np.stack([pair[1] for pair in pairs]), two)


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize(
    "stop_at", [(Stage.DENOISING, 0), (Stage.DENOISING, 2), (Stage.DECODING, 2)]
)
@pytest.mark.parametrize("kind", [Kind.TEXT_TO_VIDEO, Kind.IMAGE_TO_VIDEO])
def test_a_canceled_batch_leaves_no_trace_in_the_next(
    adapter: VideoPipeline,
    red_spec: VideoSpec,
    ignore_steps: StepCallback,
    stop_at: tuple[Stage, int],
    kind: Kind,
) -> None:
    spec = red_spec.model_copy(update={"kind": kind})
    expected = _video(adapter.generate([spec], ignore_steps)[0])
    seen = []

    def stop(stage: Stage, done: int, _total: int, previews: Sequence[Frame] = ()) -> None:
        del previews
        seen.append((stage, done))
        if seen[-1] == stop_at:
            raise Canceled

    with pytest.raises(Canceled):
        _video(adapter.generate([spec.model_copy(update={"seed": 5})], stop)[0])
    assert seen[-1] == stop_at, "nothing ran after the cancel"
    assert np.array_equal(_video(adapter.generate([spec], ignore_steps)[0]), expected)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"width": 80}, "size"),
        ({"num_frames": 18}, "num_frames"),
        ({"num_frames": 21}, "num_frames"),
        ({"num_inference_steps": 9}, "num_inference_steps"),
        ({"prompt": " "}, "prompt"),
        ({"kind": Kind.IMAGE_TO_VIDEO}, "input_reference"),
    ],
)
def test_what_the_card_forbids_is_refused_before_any_work(
    adapter: VideoPipeline,
    make_spec: MakeSpec,
    forbid_steps: StepCallback,
    change: dict[str, object],
    param: str,
) -> None:
    with pytest.raises(SpecError) as refusal:
        adapter.generate([make_spec(**change)], forbid_steps)
    assert refusal.value.param == param


def test_a_file_that_is_no_image_is_refused_by_its_parameter(
    adapter: VideoPipeline,
    make_spec: MakeSpec,
    tmp_path: Path,
    forbid_steps: StepCallback,
) -> None:
    broken = tmp_path / "first.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    with pytest.raises(SpecError) as refusal:
        adapter.generate([make_spec(kind=Kind.IMAGE_TO_VIDEO, image=broken)], forbid_steps)
    assert refusal.value.param == "input_reference"
    assert str(tmp_path) not in str(refusal.value), "clients see this"


def test_a_batch_of_two_shapes_is_the_mistake_of_the_caller(
    adapter: VideoPipeline, make_spec: MakeSpec, ignore_steps: StepCallback
) -> None:
    with pytest.raises(ValueError, match="one shape"):
        adapter.generate([make_spec(), make_spec(height=64)], ignore_steps)


def test_running_out_of_memory_is_named_and_survived(
    make_card: MakeCard,
    make_spec: MakeSpec,
    ignore_steps: StepCallback,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    renderer = WanAdapter()
    renderer.load(make_card(), "cpu")
    expected = _video(renderer.generate([make_spec()], ignore_steps)[0])
    transformer = renderer.pipelines[Kind.TEXT_TO_VIDEO].transformer

    def full(*_args: object, **_named: object) -> NoReturn:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    with monkeypatch.context() as patch:
        patch.setattr(transformer, "forward", full)
        with pytest.raises(OutOfMemory, match="1 x 64x96, 9 frames"):
            renderer.generate([make_spec()], ignore_steps)
    assert np.array_equal(_video(renderer.generate([make_spec()], ignore_steps)[0]), expected)


def test_neither_loading_nor_rendering_asks_the_network(
    make_card: MakeCard,
    red_spec: VideoSpec,
    ignore_steps: StepCallback,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []

    def note(*address: object) -> NoReturn:
        asked.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", note)
    monkeypatch.setattr(socket, "getaddrinfo", note)
    renderer = WanAdapter()
    renderer.load(make_card(), "cpu")
    _video(renderer.generate([red_spec], ignore_steps)[0])
    assert asked == []


def test_generate_before_load_is_the_mistake_of_the_caller(
    make_spec: MakeSpec, ignore_steps: StepCallback
) -> None:
    with pytest.raises(RuntimeError, match="load"):
        WanAdapter().generate([make_spec()], ignore_steps)
