"""Clips made of known colours, and labels to write into them."""

import weakref
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import pytest

from models.pipeline import Audio, Clip, Frame
from workers.media.label import build_label

RED = (200, 50, 30)


def _frames(num_frames: int, width: int, height: int, colour: tuple[int, ...]) -> Iterator[Frame]:
    for _ in range(num_frames):
        frame = np.empty((height, width, 3), np.uint8)
        frame[:] = colour
        yield frame


@pytest.fixture
def make_clip() -> Callable[..., Clip]:
    """A clip of one colour, 96x64 at 8 fps; keywords replace that."""

    def make(
        num_frames: int = 9,
        *,
        width: int = 96,
        height: int = 64,
        fps: Fraction = Fraction(8),
        audio: Audio | None = None,
        colour: tuple[int, ...] = RED,
    ) -> Clip:
        return Clip(_frames(num_frames, width, height, colour), fps, audio)

    return make


@pytest.fixture
def label() -> dict[str, str]:
    return build_label("示例科技有限公司", "job_0001")


@pytest.fixture
def count_live() -> Callable[[Frame], int]:
    """Given one more frame, says how many of those given are still alive."""
    given: list[weakref.ref[Frame]] = []

    def count(frame: Frame) -> int:
        given.append(weakref.ref(frame))
        return sum(reference() is not None for reference in given)

    return count
