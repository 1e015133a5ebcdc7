"""How long speech is, told from a text or from the file of a recording."""

import io
import random
from contextlib import suppress

import av
import numpy as np
import pytest

from models.refusal import InputUnusable, Refusal
from models.speech.probe import probe_duration_s
from models.speech.script import check_text, estimate_seconds

SECONDS = 4.2


def encoded(container: str, codec: str, rate: int) -> bytes:
    """A tone of `SECONDS` as FFmpeg writes it."""
    file = io.BytesIO()
    tone = (0.3 * np.sin(np.arange(round(SECONDS * rate)) / 20)).astype(np.float32)
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        context = stream.codec_context
        resampler = av.AudioResampler(context.format, "mono", rate, context.frame_size or 0)
        frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        frame.pts = 0
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(part))
        out.mux(stream.encode())
    return file.getvalue()


KINDS = [
    ("wav", "pcm_s16le", 24000),
    ("flac", "flac", 44100),
    ("ogg", "libopus", 48000),
    ("mp3", "libmp3lame", 44100),
    ("mp3", "libmp3lame", 16000),
    ("mp3", "libmp3lame", 8000),
    ("adts", "aac", 44100),
    ("mp4", "aac", 48000),
    ("ipod", "aac", 16000),
]


@pytest.mark.parametrize(("container", "codec", "rate"), KINDS)
def test_the_length_is_that_of_the_sound(container: str, codec: str, rate: int) -> None:
    # Codecs with frames fill up the last one and put an empty one before the first.
    padding_s = 3 * 1152 / rate if codec in ("libmp3lame", "aac") else 0.001
    seconds = probe_duration_s(encoded(container, codec, rate))
    assert SECONDS - 0.001 <= seconds <= SECONDS + padding_s


@pytest.mark.parametrize(("container", "codec", "rate"), KINDS)
def test_a_broken_file_is_refused_or_has_some_length(container: str, codec: str, rate: int) -> None:
    whole = encoded(container, codec, rate)
    dice = random.Random(7)  # noqa: S311 -- not for secrets
    for _ in range(200):
        data = bytearray(whole[: dice.randrange(len(whole))])
        for _ in range(3):
            if data:
                data[dice.randrange(min(len(data), 400))] = dice.randrange(256)
        with suppress(InputUnusable):
            assert probe_duration_s(bytes(data)) > 0


@pytest.mark.parametrize("data", [b"", b"RIFF", b"not a recording", bytes(5000)])
def test_what_is_no_recording_is_refused(data: bytes) -> None:
    with pytest.raises(InputUnusable):
        probe_duration_s(data)


def test_twice_as_fast_takes_half_as_long() -> None:
    text = "你好，欢迎使用。 Hello there, 2026!"
    slow, fast = (estimate_seconds(text, "auto", speed) for speed in (1.0, 2.0))
    assert fast == pytest.approx(slow / 2, rel=0.1)
    assert estimate_seconds(text * 2, "auto", 1.0) > slow


@pytest.mark.parametrize("text", ["", " \n", "?!…", "Привет", "مرحبا", "a\x00b"])
def test_a_text_without_words_of_ours_is_refused(text: str) -> None:
    with pytest.raises(InputUnusable) as refused:
        check_text(text, "auto")
    assert refused.value.code is Refusal.TEXT_UNSPEAKABLE


def test_chinese_is_not_english() -> None:
    check_text("你好，world 3", "zh")
    with pytest.raises(InputUnusable):
        check_text("你好", "en")
