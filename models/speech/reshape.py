"""Speech changed as a whole: higher or lower, with longer or shorter rests."""

from collections.abc import Callable

import numpy as np
from scipy.interpolate import make_interp_spline

from models.speech.articulation import Sound
from models.speech.loudness import envelope
from models.speech.track import MOUTH_RATE_HZ
from models.speech.voice import SAMPLE_RATE, Samples, Utterance

_SPLINE_ORDER = 5
_QUIET = 0.02
"""Of the loud parts' level: nobody speaks below."""

_MIN_REST_ROWS = 10


def pitched(said: Utterance, pitch: float) -> Utterance:
    """Higher and shorter by `pitch`, by resampling: voice and mouth move together."""
    if pitch == 1.0:
        return said
    at = np.minimum(np.arange(round(len(said.samples) / pitch)) * pitch, len(said.samples) - 1)
    spline = make_interp_spline(
        np.arange(len(said.samples)), said.samples.astype(np.float64), k=_SPLINE_ORDER
    )
    samples = np.asarray(spline(at), np.float32)
    return Utterance(samples, _moved(said, lambda seconds: seconds / pitch))


def paused(said: Utterance, factor: float) -> Utterance:
    """The same words with every rest of a tenth of a second or more `factor` times as long."""
    rests = _rests(said.samples)
    if factor == 1.0 or not rests:
        return said
    pieces: list[Samples] = []
    edges: list[int] = []
    added = [0]
    done = 0
    for start, end in rests:
        extra = round((end - start) * (factor - 1))
        middle = (start + end) // 2
        cut = max(0, -extra)
        pieces += [
            said.samples[done : middle - cut // 2],
            np.zeros(max(0, extra), np.float32),
        ]
        done = middle - cut // 2 + cut
        edges += [start, end]
        added += [added[-1], added[-1] + extra]
    shifts = np.array(added[1:]) / SAMPLE_RATE
    knots = np.array(edges) / SAMPLE_RATE
    sounds = _moved(said, lambda seconds: seconds + float(np.interp(seconds, knots, shifts)))
    return Utterance(np.concatenate([*pieces, said.samples[done:]]), sounds)


def _rests(samples: Samples) -> list[tuple[int, int]]:
    """Where nothing is said: first sample, and the one behind the last."""
    hop = SAMPLE_RATE // MOUTH_RATE_HZ
    is_quiet = envelope(samples, SAMPLE_RATE)[: len(samples) // hop] < _QUIET
    edges = np.flatnonzero(np.diff(is_quiet.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    return [
        (int(start) * hop, int(end) * hop) for start, end in edges if end - start >= _MIN_REST_ROWS
    ]


def _moved(said: Utterance, when: Callable[[float], float]) -> tuple[Sound, ...] | None:
    if said.sounds is None:
        return None
    return tuple(
        Sound(sound.shape, when(sound.start_s), when(sound.end_s)) for sound in said.sounds
    )
