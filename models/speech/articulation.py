"""From phones with times to what the mouth does.

Fourteen mouth shapes, in the manner of viseme sets (Fisher 1968): phones that look alike share
one. Neighbours blend over a Gaussian window, as the lips begin the next phone during this one;
the lips of m, b and p are shut all the same, since a face that does not shut them looks dubbed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from models.speech.track import BITE, MOUTH_RATE_HZ, OPEN, PRESS, MouthTrack

SILENCE = "rest"
_SHUT = "shut"
# Open, width, press, bite.
_SHAPES: dict[str, tuple[float, float, float, float]] = {
    SILENCE: (0.0, 0.0, 0.0, 0.0),
    "wide_open": (1.0, 0.10, 0.0, 0.0),
    "half_open": (0.62, 0.30, 0.0, 0.0),
    "spread": (0.42, 0.70, 0.0, 0.0),
    "round": (0.62, -0.55, 0.0, 0.0),
    "pursed": (0.40, -0.90, 0.0, 0.0),
    "slack": (0.50, 0.12, 0.0, 0.0),
    _SHUT: (0.0, 0.0, 1.0, 0.0),
    "bite": (0.14, 0.10, 0.0, 1.0),
    "teeth": (0.34, 0.20, 0.0, 0.0),
    "hush": (0.34, -0.45, 0.0, 0.0),
    "back": (0.38, 0.0, 0.0, 0.0),
    "bunched": (0.42, -0.25, 0.0, 0.0),
    "tongue": (0.34, 0.10, 0.0, 0.0),
}
_INITIALS = {
    **dict.fromkeys(("b", "p", "m"), _SHUT),
    "f": "bite",
    **dict.fromkeys(("d", "t", "n", "l", "z", "c", "s"), "teeth"),
    **dict.fromkeys(("g", "k", "h"), "back"),
    **dict.fromkeys(("j", "q", "x"), "spread"),
    **dict.fromkeys(("zh", "ch", "sh", "r"), "hush"),
}
# Finals by their sounds; a glide is as long as the vowel, near enough for lips.
_FINALS = {
    "a": "a", "ai": "ai", "an": "a", "ang": "a", "ao": "ao", "e": "e", "ei": "Ei", "en": "e",
    "eng": "e", "er": "er", "i": "i", "ia": "ia", "ian": "iE", "iang": "ia", "iao": "iao",
    "ie": "iE", "ii": "t", "iii": "h", "in": "i", "ing": "i", "iong": "uo", "iou": "iou", "o": "o",
    "ong": "o", "ou": "ou", "u": "u", "ua": "ua", "uai": "uai", "uan": "ua", "uang": "ua",
    "uei": "uEi", "uen": "ue", "ueng": "ue", "uo": "uo", "v": "u", "van": "uE", "ve": "uE",
    "vn": "u",
}  # fmt: skip
_VOWELS = {
    "a": "wide_open",
    "E": "half_open",
    "e": "slack",
    "i": "spread",
    "o": "round",
    "u": "pursed",
    "r": "bunched",
    "t": "teeth",
    "h": "hush",
}
# The English voice's alphabet: IPA, and capitals for diphthongs (A as in day, I in my, O in go,
# Q in British go, W in how, Y in boy).
_IPA = {
    **dict.fromkeys("aɑʌ", ("wide_open",)),
    **dict.fromkeys("æɛeɜ", ("half_open",)),
    **dict.fromkeys("iɪj", ("spread",)),
    **dict.fromkeys("oɔɒ", ("round",)),
    **dict.fromkeys("uʊw", ("pursed",)),
    **dict.fromkeys("əɐᵊᵻɚ", ("slack",)),
    **dict.fromkeys("mbp", (_SHUT,)),
    **dict.fromkeys("fv", ("bite",)),
    **dict.fromkeys("tdnszlɾT", ("teeth",)),
    **dict.fromkeys("ʃʒʧʤ", ("hush",)),
    **dict.fromkeys("kɡŋhx", ("back",)),
    **dict.fromkeys("ɹr", ("bunched",)),
    **dict.fromkeys("θð", ("tongue",)),
    "A": ("half_open", "spread"),
    "I": ("wide_open", "spread"),
    "O": ("round", "pursed"),
    "Q": ("slack", "pursed"),
    "W": ("wide_open", "pursed"),
    "Y": ("round", "spread"),
}

_FINE_HZ = 200
_BLEND_S = 0.045
_SHUT_HOLD_S = 0.012
_SHUT_SLOPE_S = 0.028
_QUIET_OPENS, _LOUD_ADDS = 0.35, 0.85


@dataclass(frozen=True)
class Sound:
    """One mouth shape, held from `start_s` to `end_s` of the sound it belongs to."""

    shape: str
    start_s: float
    end_s: float


def of_pinyin(phone: str) -> tuple[str, ...]:
    """The shapes of an initial (`zh`) or of a final with or without its tone (`iao4`)."""
    bare = phone.rstrip("12345")
    if bare in _INITIALS:
        return (_INITIALS[bare],)
    return tuple(_VOWELS[sound] for sound in _FINALS.get(bare, ""))


def of_ipa(phone: str) -> tuple[str, ...]:
    """The shapes of one character of the English voice's alphabet; none for marks and pauses."""
    return _IPA.get(phone, ())


