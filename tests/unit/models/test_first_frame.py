"""The given picture becomes the first frame: upright, covering, centred."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.adapters.common import fit_image, load_first_frame, memory_errors_named
from models.card import SpecError
from models.pipeline import OutOfMemory

ORIENTATION = 0x0112
"""The EXIF tag of how the camera was held; 6 is turned by a quarter."""


def _stripes(width: int, height: int) -> Image.Image:
    """Red, green and blue thirds from left to right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for channel, third in enumerate(np.array_split(np.arange(width), 3)):
        pixels[:, third, channel] = 255
    return Image.fromarray(pixels)


def test_a_wide_picture_keeps_its_centre() -> None:
    fitted = fit_image(_stripes(300, 100), 64, 96)
    assert (fitted.size, fitted.mode) == ((64, 96), "RGB")
    assert np.all(np.asarray(fitted) == (0, 255, 0)), "the outer thirds are cut off"


def test_a_small_picture_is_scaled_to_cover() -> None:
    assert fit_image(_stripes(3, 3), 96, 64).size == (96, 64)


def test_a_picture_is_turned_as_its_camera_was_held() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    sideways = _stripes(90, 90)
    sideways.getexif()[ORIENTATION] = 6
    upright = np.asarray(fit_image(sideways, 30, 30))
    assert tuple(upright[2, 15]) == (255, 0, 0), "what was left is now on top"
    assert tuple(upright[28, 15]) == (0, 0, 255)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "RGBA"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    assert fit_image(Image.new(mode, (32, 32)), 32, 32).mode == "RGB"


def test_see_through_parts_become_white() -> None:
    fitted = fit_image(Image.new("RGBA", (32, 32), (255, 0, 0, 0)), 32, 32)
    assert fitted.getpixel((16, 16)) == (255, 255, 255)


def test_a_first_frame_is_a_tensor_from_0_to_1(tmp_path: Path) -> None:
    path = tmp_path / "first.png"
    Image.new("RGB", (10, 10), (255, 51, 0)).save(path)
    frame = load_first_frame(path, 64, 32)
    assert (frame.shape, frame.dtype) == ((3, 32, 64), torch.float32)
    assert frame[:, 0, 0].tolist() == pytest.approx([1.0, 0.2, 0.0])


def test_a_missing_file_is_an_unreadable_reference(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="not a readable image"):
        load_first_frame(tmp_path / "gone.png", 64, 32)


def test_the_cpu_allocator_of_torch_running_out_is_named() -> None:
    with pytest.raises(OutOfMemory, match="one petabyte"), memory_errors_named("one petabyte"):
        torch.empty(2**48, dtype=torch.float32)


def test_other_runtime_errors_pass_through() -> None:
    with pytest.raises(RuntimeError, match="shape"), memory_errors_named("nothing"):
        raise RuntimeError("shape mismatch")
