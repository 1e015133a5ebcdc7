"""How a feeling changes a voice: pace, pitch, loudness and pauses. Pure.

Directions follow the reviews of vocal emotion (Scherer 2003; Juslin and Laukka 2003): joy, anger
and fear are fast, loud and high, sadness slow, soft and low. Amounts are ours, small enough for a
resampled voice to sound like the same person.
"""

from dataclasses import dataclass

from models.spec import Emotion, EmotionName

_FULL_INTENSITY = 5


@dataclass(frozen=True)
class Prosody:
    """Factors on a voice's own way.

    Attributes:
        pace: 2 is twice as fast.
        pitch: 0.88 to 1.12.
        gain_db: added after loudness is evened out.
        pause: on the length of pauses, beside what `pace` does to them.
    """

    pace: float = 1.0
    pitch: float = 1.0
    gain_db: float = 0.0
    pause: float = 1.0


# At full intensity.
_OF = {
    EmotionName.NEUTRAL: Prosody(),
    EmotionName.HAPPY: Prosody(1.10, 1.10, 1.5, 0.90),
    EmotionName.SAD: Prosody(0.82, 0.92, -3.0, 1.40),
    EmotionName.ANGRY: Prosody(1.12, 1.05, 3.0, 0.75),
    EmotionName.SURPRISED: Prosody(1.05, 1.12, 2.0, 1.10),
    EmotionName.FEARFUL: Prosody(1.15, 1.09, -1.0, 1.15),
    EmotionName.DISGUSTED: Prosody(0.90, 0.94, 0.5, 1.20),
    EmotionName.CALM: Prosody(0.92, 0.97, -1.5, 1.25),
}


def prosody_of(emotion: Emotion) -> Prosody:
    """What `emotion` does to a voice; each factor grows evenly with the intensity."""
    full, share = _OF[emotion.name], emotion.intensity / _FULL_INTENSITY
    return Prosody(
        pace=1 + (full.pace - 1) * share,
        pitch=1 + (full.pitch - 1) * share,
        gain_db=full.gain_db * share,
        pause=1 + (full.pause - 1) * share,
    )
