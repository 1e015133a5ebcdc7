"""Enhancing a clip: exact counts, bounded memory, tiles without seams, and ncnn's files.

The networks here have random weights; how good the pictures get is not tested in this file.
"""

import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from models.enhance.interpolate import Interpolator
from models.enhance.ncnn_file import FP16_TAG, NcnnError, read_layers
from models.enhance.stream import count_frames, raise_clip
from models.enhance.upscale import Compact, Dense, load_upscaler, upscale
from models.pipeline import Clip, Frame
from models.spec import Stage

NUM_FEATURES = 4


def write_model(folder: Path, last: bytes = b"") -> tuple[Path, Path]:
    """A small network in ncnn's format: fp16 and fp32 weights."""
    draw = np.random.default_rng(1)
    out = 3 * 16
    lines = ["7767517", "4 4", "Input in 0 1 data"]
    lines += [f"Convolution a 1 1 data b 0={NUM_FEATURES} 1=3 4=1 5=1 6={NUM_FEATURES * 27}"]
    lines += [f"PReLU p 1 1 b c 0={NUM_FEATURES}"]
    lines += [f"Convolution d 1 1 c e 0={out} 1=3 4=1 5=1 6={out * NUM_FEATURES * 9}"]
    data = FP16_TAG.to_bytes(4, "little")
    data += (draw.normal(size=NUM_FEATURES * 27) / 5).astype("<f2").tobytes()
    data += draw.normal(size=NUM_FEATURES * 2).astype("<f4").tobytes()
    data += bytes(4) + (draw.normal(size=out * NUM_FEATURES * 9) / 9).astype("<f4").tobytes()
    data += np.zeros(out, "<f4").tobytes()
    param, weights = folder / "net.param", folder / "net.bin"
    param.write_text("\n".join(lines))
    weights.write_bytes(data + last)
    return param, weights


def picture(height: int, width: int) -> Frame:
    """Noise."""
    return np.random.default_rng(2).integers(0, 256, (height, width, 3)).astype(np.uint8)


def flat_frames(count: int) -> Iterator[Frame]:
    """Frame `k` has the value `4 * k` everywhere."""
    return (np.full((2, 2, 3), 4 * index, np.uint8) for index in range(count))


def blend(first: Frame, second: Frame, time: Fraction) -> Frame:
    """The mean of both, weighted by time."""
    mixed = first + (second.astype(float) - first) * float(time)
    return mixed.round().astype(np.uint8)


def test_ncnn_layers_are_read_in_both_precisions(tmp_path: Path) -> None:
    first, slopes, second = read_layers(*write_model(tmp_path))
    expected = (np.random.default_rng(1).normal(size=NUM_FEATURES * 27) / 5).astype(np.float16)
    assert np.array_equal(first.weight.ravel(), expected.astype(np.float32))
    assert slopes.weight.shape == (NUM_FEATURES,)
    assert second.weight.shape == (48, NUM_FEATURES, 3, 3)


def test_weights_left_over_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(NcnnError, match="are used"):
        read_layers(*write_model(tmp_path, last=b"1234"))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_tiles_leave_no_seam(tmp_path: Path, scale: int) -> None:
    model = load_upscaler(Compact, *write_model(tmp_path), scale=scale, device="cpu")
    frame = picture(37, 50)
    whole = upscale(model, frame, tile=64)
    tiled = upscale(model, frame, tile=16)
    assert whole.shape == (37 * scale, 50 * scale, 3)
    assert np.abs(whole.astype(int) - tiled).max() <= 1


def test_a_file_of_one_network_is_not_taken_for_another(tmp_path: Path) -> None:
    with pytest.raises(NcnnError, match="do not make dense blocks"):
        load_upscaler(Dense, *write_model(tmp_path), scale=4, device="cpu")


def test_other_scales_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="scale must be 2, 3 or 4, not 5"):
        load_upscaler(Compact, *write_model(tmp_path), scale=5, device="cpu")


def raised(frames: Iterator[Frame], fps: int, new_fps: int, *, last_lasts: bool = False) -> Clip:
    """A clip of `frames` at another rate."""
    return raise_clip(
        Clip(frames, Fraction(fps)),
        Fraction(new_fps),
        between=blend,
        enlarge=None,
        last_lasts=last_lasts,
    )


@pytest.mark.parametrize(
    ("num_frames", "fps", "new_fps", "expected"),
    [(17, 8, 24, 49), (49, 24, 48, 97), (17, 24, 30, 21), (1, 8, 24, 1), (5, 8, 8, 5)],
)
def test_frame_counts_are_exact(num_frames: int, fps: int, new_fps: int, expected: int) -> None:
    clip = raised(flat_frames(num_frames), fps, new_fps)
    values = [int(frame[0, 0, 0]) for frame in clip.frames]
    assert len(values) == expected
    assert count_frames(num_frames, Fraction(new_fps, fps), last_lasts=False) == expected
    assert values == [round(4 * index * fps / new_fps) for index in range(expected)]
    assert (clip.fps, clip.stage) == (Fraction(new_fps), Stage.ENHANCING)


@pytest.mark.parametrize(
    ("num_frames", "fps", "new_fps", "expected"), [(17, 24, 48, 34), (3, 24, 60, 8), (1, 8, 24, 3)]
)
def test_where_every_frame_is_heard_the_last_lasts_too(
    num_frames: int, fps: int, new_fps: int, expected: int
) -> None:
    clip = raised(flat_frames(num_frames), fps, new_fps, last_lasts=True)
    values = [int(frame[0, 0, 0]) for frame in clip.frames]
    assert len(values) == expected
    assert count_frames(num_frames, Fraction(new_fps, fps), last_lasts=True) == expected
    last = 4 * (num_frames - 1)
    assert values == [min(round(4 * index * fps / new_fps), last) for index in range(expected)]


def test_at_most_two_source_frames_are_held() -> None:
    alive: set[int] = set()
    most = 0

    def watched() -> Iterator[Frame]:
        nonlocal most
        for index in range(20):
            frame = np.full((2, 2, 3), index, np.uint8)
            alive.add(index)
            weakref.finalize(frame, alive.discard, index)
            most = max(most, len(alive))
            yield frame
            del frame

    assert sum(1 for _ in raised(watched(), 8, 24).frames) == 58
    # The two that are compared, and the one being made while they are let go.
    assert most <= 3


def test_a_lower_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="fps must be 24"):
        raised(flat_frames(2), 24, 8)


def test_a_still_scene_stays_still_at_any_time_and_size() -> None:
    torch.manual_seed(0)
    model = Interpolator().eval().requires_grad_(requires_grad=False)
    frame = np.full((20, 45, 3), 77, np.uint8)
    for time in (Fraction(1, 2), Fraction(1, 3), Fraction(4, 5)):
        assert np.array_equal(model.between(frame, frame, time), frame)
