"""A whole performance: text or recording in, sound and mouth of one length out."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from models.pipeline import InputRefused, LoadFailed
from models.refusal import Refusal
from models.spec import Emotion, EmotionName, SpokenAudio, SpokenText
from models.speech.listen import WEIGHTS, listen
from models.speech.loudness import loudness_lufs
from models.speech.prosody import Prosody, prosody_of
from models.speech.script import estimate_seconds
from models.speech.speak import perform
from models.speech.track import OPEN, PRESS, Spoken
from models.speech.voice import SAMPLE_RATE, Utterance
from models.speech.voices import Voices
from tests.support.sounds import encode_samples

MIXED = "你好 friend！"


@pytest.fixture(scope="session")
def mixed(voices: Voices) -> Spoken:
    return perform(SpokenText(text=MIXED), Emotion(), voices=voices)


def test_sound_and_mouth_are_of_one_length(mixed: Spoken) -> None:
    assert mixed.audio.samples.dtype == mixed.mouth.controls.dtype == np.float32
    assert mixed.audio.sample_rate == SAMPLE_RATE
    assert len(mixed.mouth.controls) == -(-mixed.audio.samples.shape[1] * 100 // SAMPLE_RATE)
    assert np.abs(mixed.audio.samples).max() <= 1


def test_both_voices_are_equally_loud(voices: Voices) -> None:
    levels = [
        loudness_lufs(
            perform(SpokenText(text=text), Emotion(), voices=voices).audio.samples, SAMPLE_RATE
        )
        for text in ("你好，朋友。", "Hello, my friend.")
    ]
    assert levels == pytest.approx([-18, -18], abs=1)


def test_equal_arguments_give_equal_sound(mixed: Spoken, voices: Voices) -> None:
    again = perform(SpokenText(text=MIXED), Emotion(), voices=voices)
    np.testing.assert_array_equal(again.audio.samples, mixed.audio.samples)
    np.testing.assert_array_equal(again.mouth.controls, mixed.mouth.controls)


@pytest.mark.parametrize("name", list(EmotionName))
def test_more_intensity_is_more_of_the_same(name: EmotionName) -> None:
    steps = [dataclasses.astuple(prosody_of(Emotion(name=name, intensity=i))) for i in range(1, 6)]
    for values in zip(*steps, strict=True):
        steps_up = np.diff(np.abs(np.array(values) - values[0]))
        assert (steps_up >= 0).all()
    assert 0.88 <= prosody_of(Emotion(name=name, intensity=5)).pitch <= 1.12
    assert (steps[-1] == dataclasses.astuple(Prosody())) == (name == EmotionName.NEUTRAL)


def test_sad_is_slower_and_softer_than_angry(voices: Voices) -> None:
    text = SpokenText(text="I will be there.")
    sad, angry = (
        perform(text, Emotion(name=name, intensity=5), voices=voices)
        for name in (EmotionName.SAD, EmotionName.ANGRY)
    )
    assert sad.duration_s > angry.duration_s * 1.2
    loudness = [loudness_lufs(each.audio.samples, SAMPLE_RATE) for each in (sad, angry)]
    assert loudness[1] - loudness[0] > 3


class Slow:
    """Speaks for `seconds` whatever it is asked, at pace 1."""

    languages = ("en",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def say(self, text: str, pace: float, seed: int) -> Utterance:
        """A tone, whatever the words."""
        del text, seed
        length = int(self.seconds / pace * SAMPLE_RATE)
        times = np.arange(length) / SAMPLE_RATE
        return Utterance((0.1 * np.sin(1000 * times)).astype(np.float32), ())


def test_a_little_too_long_is_hurried_and_much_too_long_is_refused() -> None:
    text = SpokenText(text="words")
    spoken = perform(text, Emotion(), voices=Voices({"slow": Slow(10.5)}), max_s=10)
    assert 9 < spoken.duration_s <= 10
    with pytest.raises(InputRefused, match=r"takes 20\.\d s to say, 10 s are allowed") as caught:
        perform(text, Emotion(), voices=Voices({"slow": Slow(20)}), max_s=10)
    assert caught.value.code == Refusal.TEXT_TOO_LONG


@pytest.mark.parametrize(
    "text",
    [
        "Visit www.example.com/docs for more info.",
        "My e-mail is ada.lovelace@example.com.",
        "我们的网址是 https://reelgate.io/docs，欢迎访问。",
        "订单号 A1B2C3D4E5 已发货。",
        "Version 1.2.3-beta+4 is out; run `pip install x==1.0`.",
        "+86 138 0000 0000",
        "Hi! Bye! No! Yes! Ok! Go! Hey! Ha!",
        "x = y + z * 3 / 4 - 5",
        "H2O and CO2",
        "bcdfghjklmnpqrstvwxz",
        "嗯。",
    ],
)
def test_what_is_spelled_fits_into_its_estimate(text: str, voices: Voices) -> None:
    allowed_s = math.ceil(estimate_seconds(text, "auto", 1.0) * 24) / 24
    spoken = perform(SpokenText(text=text), Emotion(), voices=voices, max_s=allowed_s)
    assert allowed_s / 2 < spoken.duration_s <= allowed_s


def test_without_the_chinese_voice_chinese_is_refused_and_english_spoken(
    voices: Voices, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.speech.voices import load_voices

    monkeypatch.setenv("REELGATE_ASSETS_WITHOUT", "speech/zh")
    fresh = load_voices()
    with pytest.raises(InputRefused, match="the Chinese voice is switched off here") as caught:
        perform(SpokenText(text="你好"), Emotion(), voices=fresh)
    assert caught.value.code == Refusal.TEXT_UNSPEAKABLE
    assert perform(SpokenText(text="Hi."), Emotion(), voices=voices).duration_s > 0.3


def test_without_assets_the_voice_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.speech.voices import load_voices

    monkeypatch.setenv("REELGATE_ASSETS_DIR", str(tmp_path))
    monkeypatch.delenv("REELGATE_ASSETS_WITHOUT", raising=False)
    with pytest.raises(LoadFailed, match="reelgate assets fetch"):
        perform(SpokenText(text="Hello"), Emotion(), voices=load_voices())


def test_unspeakable_text_is_refused(voices: Voices) -> None:
    with pytest.raises(InputRefused, match="markup"):
        perform(SpokenText(text="<speak>Hi</speak>"), Emotion(), voices=voices)


def test_a_recording_is_heard(english: Utterance, tmp_path: Path) -> None:
    path = tmp_path / "voice.wav"
    path.write_bytes(encode_samples(english.samples[None], SAMPLE_RATE, "wav", "pcm_s16le"))
    spoken = perform(SpokenAudio(path=path), Emotion(), voices=Voices())
    assert len(spoken.mouth.controls) == -(-spoken.audio.samples.shape[1] * 100 // SAMPLE_RATE)
    assert spoken.mouth.closures_s == ()


@pytest.mark.parametrize("name", ["chinese", "english"])
def test_the_listener_hears_the_mouth_that_the_phones_make(
    name: str, request: pytest.FixtureRequest
) -> None:
    from models.speech.articulation import articulate
    from models.speech.loudness import envelope

    said: Utterance = request.getfixturevalue(name)
    wanted = articulate(said.sounds or (), said.duration_s, envelope(said.samples, SAMPLE_RATE))
    heard = listen(said.samples)
    assert heard.controls.shape == wanted.controls.shape
    r = [np.corrcoef(heard.controls[:, c], wanted.controls[:, c])[0, 1] for c in (OPEN, PRESS)]
    assert r[0] > 0.75
    assert r[1] > 0.45


@pytest.mark.parametrize("name", ["chinese", "english"])
def test_closures_are_heard(name: str, request: pytest.FixtureRequest) -> None:
    """Lips come together where somebody says m, b or p, though nobody tells the phones."""
    said: Utterance = request.getfixturevalue(name)
    heard = listen(said.samples).controls
    parted = heard[:, OPEN] * (1 - heard[:, PRESS])
    shut = [sound for sound in said.sounds or () if sound.shape == "shut"]
    middles = [round(50 * (sound.start_s + sound.end_s)) for sound in shut]
    met = [parted[max(at - 5, 0) : at + 6].min() < 0.15 for at in middles]
    assert len(met) >= 3
    assert np.mean(met) >= 0.9
    assert np.percentile(parted, 75) > 0.2, "and part in between"


def test_the_listeners_weights_are_small() -> None:
    assert WEIGHTS.stat().st_size < 400_000


def test_silence_shuts_the_mouth(english: Utterance) -> None:
    quiet = np.concatenate([english.samples, np.zeros(SAMPLE_RATE, np.float32)])
    assert listen(quiet).controls[-60:, OPEN].max() < 0.05
