"""Pieces of a speech: they hold every frame once, fit the model, and end in pauses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.adapters.ltx_chunks import (
    CARRIED_FRAMES,
    CHUNK_FRAMES,
    QUIET,
    SLACK_FRAMES,
    Levels,
    frame_levels,
    plan_chunks,
)

FPS = 24


def speaking(num_frames: int) -> Levels:
    """Somebody who never stops."""
    return np.random.default_rng(num_frames).uniform(0.5, 1, num_frames).astype(np.float32)


@given(st.integers(1, 1440), st.lists(st.tuples(st.integers(0, 1440), st.integers(1, 40))))
def test_every_frame_is_made_once_and_every_piece_fits(
    num_frames: int, pauses: list[tuple[int, int]]
) -> None:
    levels = speaking(num_frames)
    for start, length in pauses:
        levels[start : start + length] = 0
    chunks = plan_chunks(levels)
    frames = [frame for chunk in chunks for frame in range(chunk.start, chunk.end)]
    assert frames == list(range(num_frames))
    for chunk in chunks:
        assert chunk.carried == (CARRIED_FRAMES if chunk.start else 0)
        assert chunk.carried + chunk.end - chunk.start <= chunk.num_frames <= CHUNK_FRAMES
        assert chunk.num_frames % 8 == 1
        assert chunk.first >= 0


def test_a_minute_is_as_many_pieces_as_it_must_be() -> None:
    quiet_nowhere = np.ones(1440, np.float32)
    assert len(plan_chunks(quiet_nowhere)) <= 17


@pytest.mark.parametrize("pause", [(100, 8), (97, 3), (116, 12)])
def test_a_piece_ends_in_the_middle_of_a_pause(pause: tuple[int, int]) -> None:
    start, length = pause
    levels = speaking(300)
    levels[start : start + length] = QUIET / 2
    cut = plan_chunks(levels)[0].end
    assert start < cut < start + length
    assert CHUNK_FRAMES - SLACK_FRAMES <= cut <= CHUNK_FRAMES


def test_the_longest_pause_is_chosen() -> None:
    levels = speaking(300)
    levels[99:102] = 0
    levels[105:115] = 0
    assert plan_chunks(levels)[0].end == 110


def test_without_a_pause_it_ends_where_it_is_quietest() -> None:
    levels = speaking(300)
    levels[107:109] = 0.2
    assert plan_chunks(levels)[0].end == 108


def test_loudness_is_that_of_the_frame() -> None:
    rate = 24_000
    samples = np.random.default_rng(0).normal(0, 0.3, rate * 2).astype(np.float32)
    samples[rate : rate + rate // 2] = 0
    levels = frame_levels(samples, rate, FPS, 2 * FPS)
    assert len(levels) == 2 * FPS
    quiet = levels < QUIET
    assert quiet[FPS + 2 : FPS + 10].all()
    assert not quiet[: FPS - 2].any()


def test_frames_behind_the_sound_are_quiet() -> None:
    samples = np.ones(2400, np.float32)
    assert frame_levels(samples, 24_000, FPS, 10)[5:].max() == 0
