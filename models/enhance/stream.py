"""A clip at another rate and size, frame by frame; never more than two source frames are held.

The first frame stays the first. Of `n` frames, the last is a moment to most clips: at `k` times
the rate there are `(n - 1) * k + 1`. Where it lasts as long as any other, `k * n`: what is heard
of a digital human is seen to its end.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

from models.pipeline import Clip, Frame
from models.spec import Stage

Between = Callable[[Frame, Frame, Fraction], Frame]
"""The frame between two, at a time from 0 to 1."""


def count_frames(num_frames: int, ratio: Fraction, *, last_lasts: bool) -> int:
    """How many frames `num_frames` become at `ratio` times the rate."""
    if last_lasts:
        return math.ceil(num_frames * ratio)
    return math.floor((num_frames - 1) * ratio) + 1


def retime(
    frames: Iterator[Frame], ratio: Fraction, between: Between, *, last_lasts: bool
) -> Iterator[Frame]:
    """`frames` at `ratio` times the rate; times that fall on a frame give that frame itself."""
    step, at = 1 / ratio, Fraction(0)
    first = next(frames, None)
    if first is None:
        return
    index = 0
    yield first
    at += step
    for second in frames:
        while at <= index + 1:
            yield second if at == index + 1 else between(first, second, at - index)
            at += step
        first, index = second, index + 1
    while last_lasts and at < index + 1:
        yield first
        at += step


def raise_clip(
    clip: Clip,
    fps: Fraction,
    *,
    between: Between | None,
    enlarge: Callable[[Frame], Frame] | None,
    last_lasts: bool = False,
) -> Clip:
    """`clip` at `fps` with every frame passed through `enlarge`; the sound is left as it is.

    Interpolation comes first: it is cheaper on small frames.

    Raises:
        ValueError: `fps` is below the clip's own, or `between` is missing where it is needed.
    """
    frames, num_frames = clip.frames, clip.num_frames
    ratio = fps / clip.fps
    if ratio < 1:
        raise ValueError(f"fps must be {clip.fps} or more, not {fps}")
    if ratio > 1:
        if between is None:
            raise ValueError("a higher rate needs an interpolator")
        frames = retime(frames, ratio, between, last_lasts=last_lasts)
        if num_frames is not None:
            num_frames = count_frames(num_frames, ratio, last_lasts=last_lasts)
    if enlarge is not None:
        frames = map(enlarge, frames)
    return replace(clip, frames=frames, fps=fps, num_frames=num_frames, stage=Stage.ENHANCING)
