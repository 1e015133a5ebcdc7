"""How loud speech is, and making it as loud as it should be.

Loudness after ITU-R BS.1770-4 with the gates of EBU R 128; -18 LUFS lies in the -20 to -16 that
AES TD1008 recommends for speech on the internet.
"""

from math import gcd

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d, minimum_filter1d
from scipy.signal import resample_poly, sosfilt

from models.speech.track import MOUTH_RATE_HZ

TARGET_LUFS = -18.0
PEAK = 10 ** (-1 / 20)
"""No sample is larger: 1 dB below full scale."""

Samples = npt.NDArray[np.float32]

_WEIGHTED_HZ = 48_000
# The two stages of K-weighting at 48 kHz, BS.1770-4 tables 1 and 2: the head, then low cut.
_K_WEIGHTING = np.array(
    [
        [1.53512485958697, -2.69169618940638, 1.19839281085285,
         1.0, -1.69065929318241, 0.73248077421585],
        [1.0, -2.0, 1.0,
         1.0, -1.99004745483398, 0.99007225036621],
    ]
)  # fmt: skip
_BLOCK_S, _STEP_S = 0.4, 0.1
_OFFSET_DB = -0.691
_ABSOLUTE_GATE, _RELATIVE_GATE = -70.0, -10.0
_LIMITER_S = 0.005
_LOUD_SHARE = 95
_ENVELOPE_SMOOTH_ROWS = 1.5


def resampled(samples: Samples, rate: int, to_rate: int) -> Samples:
    """`samples` [..., T] of `rate` Hz at `to_rate` Hz."""
    if rate == to_rate:
        return samples
    shared = gcd(rate, to_rate)
    return np.asarray(
        resample_poly(samples, to_rate // shared, rate // shared, axis=-1), np.float32
    )


def loudness_lufs(samples: Samples, rate: int) -> float:
    """Integrated loudness of `samples` [C, T] at `rate` Hz; -inf for silence. Needs 0.4 s."""
    weighted = sosfilt(_K_WEIGHTING, resampled(samples, rate, _WEIGHTED_HZ), axis=-1)
    power = np.concatenate([[0.0], np.cumsum((weighted.astype(np.float64) ** 2).sum(axis=0))])
    block, step = int(_BLOCK_S * _WEIGHTED_HZ), int(_STEP_S * _WEIGHTED_HZ)
    starts = np.arange(0, len(power) - block, step)
    means = (power[starts + block] - power[starts]) / block
    loud = means[_lufs(means) > _ABSOLUTE_GATE]
    if not len(loud):
        return float("-inf")
    gated = loud[_lufs(loud) > _lufs(loud.mean()) + _RELATIVE_GATE]
    return float(_lufs(gated.mean()))


def normalized(samples: Samples, rate: int, target_lufs: float = TARGET_LUFS) -> Samples:
    """`samples` [C, T] at `target_lufs`, peaks held below `PEAK`; silence stays as it is."""
    found = loudness_lufs(samples, rate)
    if not np.isfinite(found):
        return samples
    return limited(samples * np.float32(10 ** ((target_lufs - found) / 20)), rate)


def limited(samples: Samples, rate: int) -> Samples:
    """`samples` [C, T] with its gain lowered smoothly around each peak above `PEAK`."""
    peaks = np.abs(samples).max(axis=0, initial=0.0)
    if not len(peaks) or peaks.max() <= PEAK:
        return samples
    wide = int(_LIMITER_S * rate)
    gain = minimum_filter1d(np.minimum(1, PEAK / np.maximum(peaks, 1e-9)), 2 * wide + 1)
    smooth = gaussian_filter1d(gain, wide / 3, truncate=3)
    return np.asarray(np.clip(samples * smooth, -PEAK, PEAK), np.float32)


def envelope(samples: Samples, rate: int) -> Samples:
    """Loudness over time, float32 [T] at `MOUTH_RATE_HZ`: 1 where loud, by the clip's own scale."""
    if rate % MOUTH_RATE_HZ:
        samples, rate = resampled(samples, rate, _WEIGHTED_HZ), _WEIGHTED_HZ
    hop = rate // MOUTH_RATE_HZ
    padded = np.pad(samples, (0, -len(samples) % hop))
    level = np.sqrt((padded.reshape(-1, hop) ** 2).mean(axis=1))
    level = gaussian_filter1d(level, _ENVELOPE_SMOOTH_ROWS)
    top = np.percentile(level, _LOUD_SHARE) if len(level) else 0.0
    return np.asarray(np.clip(level / max(top, 1e-6), 0, 1), np.float32)


def _lufs(power: npt.NDArray[np.float64] | np.float64) -> npt.NDArray[np.float64]:
    return np.asarray(_OFFSET_DB + 10 * np.log10(np.maximum(power, 1e-12)))
