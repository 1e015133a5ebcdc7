"""The shipped voices: sound and mouth at the same time, at the pace asked for, repeatably."""

import itertools

import numpy as np
import pytest

from models.pipeline import InputRefused
from models.refusal import Refusal
from models.speech.articulation import Sound, articulate
from models.speech.chinese import ChineseVoice, clauses, read_aloud
from models.speech.english import EnglishVoice, sentences
from models.speech.loudness import envelope
from models.speech.reshape import paused, pitched
from models.speech.track import OPEN
from models.speech.voice import SAMPLE_RATE, Utterance
from models.speech.voices import Voices


def agreement(said: Utterance, lag_rows: int = 0) -> float:
    """R of how far the phones open the mouth with how loud it is, `lag_rows` later."""
    mouth = articulate(said.sounds or (), said.duration_s).controls[:, OPEN]
    loud = np.log(envelope(said.samples, SAMPLE_RATE)[: len(mouth)] + 1e-2)
    return float(np.corrcoef(np.roll(mouth, lag_rows), loud)[0, 1])


@pytest.mark.parametrize("name", ["chinese", "english"])
def test_phones_lie_where_they_are_heard(name: str, request: pytest.FixtureRequest) -> None:
    said: Utterance = request.getfixturevalue(name)
    by_lag = {lag: agreement(said, lag) for lag in range(-15, 16)}
    assert by_lag[0] > 0.4
    best_lag, _r = max(by_lag.items(), key=lambda entry: entry[1])
    assert abs(best_lag) <= 3
    assert agreement(said, len(articulate((), said.duration_s).controls) // 2) < 0.3


def test_all_lips_of_the_english_sentence_shut(english: Utterance) -> None:
    """Peter bought many big apples: p, b, m, b, p."""
    assert sum(sound.shape == "shut" for sound in english.sounds or ()) == 5


def test_all_lips_of_the_chinese_sentence_shut(chinese: Utterance) -> None:
    """大家好，我们明天买苹果: m, m, m, p."""
    assert sum(sound.shape == "shut" for sound in chinese.sounds or ()) == 4


@pytest.mark.parametrize("voice", [ChineseVoice(), EnglishVoice()], ids=["zh", "en"])
@pytest.mark.usefixtures("voices")
def test_the_same_words_sound_the_same_and_pace_is_kept(voice: ChineseVoice | EnglishVoice) -> None:
    text = "好的，谢谢。" if voice.languages == ("zh",) else "Good, thank you."
    first, again = voice.say(text, 1.0, 7), voice.say(text, 1.0, 7)
    np.testing.assert_array_equal(first.samples, again.samples)
    assert first.sounds == again.sounds
    slow, fast = voice.say(text, 0.5, 7).duration_s, voice.say(text, 2.0, 7).duration_s
    assert slow == pytest.approx(first.duration_s * 2, rel=0.15)
    assert fast == pytest.approx(first.duration_s / 2, rel=0.2)


def test_chinese_is_read_by_phrases() -> None:
    assert read_aloud("银行行长重新重视") == [
        "yin2", "hang2", "hang2", "zhang3", "chong2", "xin1", "zhong4", "shi4",
    ]  # fmt: skip
    assert clauses("好，，  abc。" + "长" * 50) == ["好，，", "长" * 40, "长" * 10]


@pytest.mark.usefixtures("voices")
def test_english_words_known_inflected_spelled_and_made_up() -> None:
    said = EnglishVoice()._words.phones_of("The apple's boxes, a GPU zorbled to us.")
    assert said.startswith("ði ˈæpᵊl")
    assert "bˈɑksᵻz, ɐ" in said
    assert "pˌi" in said
    assert "ˈ" in said.split()[-3]
    assert said.endswith(".")


def test_english_sentences_keep_their_abbreviations_whole() -> None:
    assert sentences("Dr. Who met Mr. X at 7:30. He left!\n") == [
        "Doctor Who met Mister X at seven thirty.",
        "He left!",
    ]


def tone(seconds: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    times = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return np.sin(2 * np.pi * 220 * times).astype(np.float32)


def test_pitch_moves_sound_and_mouth() -> None:
    higher = pitched(Utterance(tone(1.0), (Sound("shut", 0.5, 0.6),)), 1.1)
    assert higher.duration_s == pytest.approx(1 / 1.1, abs=1e-3)
    assert higher.sounds is not None
    assert higher.sounds[0].start_s == pytest.approx(0.5 / 1.1)
    spectrum = np.abs(np.fft.rfft(higher.samples))
    assert np.argmax(spectrum) * SAMPLE_RATE / len(higher.samples) == pytest.approx(242, abs=2)


@pytest.mark.parametrize("factor", [0.6, 1.5])
def test_only_rests_change_length_and_the_mouth_follows(factor: float) -> None:
    rest = np.zeros(SAMPLE_RATE // 2, np.float32)
    samples = np.concatenate([tone(0.5), rest, tone(0.5)])
    said = Utterance(samples, (Sound("shut", 0.2, 0.3), Sound("shut", 1.2, 1.3)))
    changed = paused(said, factor)
    added = changed.duration_s - said.duration_s
    assert added == pytest.approx(0.5 * (factor - 1), abs=0.06)
    assert changed.sounds is not None
    assert changed.sounds[0].start_s == pytest.approx(0.2)
    assert changed.sounds[1].start_s == pytest.approx(1.2 + added, abs=0.02)


def test_an_unknown_voice_and_a_language_nobody_speaks_are_refused() -> None:
    voices = Voices({"zh": ChineseVoice()})
    with pytest.raises(InputRefused, match="no voice 'x' here; there are zh") as caught:
        voices.choose("x", "zh")
    assert caught.value.code == Refusal.TEXT_UNSPEAKABLE
    with pytest.raises(InputRefused, match="no voice here speaks en"):
        voices.choose("zh", "en")


def test_sounds_follow_each_other(english: Utterance, chinese: Utterance) -> None:
    for said in (english, chinese):
        assert said.sounds
        for before, after in itertools.pairwise(said.sounds):
            assert before.start_s <= before.end_s <= after.start_s + 1e-6
        assert said.sounds[-1].end_s <= said.duration_s
