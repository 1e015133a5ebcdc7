"""Rows of controls: the same for a seed, stronger with intensity, shut where lips must be."""

import numpy as np
import pytest

from models.avatar.acting import act, emotion_row
from models.avatar.controls import Control, Floats
from models.spec import Emotion, EmotionName
from models.speech.track import MouthTrack

FPS = 24


def track(closures_s: tuple[float, ...] = ()) -> MouthTrack:
    controls = np.zeros((400, 4), np.float32)
    controls[:, 0] = 0.8
    return MouthTrack(controls, closures_s)


def rows(motion: float = 0.5, seed: int = 1, closures_s: tuple[float, ...] = ()) -> Floats:
    feeling = Emotion(name=EmotionName.SURPRISED, intensity=5)
    return act(track(closures_s), feeling, motion=motion, seed=seed, fps=FPS, num_frames=96)


def test_a_seed_says_it_all() -> None:
    assert np.array_equal(rows(), rows())
    assert not np.array_equal(rows(), rows(seed=2))


@pytest.mark.parametrize("name", [name for name in EmotionName if name != EmotionName.NEUTRAL])
def test_a_feeling_grows_with_its_intensity(name: EmotionName) -> None:
    sizes = [np.abs(emotion_row(Emotion(name=name, intensity=n))).sum() for n in range(1, 6)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_without_motion_only_the_face_lives() -> None:
    still = rows(motion=0)
    assert np.ptp(still[:, Control.YAW]) == 0
    assert np.ptp(still[:, Control.BREATH]) == 0
    assert still[:, Control.BLINK].max() == pytest.approx(1)


def test_every_closure_shuts_the_frame_that_shows_it() -> None:
    closures = (0.5, 1.23, 3.99)
    drawn = rows(closures_s=closures)
    for closure in closures:
        row = drawn[int(closure * FPS)]
        assert (row[Control.OPEN], row[Control.PRESS]) == (0, 1)
