"""From a mouth track, a feeling and a seed to one row of controls per frame."""

import numpy as np

from models.avatar.controls import Control, Floats, smoothstep
from models.spec import Emotion, EmotionName
from models.speech.track import BITE, MOUTH_RATE_HZ, OPEN, PRESS, WIDTH, MouthTrack

STRONGEST = 5

FEELINGS: dict[EmotionName, dict[Control, float]] = {
    EmotionName.NEUTRAL: {},
    EmotionName.HAPPY: {
        Control.SMILE: 0.9,
        Control.CHEEKS: 0.6,
        Control.BROW: 0.25,
        Control.WIDTH: 0.15,
    },
    EmotionName.SAD: {
        Control.SMILE: -1.0,
        Control.SAD: 1.0,
        Control.LIDS: -0.45,
        Control.PITCH: -2.5,
    },
    EmotionName.ANGRY: {
        Control.FROWN: 1.15,
        Control.SMILE: -0.7,
        Control.LIDS: -0.3,
        Control.CHEEKS: 0.35,
        Control.PITCH: -1.5,
    },
    EmotionName.SURPRISED: {
        Control.BROW: 1.4,
        Control.LIDS: 0.9,
        Control.OPEN: 0.16,
        Control.WIDTH: -0.2,
        Control.PITCH: 1.0,
    },
    EmotionName.FEARFUL: {
        Control.SAD: 1.1,
        Control.BROW: 0.9,
        Control.LIDS: 0.8,
        Control.WIDTH: 0.5,
        Control.SMILE: -0.3,
        Control.OPEN: 0.06,
    },
    EmotionName.DISGUSTED: {
        Control.SNEER: 0.75,
        Control.FROWN: 0.85,
        Control.CHEEKS: 0.5,
        Control.SMILE: -0.6,
        Control.LIDS: -0.25,
    },
    EmotionName.CALM: {
        Control.SMILE: 0.45,
        Control.LIDS: -0.4,
        Control.CHEEKS: 0.1,
    },
}
"""What each feeling adds to the face at intensity 5."""

PACE: dict[EmotionName, float] = {
    EmotionName.HAPPY: 1.15,
    EmotionName.SAD: 0.7,
    EmotionName.ANGRY: 1.3,
    EmotionName.SURPRISED: 1.1,
    EmotionName.FEARFUL: 1.4,
    EmotionName.CALM: 0.7,
}
"""How fast the head moves under a feeling at intensity 5; 1 where it is not named."""

SWAY: dict[Control, float] = {
    Control.YAW: 4.4,
    Control.PITCH: 2.6,
    Control.ROLL: 2.4,
    Control.SHIFT_X: 0.02,
    Control.SHIFT_Y: 0.012,
}
"""Swing of the head at a motion of 1; degrees, and distances between the eyes."""

CAMERA_HZ = {Control.PAN_X: 0.045, Control.PAN_Y: 0.03, Control.ZOOM: 0.037}
WAVES_HZ = (0.13, 0.29, 0.53)
BREATHS_HZ = 0.27
NOD_DEG = 3.0
BLINK_HALF_S = 0.1
BLINK_EVERY_S = (2.2, 4.8)
CLOSURE_S = 0.05
"""How long lips stay shut for m, b and p; spoken ones take 0.06 to 0.1 s."""


def act(
    mouth: MouthTrack, emotion: Emotion, *, motion: float, seed: int, fps: float, num_frames: int
) -> Floats:
    """Controls of every frame, float64 [num_frames, len(Control)]; the same for the same input.

    Args:
        mouth: of the speech; at rest where it ends.
        emotion: its face grows steadily with its intensity.
        motion: how much head, shoulders and camera move, 0 to 1; eyes blink all the same.
        seed: of movement and blinks.
        fps: frames per second.
        num_frames: how many rows.
    """
    times = (np.arange(num_frames) + 0.5) / fps
    draw = np.random.default_rng(seed)
    rows = np.zeros((num_frames, len(Control)))
    rows[:, Control.BLINK] = _blinks(times, draw)
    rows += motion * _idle(times, draw, pace_of(emotion))
    rows += emotion_row(emotion)
    rows[:, : BITE + 1] += _sampled(mouth.controls, times)
    _stress(rows, times, mouth, motion)
    _shut(rows, mouth.closures_s, times, fps)
    rows[:, OPEN] = np.clip(rows[:, OPEN], 0, 1.1)
    rows[:, WIDTH] = np.clip(rows[:, WIDTH], -1.1, 1.2)
    return rows


