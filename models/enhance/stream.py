"""A clip at another rate and size, frame by frame; never more than two source frames are held.

`n` frames at `f` frames per second become `floor((n - 1) * fps / f) + 1`: the first frame stays
the first, and a clip at `k` times the rate has `(n - 1) * k + 1` frames.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

from models.pipeline import Clip, Frame
from models.spec import Stage

Between = Callable[[Frame, Frame, Fraction], Frame]
"""The frame between two, at a time from 0 to 1."""


def count_frames(num_frames: int, fps: Fraction, new_fps: Fraction) -> int:
    """How many frames `num_frames` at `fps` become at `new_fps`."""
    return (num_frames - 1) * new_fps // fps + 1


def retime(
    frames: Iterator[Frame], fps: Fraction, new_fps: Fraction, between: Between
) -> Iterator[Frame]:
    """`frames` at `new_fps`; times that fall on a source frame give that frame itself."""
    step, at = fps / new_fps, Fraction(0)
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


def enhance(
    clip: Clip,
    *,
    fps: Fraction | None = None,
    between: Between | None = None,
    enlarge: Callable[[Frame], Frame] | None = None,
) -> Clip:
    """`clip` at `fps` with every frame passed through `enlarge`; the sound is left as it is.

    Interpolation comes first: it is cheaper on small frames.

    Raises:
        ValueError: `fps` is below the clip's own, or `between` is missing where it is needed.
    """
    frames, num_frames = clip.frames, clip.num_frames
    new_fps = clip.fps if fps is None else fps
    if new_fps < clip.fps:
        raise ValueError(f"fps must be {clip.fps} or more, not {new_fps}")
    if new_fps > clip.fps:
        if between is None:
            raise ValueError("a higher rate needs an interpolator")
        frames = retime(frames, clip.fps, new_fps, between)
        if num_frames is not None:
            num_frames = count_frames(num_frames, clip.fps, new_fps)
    if enlarge is not None:
        frames = map(enlarge, frames)
    return replace(clip, frames=frames, fps=new_fps, num_frames=num_frames, stage=Stage.ENHANCING)
