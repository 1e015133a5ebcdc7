"""A speech in pieces that LTX can make: where each begins and ends, and what it shares.

A piece begins with the last frames of the one before, so movement goes on. Pieces end in pauses
of the speech where there are any: what may jump there is a closed mouth.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from models.speech.loudness import envelope
from models.speech.track import MOUTH_RATE_HZ

CHUNK_FRAMES = 121
"""The most frames of one piece; five seconds at 24 fps, as the model was trained."""

CARRIED_FRAMES = 9
"""Frames that a piece takes over from the one before: two latents."""

STRIDE = 8
"""Frames of a latent; a piece has a multiple of it plus one."""

SLACK_FRAMES = 24
"""How much earlier than it must a piece may end, for a pause."""

QUIET = 0.1
"""Loudness, of the clip's own scale, below which nobody speaks."""

Levels = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Chunk:
    """Frames `start` to `end` of the clip, made together with `carried` frames before `start`."""

    start: int
    end: int
    carried: int

    @property
    def first(self) -> int:
        """The first frame that is rendered."""
        return self.start - self.carried

    @property
    def num_frames(self) -> int:
        """How many are rendered: up to `end`, and what the model needs beyond."""
        return -(-(self.end - self.first - 1) // STRIDE) * STRIDE + 1


def plan_chunks(levels: Levels) -> list[Chunk]:
    """The pieces of a clip, in order; together they hold every frame once.

    Args:
        levels: float32 [num_frames], how loud the speech is in each frame, 0 to 1.
    """
    chunks, start, total = [], 0, len(levels)
    while start < total:
        carried = CARRIED_FRAMES if start else 0
        limit = start - carried + CHUNK_FRAMES
        end = total if limit >= total else _find_cut(levels, limit - SLACK_FRAMES, limit)
        chunks.append(Chunk(start, end, carried))
        start = end
    return chunks


def frame_levels(samples: npt.NDArray[np.float32], rate: int, fps: int, num_frames: int) -> Levels:
    """The loudest moment of mono `samples` [T] at `rate` Hz in each frame."""
    track = envelope(samples, rate)
    bounds = np.arange(num_frames + 1) * MOUTH_RATE_HZ // fps
    spans = pairwise(np.minimum(bounds, len(track)))
    return np.array([track[a:b].max(initial=0.0) for a, b in spans], np.float32)


def _find_cut(levels: Levels, low: int, high: int) -> int:
    """The frame from `low` to `high` to begin the next piece with.

    In the middle of the longest pause, the later of two; without any, where it is quietest.
    """
    loudness = np.maximum(levels[low - 1 : high], levels[low : high + 1])
    pauses = list(_runs(loudness < QUIET))
    if pauses:
        first, last = max(pauses, key=lambda run: (run[1] - run[0], run[0]))
        return low + (first + last) // 2
    return low + int(np.argmin(loudness))


def _runs(flags: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """First and last index of every run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    for first, behind in zip(edges[::2], edges[1::2], strict=True):
        yield int(first), int(behind) - 1
