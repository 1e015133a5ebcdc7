"""Sound files of every kind that is taken, made in memory."""

import io
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream

ENCODERS = {
    "wav": ("wav", "pcm_s16le"),
    "mp3": ("mp3", "mp3"),
    "m4a": ("ipod", "aac"),
    "aac": ("adts", "aac"),
    "ogg": ("ogg", "libopus"),
    "flac": ("flac", "flac"),
}


def encode(kind: str, seconds: float, *, channels: int = 1, rate: int = 48_000) -> bytes:
    """A tone as a file of `kind`, at a tenth of full scale."""
    container_format, codec = ENCODERS[kind]
    times = np.arange(int(seconds * rate)) / rate
    tone = np.tile((0.1 * np.sin(2 * np.pi * 220 * times)).astype(np.float32), (channels, 1))
    return encode_samples(tone, rate, container_format, codec)


def encode_samples(
    samples: npt.NDArray[np.float32], rate: int, container_format: str, codec: str
) -> bytes:
    """`samples` float32 [C, T] as a file."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[samples.shape[0]]
    out = io.BytesIO()
    with av.open(out, "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, AudioStream)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return out.getvalue()
