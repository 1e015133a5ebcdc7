"""A finished video file back into frames and sound, checked against what was asked for.

The file is an engine's, held in memory; it is read twice, once for the sound and once, lazily,
for the frames.
"""

import io
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer

from models.pipeline import Audio, CheckFailed, Clip, EngineFailed, Frame
from models.spec import Stage, VideoSpec

FORMATS = "mov,mp4,matroska,webm"
"""Containers we open. FFmpeg also takes text for video and follows playlists to other files."""

FPS_TOLERANCE = 0.01
"""Relative; engines write 24000/1001 where they were asked for 24."""

MAX_CHANNELS = 2


def read_clip(data: bytes, spec: VideoSpec) -> Clip:
    """The video file `data` as a clip of `spec`; its frames are decoded while they are read.

    Raises:
        EngineFailed: it is no video.
        CheckFailed: its size or frame rate is not the one asked for; while frames are read, also
            their number.
    """
    try:
        with _opened(data) as container:
            _check(container, spec)
            audio = _read_audio(container)
    except av.FFmpegError as error:
        raise EngineFailed(f"what the engine sent is not a video: {error}") from error
    return Clip(_read_frames(data, spec), Fraction(spec.fps), audio, stage=Stage.ENCODING)


def _opened(data: bytes) -> InputContainer:
    return av.open(io.BytesIO(data), "r", container_options={"format_whitelist": FORMATS})


def _check(container: InputContainer, spec: VideoSpec) -> None:
    if not container.streams.video:
        raise EngineFailed("what the engine sent has no picture")
    video = container.streams.video[0]
    size = f"{video.codec_context.width}x{video.codec_context.height}"
    if size != spec.size:
        raise CheckFailed(f"the engine made {size}, not {spec.size}")
    fps = float(video.average_rate or 0)
    if abs(fps - spec.fps) > FPS_TOLERANCE * spec.fps:
        raise CheckFailed(f"the engine made {fps:g} frames a second, not {spec.fps}")


def _read_frames(data: bytes, spec: VideoSpec) -> Iterator[Frame]:
    count = 0
    with _opened(data) as container:
        for picture in container.decode(video=0):
            count += 1
            if count > spec.num_frames:
                raise CheckFailed(f"the engine made more than {spec.num_frames} frames")
            yield np.asarray(picture.to_ndarray(format="rgb24"), dtype=np.uint8)
    if count < spec.num_frames:
        raise CheckFailed(f"the engine made {count} frames, not {spec.num_frames}")


def _read_audio(container: InputContainer) -> Audio | None:
    """The whole sound, of more than two channels mixed down to two; None for a silent video."""
    if not container.streams.audio:
        return None
    stream = container.streams.audio[0]
    layout = stream.layout.name if stream.channels <= MAX_CHANNELS else "stereo"
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=stream.rate)
    pieces = [
        piece.to_ndarray()
        for frame in (*container.decode(stream), None)
        for piece in resampler.resample(frame)
    ]
    if not pieces:
        return None
    return Audio(np.concatenate(pieces, axis=1).astype(np.float32), stream.rate)
