"""Whether a feeling shows: its own signs, measured by the mesh on drawn frames, by intensity."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.avatar.acting import STRONGEST, emotion_row
from models.avatar.controls import Floats
from models.avatar.drawing import Drawing
from models.avatar.faces import LEFT_EYE, RIGHT_EYE, Faces, Mesh
from models.avatar.portrait import choose_face
from models.spec import Emotion, EmotionName

LEAST = 0.012
"""What intensity 5 adds to a sign, in distances between the eyes; the mesh trembles by 0.005."""

SLACK = 0.006
"""How far a step of intensity may fall back in a measurement."""

CORNERS, NOSE = (61, 291), 2
INNER_BROWS, OUTER_BROWS, INNER_EYES = (107, 336), (70, 300), (133, 362)


def _height(points: Floats, above: tuple[int, ...], below: tuple[int, ...]) -> float:
    return float(points[list(below), 1].mean() - points[list(above), 1].mean())


def _brow(points: Floats) -> float:
    return _height(points, INNER_BROWS + OUTER_BROWS, INNER_EYES)


def _inner_brow(points: Floats) -> float:
    return _height(points, INNER_BROWS, INNER_EYES)


def _corners(points: Floats) -> float:
    return -_height(points, (NOSE,), CORNERS)


SIGNS: dict[EmotionName, tuple[str, Callable[[Floats], float], int]] = {
    EmotionName.HAPPY: ("corners of the mouth up", _corners, 1),
    EmotionName.SAD: ("corners of the mouth down", _corners, -1),
    EmotionName.ANGRY: ("inner brows down", _inner_brow, -1),
    EmotionName.SURPRISED: ("brows up", _brow, 1),
    EmotionName.FEARFUL: ("inner brows up", _inner_brow, 1),
    EmotionName.DISGUSTED: ("inner brows down", _inner_brow, -1),
    EmotionName.CALM: ("corners a little up", _corners, 1),
}
"""By feeling: what is measured, and whether it grows. Of lids the mesh sees too little."""


@dataclass(frozen=True)
class Shown:
    """A feeling on a face. `values`: how far its sign goes at intensities 1 to 5."""

    name: str
    sign: str
    values: tuple[float, ...]

    @property
    def is_clear(self) -> bool:
        """Whether it shows at 5, and never less with more intensity."""
        steps = np.diff([0.0, *self.values])
        return self.values[-1] >= LEAST and bool((steps >= -SLACK).all())

    def line(self) -> str:
        """The figures, and whether they will do."""
        values = " ".join(f"{value:6.3f}" for value in self.values)
        return f"{self.name:26} {self.sign:26} {values}  {'PASS' if self.is_clear else 'FAIL'}"


HEAD = "feeling                    sign                            1      2      3      4      5"


def measure_feeling(face: str, name: EmotionName, draw: Drawing, faces: Faces) -> Shown:
    """One feeling on one face, at every intensity."""
    sign, measure, direction = SIGNS[name]
    rows = [emotion_row(Emotion(name=name, intensity=n)) for n in range(1, STRONGEST + 1)]
    rest, *shown = (
        measure(level(choose_face(draw(row), faces, None))) for row in [0 * rows[0], *rows]
    )
    return Shown(f"{face}, {name.value}", sign, tuple(direction * (v - rest) for v in shown))


def level(mesh: Mesh) -> Floats:
    """Points of `mesh` with level eyes, in distances between them, float64 [468, 2]."""
    flat = mesh.points[:, :2].astype(np.float64)
    across = (flat[RIGHT_EYE] - flat[LEFT_EYE]) / mesh.eye_distance
    turn = np.array([[across[0], across[1]], [-across[1], across[0]]])
    return np.asarray((flat - flat[LEFT_EYE]) @ turn.T / mesh.eye_distance)
