"""Pictures at given frames of a clip: at which of them a model can hold one. Torch-free."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from models.spec import Keyframe, Kind, VideoSpec


class Misplaced(NamedTuple):
    """What is wrong with the keyframes of a request."""

    message: str
    limit: object
    value: object


def find_misplaced(
    spec: VideoSpec, most: int, ratio: Fraction, *, has_last: bool
) -> Misplaced | None:
    """Why a model does not take the keyframes of `spec` as they are; None if it does.

    The first frame is none of them: it has a field of its own, and decides the kind.

    Args:
        spec: of the finished clip.
        most: how many the model takes.
        ratio: rate of the finished clip to that of the model; frames between are interpolated,
            and nothing can be given there.
        has_last: whether the last frame is given already.
    """
    if spec.kind is Kind.DIGITAL_HUMAN:
        most = 0
    frames = [keyframe.frame for keyframe in spec.keyframes]
    if len(frames) > most:
        allowed = f"at most {most} keyframes" if most else "no keyframes"
        return Misplaced(f"takes {allowed}, not {len(frames)}", most, len(frames))
    step, last = ratio.numerator, spec.num_frames - (2 if has_last else 1)
    for frame in frames:
        if not 1 <= frame <= last:
            message = f"has room for keyframes at frames 1 to {last} of this clip, not at {frame}"
            return Misplaced(message, [1, last], frame)
        if frame % step:
            message = f"interpolates all but every {step}. frame at this rate, {frame} among them"
            return Misplaced(message, f"a multiple of {step}", frame)
        if frames.count(frame) > 1:
            return Misplaced(f"takes one keyframe a frame, not two at {frame}", 1, frame)
    return None


def before_interpolation(keyframes: Sequence[Keyframe], ratio: Fraction) -> tuple[Keyframe, ...]:
    """The same at 1 / `ratio` of the rate; each is at a frame that is there too."""
    return tuple(
        keyframe.model_copy(update={"frame": int(keyframe.frame / ratio)}) for keyframe in keyframes
    )
