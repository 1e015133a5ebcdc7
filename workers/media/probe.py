"""Facts of a video, read from the file itself."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

FORMATS = "mov,mp4,matroska,webm"
"""Containers we open. FFmpeg also takes text for video and follows playlists to other files."""


class UnreadableMedia(Exception):
    """The file is not a video or a picture that we can open."""


@dataclass(frozen=True)
class ColourTags:
    """How a player turns the numbers into colours: code points of ITU-T H.273; 1 is BT.709."""

    primaries: int
    transfer: int
    matrix: int
    is_full_range: bool


BT709 = ColourTags(primaries=1, transfer=1, matrix=1, is_full_range=False)


@dataclass(frozen=True)
class AudioFacts:
    """The sound of a video. `sample_rate`: Hz."""

    codec: str
    sample_rate: int
    channels: int
    duration_s: float


@dataclass(frozen=True)
class VideoFacts:
    """A video as measured. `num_frames` are counted, `duration_s` is of the video track."""

    width: int
    height: int
    num_frames: int
    fps: Fraction
    duration_s: float
    codec: str
    pixel_format: str
    colour: ColourTags
    audio: AudioFacts | None


def probe_video(path: Path) -> VideoFacts:
    """Measure the video at `path`; decodes nothing.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableMedia: it is not a video.
    """
    with open_media(path) as container:
        if not container.streams.video:
            raise UnreadableMedia(f"{path.name} has no video track")
        video = container.streams.video[0]
        num_frames = sum(packet.size > 0 for packet in container.demux(video))
        audio = container.streams.audio[0] if container.streams.audio else None
        return _facts(video, audio, num_frames)


def open_media(path: Path) -> InputContainer:
    """The media file at `path`, open for reading; a context manager.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableMedia: it is not media.
    """
    try:
        # Absolute, so that no name can read as one of FFmpeg's protocols.
        return av.open(str(path.absolute()), container_options={"format_whitelist": FORMATS})
    except FileNotFoundError:
        raise
    except av.FFmpegError as error:
        raise UnreadableMedia(f"{path.name} is not media: {error.strerror}") from error


def _facts(video: VideoStream, audio: AudioStream | None, num_frames: int) -> VideoFacts:
    context = video.codec_context
    fps = video.average_rate
    if fps is None or video.duration is None or video.time_base is None:
        raise UnreadableMedia("the video track has no frame rate or no duration")
    return VideoFacts(
        width=context.width,
        height=context.height,
        num_frames=num_frames,
        fps=fps,
        duration_s=float(video.duration * video.time_base),
        codec=context.name,
        pixel_format=context.pix_fmt or "",
        colour=ColourTags(
            primaries=context.color_primaries,
            transfer=context.color_trc,
            matrix=context.colorspace,
            is_full_range=context.color_range == ColorRange.JPEG,
        ),
        audio=_audio_facts(audio) if audio is not None else None,
    )


def _audio_facts(audio: AudioStream) -> AudioFacts:
    duration = (audio.duration or 0) * (audio.time_base or Fraction(0))
    return AudioFacts(
        codec=audio.codec_context.name,
        sample_rate=audio.codec_context.sample_rate,
        channels=audio.codec_context.channels,
        duration_s=float(duration),
    )
