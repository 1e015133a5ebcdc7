"""Pictures for people to look at: feelings, mouth shapes, a blink, a turning head, every face."""

from pathlib import Path

import cv2
import numpy as np

from models.avatar.acting import emotion_row
from models.avatar.controls import Control, Floats, still
from models.avatar.drawing import Drawing
from models.avatar.faces import Faces
from models.avatar.portrait import choose_face, read_picture
from models.pipeline import Frame
from models.spec import Emotion, EmotionName

TILE = 480
MOUTHS: dict[str, dict[Control, float]] = {
    "rest": {},
    "a": {Control.OPEN: 1.0, Control.WIDTH: 0.1},
    "e": {Control.OPEN: 0.62, Control.WIDTH: 0.3},
    "i": {Control.OPEN: 0.26, Control.WIDTH: 0.7},
    "o": {Control.OPEN: 0.62, Control.WIDTH: -0.55},
    "u": {Control.OPEN: 0.24, Control.WIDTH: -0.9},
    "m": {Control.PRESS: 1.0},
    "f": {Control.OPEN: 0.1, Control.WIDTH: 0.1, Control.BITE: 1.0},
}
BLINKS = (0.0, 0.25, 0.45, 0.6, 0.75, 0.9, 1.0)
TURNS: dict[str, dict[Control, float]] = {
    "ahead": {},
    "left": {Control.YAW: -4.4},
    "right": {Control.YAW: 4.4},
    "up": {Control.PITCH: 2.6},
    "down": {Control.PITCH: -5.6},
    "tilted": {Control.ROLL: 2.4},
    "near": {Control.ZOOM: 1, Control.PAN_X: 1, Control.PAN_Y: 1},
    "far": {Control.ZOOM: -1, Control.PAN_X: -1, Control.PAN_Y: -1, Control.BREATH: 1},
}


def save_sheets(pictures: dict[str, Path], folder: Path) -> list[Path]:
    """One sheet of each kind into `folder`: a row for every face."""
    faces = Faces.fetched()
    drawings = [near(read_picture(path), faces) for path in pictures.values()]
    rows = {
        "feelings": [emotion_row(Emotion(name=name, intensity=5)) for name in EmotionName],
        "mouths": [_row(values) for values in MOUTHS.values()],
        "blink": [_row({Control.BLINK: value}) for value in BLINKS],
        "turns": [_row(values) for values in TURNS.values()],
    }
    saved = []
    for name, poses in rows.items():
        sheet = np.vstack([np.hstack([draw(pose) for pose in poses]) for draw in drawings])
        saved.append(folder / f"{name}.png")
        cv2.imwrite(str(saved[-1]), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    return saved


def near(picture: Frame, faces: Faces) -> Drawing:
    points = choose_face(picture, faces, None).points
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    # Close to the face: it is what there is to see.
    side = 2.3 * float((high - low).max())
    left, top = np.maximum((low + high) / 2 - side / 2, 0).astype(int)
    near = picture[top : top + int(side), left : left + int(side)]
    return Drawing(near, points - [left, top, 0], TILE, TILE)


def _row(values: dict[Control, float]) -> Floats:
    row = still()
    for control, value in values.items():
        row[control] = value
    return row
