"""What the mouth does while somebody speaks: the one thing that voices and faces have in common.

Everything under `models/speech` ends in a `Spoken`; a renderer of faces begins with one.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.pipeline import Audio

MOUTH_RATE_HZ = 100
"""Rows of a mouth track per second."""

OPEN, WIDTH, PRESS, BITE = range(4)
"""Columns of a mouth track."""


@dataclass(frozen=True)
class MouthTrack:
    """A mouth over time.

    Attributes:
        controls: float32 [T, 4] at `MOUTH_RATE_HZ`, row k at second k / 100. `OPEN` 0 to 1: the
            jaw; `WIDTH` -1 rounded to 1 spread; `PRESS` 0 to 1: lips pressed together (m, b, p);
            `BITE` 0 to 1: lower lip at the upper teeth (f, v).
        closures_s: when the lips must be seen shut, in seconds: one for every m, b, p that is
            known from phonemes; empty for recordings.
    """

    controls: npt.NDArray[np.float32]
    closures_s: tuple[float, ...] = ()


@dataclass(frozen=True)
class Spoken:
    """Speech as it will be heard. `audio`: mono or stereo; `mouth` covers all of it."""

    audio: Audio
    mouth: MouthTrack

    @property
    def duration_s(self) -> float:
        """Length of the sound."""
        return float(self.audio.samples.shape[1] / self.audio.sample_rate)
