"""From phones to mouths: closures that shut, vowels that open, nothing outside its range."""

import numpy as np
import pytest

from models.speech.articulation import Sound, articulate, of_ipa, of_pinyin, spread_over
from models.speech.symbols import Symbols
from models.speech.track import BITE, OPEN, PRESS, WIDTH


def row(seconds: float) -> int:
    return round(seconds * 100)


def test_bilabials_shut_between_open_vowels_however_short() -> None:
    sounds = [Sound("wide_open", 0.1, 0.4), Sound("shut", 0.4, 0.43), Sound("wide_open", 0.43, 0.8)]
    track = articulate(sounds, 1.0)
    assert list(track.closures_s) == pytest.approx([0.415])
    assert track.controls[row(0.415), OPEN] < 0.15
    assert track.controls[row(0.415), PRESS] > 0.85
    assert track.controls[row(0.25), OPEN] > 0.9


def test_lips_round_spread_and_bite() -> None:
    sounds = [Sound("pursed", 0.1, 0.3), Sound("spread", 0.4, 0.6), Sound("bite", 0.7, 0.9)]
    controls = articulate(sounds, 1.0).controls
    assert controls[row(0.2), WIDTH] < -0.8
    assert controls[row(0.5), WIDTH] > 0.6
    assert controls[row(0.8), BITE] > 0.9


def test_the_track_covers_all_of_the_sound_and_stays_in_range() -> None:
    random = np.random.default_rng(0)
    edges = np.sort(random.uniform(0, 3.217, 40))
    shapes = random.choice(["wide_open", "shut", "pursed", "bite", "spread"], 39)
    sounds = [Sound(str(s), a, b) for s, a, b in zip(shapes, edges, edges[1:], strict=False)]
    controls = articulate(sounds, 3.217, np.ones(322, np.float32)).controls
    assert controls.shape == (322, 4)
    assert controls.dtype == np.float32
    assert (controls >= [0, -1, 0, 0]).all()
    assert (controls <= 1).all()


def test_louder_vowels_open_wider() -> None:
    sounds = [Sound("half_open", 0.0, 1.0)]
    soft = articulate(sounds, 1.0, np.full(100, 0.2, np.float32)).controls[50, OPEN]
    loud = articulate(sounds, 1.0, np.full(100, 1.0, np.float32)).controls[50, OPEN]
    assert loud > soft * 1.3


def test_silence_rests() -> None:
    assert not articulate([], 0.5).controls.any()


def test_shapes_of_pinyin_and_ipa() -> None:
    assert of_pinyin("m") == ("shut",)
    assert of_pinyin("iao4") == ("spread", "wide_open", "round")
    assert of_pinyin("sil") == of_pinyin("^") == ()
    assert of_ipa("b") == ("shut",)
    assert of_ipa("I") == ("wide_open", "spread")
    assert of_ipa("ˈ") == ()


def test_shapes_share_their_time() -> None:
    assert spread_over(("spread", "round"), 1.0, 2.0) == [
        Sound("spread", 1.0, 1.5),
        Sound("round", 1.5, 2.0),
    ]


def test_syllables_with_r_and_unknown_ones() -> None:
    symbols = Symbols({}, {"wan": ("^", "uan"), "ni": ("n", "i")})
    assert symbols.phones_of(["ni3", "wanr2", "xyz1"]) == [
        "sil", "n", "i3", "#0", "^", "uan2", "er5", "sil",
    ]  # fmt: skip
    assert symbols.phones_of(["xyz1"]) == []
