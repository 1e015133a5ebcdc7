"""What a voice is: words in, sound and mouth shapes with times out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.speech.articulation import Sound

SAMPLE_RATE = 24_000
"""Hz of everything that our voices say."""

Samples = npt.NDArray[np.float32]


class VoiceFailed(Exception):
    """A voice could not speak, and not for the text's sake; for logs."""


@dataclass(frozen=True)
class Utterance:
    """Speech of one voice.

    Attributes:
        samples: float32 [T] in [-1, 1] at `SAMPLE_RATE`, mono.
        sounds: mouth shapes in order; None where the voice does not tell.
    """

    samples: Samples
    sounds: tuple[Sound, ...] | None

    @classmethod
    def silent(cls, duration_s: float) -> "Utterance":
        """Nothing, for `duration_s`."""
        return cls(np.zeros(round(duration_s * SAMPLE_RATE), np.float32), ())

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE


class Voice(Protocol):
    """Somebody who speaks. Loads at first use; one call at a time.

    Attributes:
        languages: what it speaks: `"zh"`, `"en"`.
    """

    @property
    def languages(self) -> tuple[str, ...]:
        """What it speaks, its own language first."""

    def say(self, text: str, pace: float, seed: int) -> Utterance:
        """Speak `text`; `pace` 2 is twice as fast as 1.

        Raises:
            AssetMissing: its weights are not on this machine.
            VoiceFailed: nothing that the text could help.
        """


def join(parts: Sequence[tuple[Utterance, float]]) -> Utterance:
    """One after the other, each followed by its pause in seconds; the last pause is left out."""
    samples: list[Samples] = []
    sounds: list[Sound] = []
    is_told = True
    at_s = 0.0
    for index, (part, pause_s) in enumerate(parts):
        pause = np.zeros(round(pause_s * SAMPLE_RATE), np.float32)
        samples += [part.samples] if index == len(parts) - 1 else [part.samples, pause]
        sounds += shifted(part.sounds or (), at_s)
        is_told = is_told and part.sounds is not None
        at_s += part.duration_s + len(pause) / SAMPLE_RATE
    joined = np.concatenate(samples) if samples else np.zeros(0, np.float32)
    return Utterance(joined, tuple(sounds) if is_told else None)


def shifted(sounds: Sequence[Sound], by_s: float, stretch: float = 1.0) -> list[Sound]:
    """`sounds` with times `t * stretch + by_s`."""
    return [
        Sound(sound.shape, sound.start_s * stretch + by_s, sound.end_s * stretch + by_s)
        for sound in sounds
    ]
