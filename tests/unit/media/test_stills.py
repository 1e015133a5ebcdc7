"""Thumbnail and spritesheet, taken from a stream of frames that nobody keeps."""

import io
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.pipeline import Clip, Frame
from workers.media.finish import finish_clip
from workers.media.label import read_label
from workers.media.stills import Stills, encode_preview, spread

Label = dict[str, str]


def _ramp(num_frames: int, width: int = 96, height: int = 64) -> Iterator[Frame]:
    """Frames that brighten by five levels each, so that a picture tells which one it shows."""
    for index in range(num_frames):
        yield np.full((height, width, 3), index * 5, np.uint8)


def _shows(picture: Image.Image, x: int, y: int) -> int:
    """Which frame of `_ramp` stands at (x, y)."""
    return round(int(np.asarray(picture.convert("L"))[y, x]) / 5)


def test_the_thumbnail_is_the_middle_frame(label: Label, tmp_path: Path) -> None:
    stills = Stills(17)
    assert len(list(stills.watch(_ramp(17)))) == 17
    stills.save_thumbnail(tmp_path / "thumbnail.webp", label)
    with Image.open(tmp_path / "thumbnail.webp") as picture:
        assert (picture.format, picture.size) == ("WEBP", (96, 64))
        assert _shows(picture, 48, 32) == 8


def test_the_spritesheet_reads_like_a_page(label: Label, tmp_path: Path) -> None:
    stills = Stills(33)
    list(stills.watch(_ramp(33)))
    stills.save_spritesheet(tmp_path / "sheet.jpg", label)
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert (sheet.format, sheet.size) == ("JPEG", (4 * 96, 4 * 64))
        shown = [
            _shows(sheet, column * 96 + 48, row * 64 + 32)
            for row in range(4)
            for column in range(4)
        ]
    assert shown == spread(33, 16)


def test_a_short_clip_fills_part_of_the_sheet(label: Label, tmp_path: Path) -> None:
    stills = Stills(5)
    list(stills.watch(_ramp(5)))
    stills.save_spritesheet(tmp_path / "sheet.jpg", label)
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.size == (4 * 96, 2 * 64)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 97, 1441])
def test_spread_is_even_and_holds_both_ends(count: int) -> None:
    picks = spread(count, 16)
    assert len(set(picks)) == len(picks) == min(count, 16)
    assert (picks[0], picks[-1]) == (0, count - 1)
    gaps = [later - earlier for earlier, later in pairwise(picks)]
    assert max(gaps, default=0) - min(gaps, default=0) <= 1


def test_a_preview_is_a_small_labelled_jpeg(label: Label, tmp_path: Path) -> None:
    [frame] = _ramp(1, 1280, 704)
    jpeg = encode_preview(frame + 50, label, 64 * 1024)
    assert jpeg is not None
    with Image.open(io.BytesIO(jpeg)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (320, 176))
        assert _shows(picture, 160, 88) == 10
    (tmp_path / "preview.jpg").write_bytes(jpeg)
    assert read_label(tmp_path / "preview.jpg") == label


def test_a_preview_of_noise_is_coarser_to_stay_small(label: Label) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (320, 320, 3), np.uint8)
    fine, coarse = (encode_preview(noise, label, most) for most in (1_000_000, 40_000))
    assert fine is not None
    assert coarse is not None
    assert len(coarse) <= 40_000 < len(fine)
    assert encode_preview(noise, label, 1_000) is None


def test_large_frames_shrink_and_are_not_kept(count_live: Callable[[Frame], int]) -> None:
    stills = Stills(20)
    alive = [count_live(frame) for frame in stills.watch(_ramp(20, 1280, 704))]
    assert max(alive) <= 2
    assert stills._thumbnail is not None
    assert stills._thumbnail.size == (640, 352)
    assert {tile.size for tile in stills._tiles} == {(240, 132)}


def test_stills_of_half_a_clip_are_not_written(label: Label, tmp_path: Path) -> None:
    stills = Stills(17)
    list(stills.watch(_ramp(8)))
    with pytest.raises(RuntimeError):
        stills.save_thumbnail(tmp_path / "thumbnail.webp", label)
    with pytest.raises(RuntimeError):
        stills.save_spritesheet(tmp_path / "sheet.jpg", label)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_clip_is_three_labelled_files(label: Label, tmp_path: Path) -> None:
    clip = Clip(_ramp(17), Fraction(8))
    finished = finish_clip(clip, tmp_path, num_frames=17, label=label)
    paths = [finished.video.path, finished.thumbnail, finished.spritesheet]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert [read_label(path) for path in paths] == [label] * 3
    assert finished.video.facts.num_frames == 17
