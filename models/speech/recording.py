"""A user's recording: decoded within bounds, judged, made as loud as it should be.

The file is hostile until proven otherwise: its container is named by its first bytes, so that
FFmpeg opens no playlist; it is read from memory we opened, so that nothing else is; decoding stops
after a minute of sound or a number of packets.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import numpy.typing as npt

from models.pipeline import Audio, InputRefused
from models.refusal import InputUnusable, Refusal
from models.speech.loudness import loudness_lufs, normalized, resampled
from models.speech.probe import sniff
from models.speech.script import MAX_SPEECH_S
from models.speech.voice import SAMPLE_RATE

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

MIN_S = 0.5
RATES = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Of soundtracks: rates that AAC knows, whose packets are not long beside a frame."""

_MAX_CHANNELS = 2
_SLACK_S = 0.1
_DECODE_S = 30.0
_FORMATS = {"wav": "wav", "mp3": "mp3", "m4a": "mov", "aac": "aac", "ogg": "ogg", "flac": "flac"}
_SILENT_LUFS = -50.0
_CANCELED = 0.01
_FULL_SCALE = 0.999
_CLIP_RUN = 4
_MAX_CLIPPED = 0.005

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Recording:
    """What was recorded.

    Attributes:
        audio: the soundtrack, mono or stereo, at the next of `RATES`, loudness evened out.
        mono: float32 [T], the same at `voice.SAMPLE_RATE`, to be listened to.
    """

    audio: Audio
    mono: Samples


def read_recording(path: Path) -> Recording:
    """Read the speech in `path`: wav, mp3, m4a, aac, ogg or flac, up to a minute.

    Raises:
        InputRefused: `audio_unreadable`, `audio_channels`, `audio_too_short`, `audio_too_long`,
            `audio_silent`, `audio_clipped`; with limit and value in the message.
    """
    samples, rate = _decode(path)
    _check_length(samples.shape[1] / rate)
    _check_level(samples, rate)
    even = normalized(samples, rate)
    mono = resampled(_heard(even), rate, SAMPLE_RATE)
    return Recording(Audio(even, rate), mono)


def _decode(path: Path) -> tuple[Samples, int]:
    """Samples [C, T] and their rate; a little over the limit at most."""
    try:
        with path.open("rb") as file:
            kind = sniff(file.read())
            file.seek(0)
            with av.open(file, mode="r", format=_FORMATS[kind]) as container:
                return _read(container)
    except InputUnusable as error:
        raise InputRefused(error.code, error.message) from error
    except (av.FFmpegError, ValueError, EOFError, MemoryError, OverflowError) as error:
        raise _refused(
            Refusal.AUDIO_UNREADABLE, "the recording is broken: its sound cannot be decoded"
        ) from error


def _read(container: "InputContainer") -> tuple[Samples, int]:
    if not container.streams.audio:
        raise _refused(Refusal.AUDIO_UNREADABLE, "the file holds no sound")
    stream = container.streams.audio[0]
    channels, rate = stream.codec_context.channels, stream.codec_context.sample_rate
    if channels > _MAX_CHANNELS:
        raise _refused(
            Refusal.AUDIO_CHANNELS,
            f"the recording has {channels} channels, {_MAX_CHANNELS} are allowed",
        )
    if channels < 1 or rate <= 0:
        raise _refused(Refusal.AUDIO_UNREADABLE, "the recording does not say how it is sampled")
    kept_rate = next((each for each in RATES if each >= rate), RATES[-1])
    layout = "mono" if channels == 1 else "stereo"
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=kept_rate)
    chunks: list[Samples] = []
    length = 0
    for frame in _frames(container, stream, resampler):
        chunk = np.nan_to_num(frame.to_ndarray())
        chunks.append(np.asarray(np.clip(chunk, -1, 1), np.float32))
        length += chunk.shape[1]
        if length > (MAX_SPEECH_S + _SLACK_S) * kept_rate:
            raise _refused(
                Refusal.AUDIO_TOO_LONG,
                f"the recording lasts more than {MAX_SPEECH_S:.0f} s, the most that is allowed",
            )
    if not chunks:
        raise _refused(Refusal.AUDIO_TOO_SHORT, f"the recording is empty, it needs {MIN_S} s")
    samples = np.concatenate(chunks, axis=1)
    return samples[:, : _told_length(container, stream, kept_rate)], kept_rate


def _told_length(container: "InputContainer", stream: "AudioStream", rate: int) -> int | None:
    """Samples until the end that the file tells, where it does: AAC fills its last packet up."""
    if container.format.name.startswith("mov") and stream.duration and stream.time_base:
        return max(round(stream.duration * stream.time_base * rate), 1)
    return None


def _frames(
    container: "InputContainer", stream: "AudioStream", resampler: av.AudioResampler
) -> Iterator[av.AudioFrame]:
    """Decoded and resampled frames; a damaged packet is left out unless nothing else is there."""
    ends = time.monotonic() + _DECODE_S
    damaged: av.FFmpegError | None = None
    has_any = False
    for packet in container.demux(stream):
        if time.monotonic() > ends:
            raise _refused(
                Refusal.AUDIO_UNREADABLE, f"the recording takes over {_DECODE_S:.0f} s to decode"
            )
        try:
            decoded = packet.decode()
        except av.InvalidDataError as error:
            damaged = error
            continue
        for frame in decoded:
            has_any = True
            yield from resampler.resample(frame)
    if damaged is not None and not has_any:
        raise damaged
    if has_any:
        yield from resampler.resample(None)


def _heard(samples: Samples) -> Samples:
    """One channel [T] of `samples` [C, T]: their mean, or the loudest where they cancel out."""
    mean = np.asarray(samples.mean(axis=0), np.float32)
    loudest = max(samples, key=lambda channel: float(np.square(channel).sum()))
    cancels = np.square(mean).sum() < _CANCELED * np.square(loudest).sum()
    return loudest if cancels else mean


def _check_length(seconds: float) -> None:
    if seconds < MIN_S:
        raise _refused(
            Refusal.AUDIO_TOO_SHORT, f"the recording lasts {seconds:.2f} s, it needs {MIN_S} s"
        )


def _check_level(samples: Samples, rate: int) -> None:
    clipped = _clipped_share(samples)
    if clipped > _MAX_CLIPPED:
        raise _refused(
            Refusal.AUDIO_CLIPPED,
            f"the recording is clipped: {clipped:.1%} of its samples are cut off, "
            f"{_MAX_CLIPPED:.1%} are allowed; record it more softly",
        )
    loudness = loudness_lufs(samples, rate)
    if loudness < _SILENT_LUFS:
        heard = f"{loudness:.0f} LUFS" if np.isfinite(loudness) else "no sound at all"
        raise _refused(
            Refusal.AUDIO_SILENT,
            f"the recording is silent: {heard}, speech needs {_SILENT_LUFS:.0f} LUFS",
        )


def _clipped_share(samples: Samples) -> float:
    """Share of samples in runs of `_CLIP_RUN` or more at full scale, of one sign or not."""
    is_full = np.abs(samples) >= _FULL_SCALE
    if not is_full.any():
        return 0.0
    starts = is_full[:, : -_CLIP_RUN + 1].copy()
    for shift in range(1, _CLIP_RUN):
        starts &= is_full[:, shift : is_full.shape[1] - _CLIP_RUN + 1 + shift]
    in_run = np.zeros_like(is_full)
    for shift in range(_CLIP_RUN):
        in_run[:, shift : shift + starts.shape[1]] |= starts
    return float(in_run.mean(axis=1).max())


def _refused(code: Refusal, message: str) -> InputRefused:
    return InputRefused(code, message)