def emotion_row(emotion: Emotion) -> Floats:
    """What a feeling adds, float64 [len(Control)]: its face, in proportion to its intensity."""
    row = np.zeros(len(Control))
    for control, value in FEELINGS[emotion.name].items():
        row[control] = value * emotion.intensity / STRONGEST
    return row


def pace_of(emotion: Emotion) -> float:
    """How fast the head moves, 1 at rest."""
    return 1 + (PACE.get(emotion.name, 1.0) - 1) * emotion.intensity / STRONGEST


def _sampled(track: Floats, times: Floats) -> Floats:
    at = times * MOUTH_RATE_HZ
    known = np.arange(len(track))
    return np.stack([np.interp(at, known, column, right=0) for column in track.T], axis=1)


def _blinks(times: Floats, draw: np.random.Generator) -> Floats:
    shut = np.zeros(len(times))
    end = times[-1] if len(times) else 0.0
    at = draw.uniform(0.8, 2.0)
    while at < end:
        near = np.clip(1 - np.abs(times - at) / BLINK_HALF_S, 0, 1)
        shut = np.maximum(shut, smoothstep(1.4 * near))
        at += draw.uniform(*BLINK_EVERY_S)
    return shut


def _idle(times: Floats, draw: np.random.Generator, pace: float) -> Floats:
    """Sway, breath and camera at a motion of 1; sums of slow waves that begin anywhere."""
    rows = np.zeros((len(times), len(Control)))
    for control, swing in SWAY.items():
        phases = draw.uniform(0, 2 * np.pi, len(WAVES_HZ))
        for rank, (rate, phase) in enumerate(zip(WAVES_HZ, phases, strict=True), start=1):
            wave = np.sin(2 * np.pi * pace * rate * times + phase)
            rows[:, control] += swing / 1.83 * wave / rank
    rows[:, Control.BREATH] = np.sin(2 * np.pi * BREATHS_HZ * times + draw.uniform(0, 2 * np.pi))
    for control, rate in CAMERA_HZ.items():
        rows[:, control] = np.sin(2 * np.pi * rate * times + draw.uniform(0, 2 * np.pi))
    return rows


def _stress(rows: Floats, times: Floats, mouth: MouthTrack, motion: float) -> None:
    """Loud vowels carry the head and the brows with them."""
    reach = round(0.25 * MOUTH_RATE_HZ)
    window = np.hanning(2 * reach + 1)
    slow = np.convolve(mouth.controls[:, OPEN], window / window.sum())[reach:-reach]
    strong = np.interp(times * MOUTH_RATE_HZ, np.arange(len(slow)), slow, right=0)
    rows[:, Control.PITCH] -= motion * NOD_DEG * strong
    rows[:, Control.BROW] += 0.25 * strong


def _shut(rows: Floats, closures_s: tuple[float, ...], times: Floats, fps: float) -> None:
    """The frame nearest to every m, b and p shows shut lips, however few frames there are."""
    for closure in closures_s:
        frame = min(int(closure * fps), len(times) - 1)
        near = np.abs(times - closure) <= CLOSURE_S / 2
        near[frame] = True
        rows[near, OPEN] = 0
        rows[near, PRESS] = 1
        # Lips that are pressed together are hardly spread.
        rows[near, WIDTH] = np.minimum(rows[near, WIDTH], 0)
    # A feeling that parts the lips yields to them.
    rows[:, OPEN] *= 1 - np.clip(rows[:, PRESS], 0, 1)
    rows[:, Control.SNEER] *= 1 - np.clip(rows[:, PRESS], 0, 1)