def spread_over(shapes: Sequence[str], start_s: float, end_s: float) -> list[Sound]:
    """`shapes` one after the other, in equal parts of the time from `start_s` to `end_s`."""
    edges = np.linspace(start_s, end_s, len(shapes) + 1)
    return [Sound(shape, *map(float, edges[i : i + 2])) for i, shape in enumerate(shapes)]


def articulate(
    sounds: Iterable[Sound], duration_s: float, loudness: npt.NDArray[np.float32] | None = None
) -> MouthTrack:
    """The mouth that makes `sounds`.

    Args:
        sounds: in any order; at rest in between.
        duration_s: of the whole; the track has a row for each begun hundredth.
        loudness: float32 [T] at `MOUTH_RATE_HZ`, 0 to 1: louder vowels open wider.
    """
    held = list(sounds)
    num_rows = int(np.ceil(duration_s * MOUTH_RATE_HZ - 1e-9))
    fine = np.zeros((num_rows * _FINE_HZ // MOUTH_RATE_HZ + 1, 4))
    for sound in held:
        first = int(sound.start_s * _FINE_HZ)
        fine[first : max(first + 1, int(sound.end_s * _FINE_HZ))] = _SHAPES[sound.shape]
    fine = gaussian_filter1d(fine, _BLEND_S * _FINE_HZ, axis=0, mode="nearest")
    shut = [sound for sound in held if sound.shape == _SHUT]
    _close_lips(fine, shut)
    rows = fine[:: _FINE_HZ // MOUTH_RATE_HZ][:num_rows]
    if loudness is not None and len(loudness):
        times = np.minimum(np.arange(num_rows), len(loudness) - 1)
        rows[:, OPEN] *= _QUIET_OPENS + _LOUD_ADDS * loudness[times]
    np.clip(rows, [0, -1, 0, 0], 1, out=rows)
    closures = tuple((sound.start_s + sound.end_s) / 2 for sound in shut)
    return MouthTrack(
        rows.astype(np.float32), tuple(time for time in closures if 0 <= time < duration_s)
    )


def _close_lips(fine: npt.NDArray[np.float64], shut: Sequence[Sound]) -> None:
    times = np.arange(len(fine)) / _FINE_HZ
    for sound in shut:
        middle, length = (sound.start_s + sound.end_s) / 2, sound.end_s - sound.start_s
        away = np.abs(times - middle) - max(_SHUT_HOLD_S, length / 4)
        weight = np.exp(-((np.clip(away, 0, None) / _SHUT_SLOPE_S) ** 2))
        fine[:, OPEN] *= 1 - weight
        fine[:, BITE] *= 1 - weight
        fine[:, PRESS] = np.maximum(fine[:, PRESS], weight)
