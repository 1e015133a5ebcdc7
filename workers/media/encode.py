"""A clip to an MP4 that plays everywhere: H.264 and AAC, BT.709, index first, label inside.

Frames pass through one by one; what is held is one frame and the look-ahead of the encoder.
"""

from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from models.pipeline import Audio, Clip, Frame, StepCallback
from workers.media.atomic import whole_file
from workers.media.label import LABEL_KEY, MP4_FLAGS, check_label, label_json
from workers.media.probe import VideoFacts, probe_video

CRF = 18
"""Constant rate factor of x264: 0 lossless, 51 worst; 18 is hard to tell from the source."""

PRESET = "veryfast"
MOTION = "subme=1"
"""How finely x264 searches motion: a third less work than the preset, files 8 % larger."""

AUDIO_BITS_PER_CHANNEL = 80_000
LAYOUTS = {1: "mono", 2: "stereo"}


class EncodeError(Exception):
    """The clip does not make the video that was asked for."""


@dataclass(frozen=True)
class Encoded:
    """A finished video. `facts` and `label` are read back from the file at `path`."""

    path: Path
    size_bytes: int
    facts: VideoFacts
    label: dict[str, str]


def encode_video(
    clip: Clip,
    path: Path,
    *,
    num_frames: int,
    label: dict[str, str],
    on_step: StepCallback | None = None,
) -> Encoded:
    """Write `clip` to `path`, whole or not at all.

    Args:
        clip: read once. Its sound is cut or padded with silence to the length of the picture.
        path: ends up holding an MP4; its folder exists.
        num_frames: how many frames the clip must have.
        label: the generated-content label, from `workers.media.label.build_label`.
        on_step: called with the clip's stage after every frame; the first and the middle one
            are its previews.

    Raises:
        EncodeError: a side is odd, frames differ in shape, or their number is wrong.
        LabelMissing: the label could not be read back; see `workers.media.label`.
    """
    with whole_file(path) as part:
        _write(clip, part, num_frames=num_frames, label=label, on_step=on_step)
        check_label(part, label)
        facts = probe_video(part)
        if facts.num_frames != num_frames:
            raise EncodeError(f"the file has {facts.num_frames} frames, not {num_frames}")
        size_bytes = part.stat().st_size
    return Encoded(path, size_bytes, facts, label)


def _write(
    clip: Clip, part: Path, *, num_frames: int, label: dict[str, str], on_step: StepCallback | None
) -> None:
    frames = iter(clip.frames)
    first = next(frames, None)
    if first is None:
        raise EncodeError("the clip has no frames")
    shape = _checked_shape(first)
    with av.open(str(part), "w", format="mp4", options={"movflags": MP4_FLAGS}) as container:
        container.metadata[LABEL_KEY] = label_json(label)
        video = _add_video(container, width=shape[1], height=shape[0], fps=clip.fps)
        sound = _Sound(container, clip.audio) if clip.audio else None
        for done, frame in enumerate(chain([first], frames), start=1):
            if done > num_frames:
                raise EncodeError(f"the clip has more than {num_frames} frames")
            if frame.shape != shape or frame.dtype != np.uint8:
                raise EncodeError(f"frame {done} is {frame.dtype} {frame.shape}, not RGB {shape}")
            container.mux(video.encode(_to_yuv(frame, done - 1, clip.fps)))
            # Sound keeps step with the picture, or the muxer would queue up one of them.
            if sound:
                sound.write_until(done / clip.fps)
            if on_step:
                is_preview = done in (1, num_frames // 2 + 1)
                on_step(clip.stage, done, num_frames, [frame] if is_preview else ())
        container.mux(video.encode())
        if sound:
            sound.close()


def _checked_shape(frame: Frame) -> tuple[int, ...]:
    height, width = frame.shape[:2]
    if width % 2 or height % 2:
        raise EncodeError(f"H.264 in 4:2:0 needs even sides, not {width}x{height}")
    return (height, width, 3)


def _add_video(
    container: OutputContainer, *, width: int, height: int, fps: Fraction
) -> VideoStream:
    options = {"crf": str(CRF), "preset": PRESET, "x264-params": MOTION}
    video = container.add_stream("libx264", rate=fps, options=options)
    video.width, video.height, video.pix_fmt = width, height, "yuv420p"
    context = video.codec_context
    # Untagged video is taken for BT.601 by some players and BT.709 by others.
    context.colorspace = Colorspace.ITU709
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709
    context.color_range = ColorRange.MPEG
    return video


def _to_yuv(frame: Frame, index: int, fps: Fraction) -> av.VideoFrame:
    # FFmpeg would convert by BT.601 unless told.
    picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
    picture.pts = index
    picture.time_base = 1 / fps
    return picture


class _Sound:
    """The AAC track of a video, written up to a given time."""

    def __init__(self, container: OutputContainer, audio: Audio) -> None:
        channels = audio.samples.shape[0]
        if channels not in LAYOUTS:
            raise EncodeError(f"sound has 1 or 2 channels, not {channels}")
        self._container = container
        self._audio = audio
        self._layout = LAYOUTS[channels]
        self._stream = container.add_stream("aac", rate=audio.sample_rate, layout=self._layout)
        self._stream.bit_rate = AUDIO_BITS_PER_CHANNEL * channels
        self._written = 0

    def write_until(self, seconds: Fraction) -> None:
        """Encode the samples before `seconds`; silence where the sound has ended."""
        end = round(seconds * self._audio.sample_rate)
        samples = self._audio.samples[:, self._written : end]
        missing = end - self._written - samples.shape[1]
        if missing:
            samples = np.pad(samples, ((0, 0), (0, missing)))
        chunk = np.ascontiguousarray(samples, dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(chunk, format="fltp", layout=self._layout)
        frame.sample_rate = self._audio.sample_rate
        frame.pts = self._written
        frame.time_base = Fraction(1, self._audio.sample_rate)
        self._container.mux(self._stream.encode(frame))
        self._written = end

    def close(self) -> None:
        """Encode what the encoder still holds."""
        self._container.mux(self._stream.encode())
