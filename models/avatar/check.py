"""Does the finished video speak in time with its sound? Measured on the file, as a viewer sees it.

The gap of the lips in every frame is correlated with the loudness of the sound. As a control the
sound is turned round by half its length: where that fits as well, the mouth moves to nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter1d

from models.avatar.controls import Floats
from models.avatar.faces import LEFT_EYE, RIGHT_EYE, Crop, Faces, Mesh
from models.avatar.portrait import MIN_MESH_SCORE
from models.pipeline import CheckFailed, Frame

LIP_PAIRS = ((13, 14), (82, 87), (312, 317))
"""Points of the upper and the lower inner lip, one above the other."""

MIN_FACES = 0.99
MIN_CORRELATION = 0.25
"""Our clips have 0.45 to 0.7, but a text full of m, which is loud with shut lips, has 0.35."""

MAX_LAG_MS = 60.0
MIN_OVER_CONTROL = 0.1
"""Little, as the control of a few seconds may fit by chance: 0.23 was seen."""

SEARCH_S = 0.4
LOUDNESS_S = 0.04
"""The window that the loudness at one frame is taken over."""

LOUDNESS_FLOOR = 1e-3
JUDGED_FROM_S = 2.0
"""Shorter clips are measured, but their few syllables are no statistic to fail them by."""

STILL = 1e-9
Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Limits:
    """What a clip must be: `num_frames` exactly; `duration_s` of its sound."""

    num_frames: int
    fps: float
    duration_s: float


def check_clip(path: Path, faces: Faces, limits: Limits) -> dict[str, float]:
    """Measure the digital human at `path`.

    Returns:
        `faces_share` of frames in which the face was found; `lip_sync_r`, correlation of lips and
        loudness at 0 ms; `lip_sync_lag_ms`, where it peaks, positive where the picture is late;
        `lip_sync_control_r`, with the sound turned round.

    Raises:
        CheckFailed: one of them, the number of frames or the length misses its limit.
    """
    with av.open(str(path)) as container:
        gaps = lip_gaps(frames_of_file(container), faces)
    samples, rate = sound_of_file(path)
    _check_lengths(len(gaps), len(samples) / rate, limits)
    found = float(np.isfinite(gaps).mean())
    if found < MIN_FACES:
        raise CheckFailed(f"the face is found in {found:.1%} of frames, needed {MIN_FACES:.0%}")
    sync = lip_sync(gaps, loudness(samples, rate, limits.fps, len(gaps)), limits.fps)
    if limits.duration_s >= JUDGED_FROM_S:
        _check_sync(sync)
    return {"faces_share": found, **sync}


def lip_gaps(frames: Iterator[Frame], faces: Faces) -> Floats:
    """Gap of the lips in distances between the eyes, float64 [T]; NaN where no face is seen."""
    gaps: list[float] = []
    crop: Crop | None = None
    for frame in frames:
        mesh = _follow(frame, faces, crop)
        crop = mesh.crop if mesh else None
        gaps.append(_gap(mesh) if mesh else np.nan)
    return np.array(gaps)


def loudness(samples: Samples, rate: int, fps: float, num_frames: int) -> Floats:
    """Log of the energy around the middle of every frame, float64 [num_frames]."""
    energy = np.r_[0, np.cumsum(samples.astype(np.float64) ** 2)]
    middle = (np.arange(num_frames) + 0.5) / fps
    first, last = (
        np.clip(((middle + side * LOUDNESS_S / 2) * rate).astype(int), 0, len(samples))
        for side in (-1, 1)
    )
    mean = (energy[last] - energy[first]) / np.maximum(last - first, 1)
    return np.asarray(np.log(np.sqrt(np.maximum(mean, 0)) + LOUDNESS_FLOOR))


def lip_sync(gaps: Floats, loud: Floats, fps: float) -> dict[str, float]:
    """Correlation at 0 ms, the lag of its peak, and the correlation of the control."""
    # The mesh trembles from frame to frame; what is common to three of them is the mouth.
    gaps = uniform_filter1d(np.where(np.isfinite(gaps), gaps, np.nanmean(gaps)), 3)
    reach = min(round(SEARCH_S * fps), len(gaps) // 2)
    lags = range(-reach, reach + 1)
    curve = [_shifted(gaps, loud, lag) for lag in lags]
    return {
        "lip_sync_r": curve[reach],
        "lip_sync_lag_ms": 1000 * lags[int(np.argmax(curve))] / fps,
        "lip_sync_control_r": _shifted(gaps, np.roll(loud, len(loud) // 2), 0),
    }


def _shifted(gaps: Floats, loud: Floats, lag: int) -> float:
    late = gaps[max(lag, 0) : len(gaps) + min(lag, 0)]
    early = loud[max(-lag, 0) : len(loud) + min(-lag, 0)]
    spread = late.std() * early.std()
    # A mouth that never moves correlates with nothing.
    if spread < STILL:
        return 0.0
    return float(((late - late.mean()) * (early - early.mean())).mean() / spread)


def _check_lengths(num_frames: int, sound_s: float, limits: Limits) -> None:
    if num_frames != limits.num_frames:
        raise CheckFailed(f"the video has {num_frames} frames, not {limits.num_frames}")
    # AAC comes in packets of 1024 samples; the last one may be padded.
    room = 1 / limits.fps + 1024 / 16_000
    if abs(sound_s - limits.duration_s) > room:
        raise CheckFailed(f"the sound takes {sound_s:.3f} s, not {limits.duration_s:.3f} s")


def _check_sync(sync: dict[str, float]) -> None:
    r, lag, control = sync["lip_sync_r"], sync["lip_sync_lag_ms"], sync["lip_sync_control_r"]
    if r < MIN_CORRELATION:
        raise CheckFailed(f"lips and sound correlate by {r:.2f}, needed {MIN_CORRELATION}")
    if abs(lag) > MAX_LAG_MS:
        raise CheckFailed(f"the lips are {lag:.0f} ms off the sound, allowed {MAX_LAG_MS:.0f}")
    if r - control < MIN_OVER_CONTROL:
        raise CheckFailed(f"turned sound fits the lips by {control:.2f}, its own by {r:.2f}")


def _follow(frame: Frame, faces: Faces, crop: Crop | None) -> Mesh | None:
    if crop is not None:
        mesh = faces.measure(frame, crop)
        if mesh.score >= MIN_MESH_SCORE:
            return mesh
    for box in faces.find(frame, closely=False):
        mesh = faces.measure(frame, box.crop)
        if mesh.score >= MIN_MESH_SCORE:
            return mesh
    return None


def _gap(mesh: Mesh) -> float:
    flat = mesh.points[:, :2]
    gaps = [np.linalg.norm(flat[upper] - flat[lower]) for upper, lower in LIP_PAIRS]
    return float(np.mean(gaps) / np.linalg.norm(flat[RIGHT_EYE] - flat[LEFT_EYE]))


def frames_of_file(container: av.container.InputContainer) -> Iterator[Frame]:
    """The frames of an open video, uint8 [H, W, 3], RGB."""
    container.streams.video[0].thread_type = "AUTO"
    for frame in container.decode(video=0):
        yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def sound_of_file(path: Path) -> tuple[Samples, int]:
    """The sound of the video at `path`, mixed to one channel, float32 [T], and its rate.

    Raises:
        CheckFailed: it has none.
    """
    with av.open(str(path)) as container:
        if not container.streams.audio:
            raise CheckFailed("the video has no sound")
        rate = container.streams.audio[0].rate
        mono = av.AudioResampler(format="fltp", layout="mono")
        parts = [
            part.to_ndarray()[0]
            for frame in [*container.decode(audio=0), None]
            for part in mono.resample(frame)
        ]
    return np.concatenate(parts), rate
