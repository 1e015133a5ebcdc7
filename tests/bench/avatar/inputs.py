"""What is said in the bench, and by whom."""

import io
import wave
from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.signal import fftconvolve, resample_poly

from models.speech.voice import SAMPLE_RATE, Utterance, Voice
from tests.support.portrait import draw_portrait
from tests.support.sounds import encode_samples

MINUTE_ZH = (
    "大家好，我是今天的主持人，欢迎来到我们的节目。今天想和各位谈一谈，一段视频是怎样做出来的。"
    "首先，你需要一张清楚的正面照片，光线要柔和，眼睛要看着前方。然后，写下你想说的话，"
    "可以是一句问候，也可以是一篇长长的文章。系统会先把文字变成声音，再根据每一个音节，"
    "计算嘴唇应该张开多少，什么时候应该闭上。比如说爸爸、妈妈、朋友，这些词都要求双唇紧紧合上，"
    "观众的眼睛马上就能发现有没有做对。接下来，画面会一帧一帧地画出来，每秒四十八帧，"
    "人物会眨眼，会轻轻地点头，也会随着心情改变表情。最后，声音和画面合在一起，"
    "成为一段可以播放的视频。"
)
"""A little less than a minute of Chinese."""

SENTENCES = {
    "zh": (
        "今天天气不错，我想陪你去看看这座城市。我们先坐车去海边，再到老街买面包，你们一定会喜欢。",
        "每个周末她都去图书馆看报，有时候帮妈妈买东西，有时候只是坐在窗边，听外面的雨声。",
        "这台机器昨天就修好了。你可以先试一试，如果还有什么毛病，马上打电话告诉我们。",
    ),
    "en": (
        "The weather is fine today, and I would like to show my mother the best part of the city.",
        "She visits the library every weekend, reads books for an hour, and walks home by bus.",
        "The machine was repaired yesterday. Please try it, and maybe call if there is a problem.",
    ),
}
"""By language."""

ROOM_S = 0.15
Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Recording:
    """A sound file, and when lips are known to be shut in it, in seconds."""

    data: bytes
    closures_s: tuple[float, ...]


def portraits(folder: Path) -> dict[str, Path]:
    """By name: a drawing, a photo, and the photo grey and tilted."""
    pictures = {"drawn": Image.fromarray(draw_portrait(900))}
    with as_file(files("skimage") / "data" / "astronaut.png") as path:
        photo = Image.open(path).convert("RGB")
    pictures["photo"] = photo
    pictures["grey, tilted"] = photo.rotate(9, Image.Resampling.BICUBIC).convert("L")
    found: dict[str, Path] = {}
    for name, picture in pictures.items():
        found[name] = folder / f"{len(found)}.png"
        picture.save(found[name])
    return found


def recorded(voice: Voice, text: str, *, seed: int, pitch: float = 1.0) -> Recording:
    """`text` as somebody else's microphone hears it: another pitch, a room, noise."""
    return _heard(voice.say(text, 1.0, seed), seed, pitch)


def recorded_minute(voice: Voice, seed: int = 0) -> Recording:
    """`MINUTE_ZH` in a room, as long as a minute to the sample."""
    said = voice.say(MINUTE_ZH, 1.0, seed)
    return _heard(said, seed, len(said.samples) / SAMPLE_RATE / 60, length_s=60)


def cut(recording: Recording, seconds: int) -> bytes:
    """The first `seconds` of `recording`, as a file."""
    with wave.open(io.BytesIO(recording.data)) as whole:
        rate = whole.getframerate()
        heard = np.frombuffer(whole.readframes(rate * seconds), np.int16)
    return encode_samples((heard[None] / 2**15).astype(np.float32), rate, "wav", "pcm_s16le")


def _heard(said: Utterance, seed: int, pitch: float, length_s: float | None = None) -> Recording:
    random = np.random.default_rng(seed)
    ratio = Fraction(2 / pitch).limit_denominator(400)
    samples = resample_poly(said.samples, ratio.numerator, ratio.denominator)
    rate = 2 * SAMPLE_RATE
    times = np.arange(int(ROOM_S * rate)) / rate
    room = random.normal(0, 0.02, len(times)) * np.exp(-6.9 * times / ROOM_S)
    room[0] = 1.0
    samples = fftconvolve(samples, room)[: len(samples)]
    samples *= 0.5 / np.abs(samples).max()
    if length_s is not None:
        samples = np.resize(np.pad(samples, (0, rate)), round(length_s * rate))
    samples += random.normal(0, 1e-3, len(samples))
    data = encode_samples(samples[None].astype(np.float32), rate, "wav", "pcm_s16le")
    stretch = float(ratio) / 2
    shut = tuple(
        (sound.start_s + sound.end_s) / 2 * stretch
        for sound in said.sounds or ()
        if sound.shape == "shut"
    )
    return Recording(data, shut)
