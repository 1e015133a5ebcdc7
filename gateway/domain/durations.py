"""How long a render takes: moving averages of what was measured, and a guess where nothing was.

Times are device-seconds of one job: a batch counts as its length divided by its jobs.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Self

from models.cardparts import parse_size
from models.spec import BatchKey

UNMEASURED_S = 30.0
"""What a job of a model that nobody has run yet is taken for."""

# Gains of RFC 6298 for a smoothed time and its deviation; the first samples count in full.
_MEAN_GAIN = 1 / 8
_DEVIATION_GAIN = 1 / 4
# Of a normal distribution: standard deviations to the 90th percentile, and per mean deviation.
_P90_SIGMAS = 1.2816
_SIGMA_PER_DEVIATION = math.sqrt(math.pi / 2)


class DurationKey(NamedTuple):
    """Jobs that take about the same time.

    Attributes:
        fps: at another rate as many frames may be another render, some of them interpolated.
        mode: may skip steps, compute coarser or sample with other weights.
        is_guided: guidance above 1 computes every step twice; how far above makes no difference.
    """

    model: str
    kind: str
    size: str
    num_frames: int
    num_inference_steps: int
    fps: int
    mode: str
    is_guided: bool

    @classmethod
    def of(cls, batch_key: BatchKey) -> Self:
        """The key of every job with this batch key."""
        kind, model, size, num_frames, steps, guidance_scale, fps, mode = batch_key
        return cls(model, kind, size, num_frames, steps, fps, mode, guidance_scale > 1)

    @property
    def work(self) -> int:
        """Pixels times steps, to which render time is roughly proportional."""
        width, height = parse_size(self.size)
        return width * height * self.num_frames * self.num_inference_steps


@dataclass(frozen=True)
class Duration:
    """Seconds of one job: mean, mean absolute deviation, and how often it was measured."""

    mean_s: float
    deviation_s: float
    num_measured: int

    @property
    def sigma_s(self) -> float:
        """The standard deviation, were the times normally distributed."""
        return self.deviation_s * _SIGMA_PER_DEVIATION


def learn(known: Duration | None, measured_s: float) -> Duration:
    """The averages with one more measurement."""
    if known is None or known.num_measured == 0:
        return Duration(measured_s, measured_s / 2, 1)
    gain = max(_MEAN_GAIN, 1 / (known.num_measured + 1))
    error_s = measured_s - known.mean_s
    return Duration(
        mean_s=known.mean_s + gain * error_s,
        deviation_s=known.deviation_s + _DEVIATION_GAIN * (abs(error_s) - known.deviation_s),
        num_measured=known.num_measured + 1,
    )


def guess(key: DurationKey, measured: Iterable[tuple[DurationKey, Duration]]) -> Duration:
    """What to expect of a key that was never measured, from other keys of its model.

    Those of its own mode count alone, if there are any. Time is scaled by the work; a guess is as
    uncertain as it is long.
    """
    of_model = [each for each in measured if each[0].model == key.model]
    of_mode = [each for each in of_model if each[0].mode == key.mode]
    known = of_mode or of_model
    work = sum(other.work for other, _ in known)
    seconds = sum(duration.mean_s for _, duration in known)
    mean_s = seconds / work * key.work if work else UNMEASURED_S
    return Duration(mean_s, mean_s, 0)


def p90(mean_s: float, variance: float) -> float:
    """The 90th percentile of a normally distributed time."""
    return mean_s + _P90_SIGMAS * math.sqrt(variance)
