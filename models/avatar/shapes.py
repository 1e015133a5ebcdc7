"""How every control moves every point: a basis of shapes, measured on the face at hand.

All lengths are in distances between the eyes, in a frame of the face: origin between the corners
of the mouth, x along the eyes, y down, z away from us. Constants were tuned by eye on photographs.
"""

from dataclasses import dataclass

import numpy as np

from models.avatar.controls import Floats, smoothstep
from models.avatar.topology import (
    BROWS,
    CHIN,
    CORNERS,
    FOREHEAD,
    LEFT_CORNER,
    LID_FOLDS,
    LOWER_INNER,
    LOWER_LIDS,
    LOWER_LIP,
    LOWER_MIDDLE,
    LOWER_ROWS,
    NOSE_WINGS,
    OVAL,
    RIGHT_CORNER,
    UPPER_INNER,
    UPPER_LIDS,
    UPPER_LIP,
    UPPER_MIDDLE,
    UPPER_ROWS,
)

OPEN_GAPE = 0.46
"""Gap of the lips at OPEN = 1, in widths of the mouth."""

UPPER_SHARE, LOWER_SHARE = 0.28, 0.72
RINGS = ((1.22, 0.92, 0.6), (1.5, 0.7, 0.3), (1.95, 0.35, 0.08), (2.6, 0.1, 0.0))
"""Around the face's outline: how far out, how much of the head's turn, how much of the jaw's."""


@dataclass(frozen=True)
class Basis:
    """The points of a face and what moves them; P is the mesh and then the rings around it.

    Attributes:
        points: float64 [P, 3], in the frame of the face, with its lips closed.
        shapes: float64 [11, P, 2], in the order of `Control` up to `SNEER`; what 1 adds.
        rounded: float64 [P, 2], added by a width of -1 beside the shape of the width.
        blink: float64 [P, 2].
        head: float64 [P]: share of the head's movement.
        mouth_width: distance between its corners.
        chin: y of the chin.
    """

    points: Floats
    shapes: Floats
    rounded: Floats
    blink: Floats
    head: Floats
    mouth_width: float
    chin: float


class _Face:
    """The mesh in its own frame, and the weights that several shapes share."""

    def __init__(self, points: Floats) -> None:
        self.points = points
        self.x, self.y = points[:, 0], points[:, 1]
        self.mouth = float(np.linalg.norm(points[291, :2] - points[61, :2]))
        self.chin = float(self.y[CHIN])
        self.gaps = self.y[list(LOWER_INNER)] - self.y[list(UPPER_INNER)]
        self.lips = np.zeros(len(points), bool)
        self.lips[[*UPPER_LIP, *LOWER_LIP, *CORNERS]] = True
        self.middle = np.cos(np.pi / 2 * np.clip(np.abs(self.x) / (self.mouth / 2), 0, 1)) ** 0.7
        self.jaw = self._jaw()

    def zeros(self) -> Floats:
        return np.zeros((len(self.points), 2))

    def bell(self, point: int, radius: float) -> Floats:
        away = np.hypot(self.x - self.x[point], self.y - self.y[point])
        return np.asarray(np.exp(-((away / radius) ** 2)))

    def _jaw(self) -> Floats:
        down = smoothstep((self.y - 0.05 * self.mouth) / (0.75 * self.chin))
        jaw = 0.9 * down * np.exp(-((self.x / 0.85) ** 4))
        jaw[list(UPPER_LIP)] = 0
        jaw[list(CORNERS)] = 0.12
        jaw[list(LOWER_LIP)] = np.maximum(0.12, self.middle[list(LOWER_LIP)])
        return np.asarray(jaw)


def build_basis(points: Floats) -> Basis:
    """The basis of a measured face; `points`: float64 [468, 3] in the frame of the face."""
    face = _Face(points)
    closing = _closing(face)
    rings, head, ring_jaw = _rings(face)
    shapes = [
        _open(face),
        _width(face),
        _press(face),
        _bite(face),
        _smile(face),
        *_brows(face),
        _lids(face, 0.25, 0.0),
        _lids(face, 0.0, 0.22),
        _sneer(face),
    ]
    outside = np.zeros((len(shapes), len(rings), 2))
    outside[0, :, 1] = ring_jaw * OPEN_GAPE * LOWER_SHARE * face.mouth
    rest = np.concatenate([points, rings])
    rest[: len(points), :2] += closing
    rest[len(points) :, 1] -= ring_jaw * 0.52 * face.gaps.max()
    return Basis(
        points=rest,
        shapes=np.concatenate([np.stack(shapes), outside], axis=1),
        rounded=np.concatenate([_rounded(face), outside[1]]),
        blink=np.concatenate([_blink(face), outside[1]]),
        head=np.r_[np.ones(len(points)), head],
        mouth_width=face.mouth,
        chin=face.chin,
    )


def _closing(face: _Face) -> Floats:
    # A photographed smile shows its teeth; the lips meet a third of the way down.
    move = face.zeros()
    for rows, share in ((UPPER_ROWS, 0.35), (LOWER_ROWS, -0.65)):
        for row in rows:
            move[list(row), 1] = share * face.gaps
    rest = ~face.lips
    move[rest, 1] = -0.52 * face.gaps.max() * face.jaw[rest]
    move[[UPPER_INNER[0], UPPER_INNER[-1]]] = 0
    return move


def _open(face: _Face) -> Floats:
    move = face.zeros()
    gape = OPEN_GAPE * face.mouth
    move[:, 1] = gape * LOWER_SHARE * face.jaw
    upper = list(UPPER_LIP)
    move[upper, 1] -= gape * UPPER_SHARE * face.middle[upper]
    return move


def _width(face: _Face) -> Floats:
    move = face.zeros()
    near = np.exp(-((np.hypot(face.x, face.y / 0.8) / (0.62 * face.mouth)) ** 2))
    near[face.lips] = 1
    sides = np.exp(-((face.x / (1.1 * face.mouth)) ** 2))
    move[:, 0] = 0.16 * near * face.x * sides
    return move


def _rounded(face: _Face) -> Floats:
    # Rounding draws the corners in further than spreading draws them out, and fills the lips.
    move = -0.9 * _width(face)
    upper, lower = list(UPPER_LIP), list(LOWER_LIP)
    move[upper, 1] -= 0.03 * face.mouth * (face.y[upper] < face.y[UPPER_MIDDLE])
    move[lower, 1] += 0.035 * face.mouth * (face.y[lower] > face.y[LOWER_MIDDLE])
    return move


def _press(face: _Face) -> Floats:
    move = face.zeros()
    move[list(UPPER_LIP), 1] = 0.02 * face.mouth
    move[list(LOWER_LIP), 1] = -0.03 * face.mouth
    return move


def _bite(face: _Face) -> Floats:
    move = face.zeros()
    lower = list(LOWER_LIP)
    move[lower, 1] = -0.06 * face.mouth * face.jaw[lower]
    return move


def _smile(face: _Face) -> Floats:
    move = face.zeros()
    for corner, side in ((LEFT_CORNER[0], -1), (RIGHT_CORNER[0], 1)):
        near = face.bell(corner, 0.42 * face.mouth)
        move[:, 0] += side * 0.05 * face.mouth * near
        move[:, 1] -= 0.13 * face.mouth * near
    return move


def _brows(face: _Face) -> tuple[Floats, Floats, Floats]:
    """Raised, drawn together, and with their inner ends up."""
    raised, drawn, sad = face.zeros(), face.zeros(), face.zeros()
    # The forehead follows, or the skin above a raised brow would fold.
    above = np.clip((face.y - face.y[FOREHEAD]) / (0.35 * abs(face.y[FOREHEAD])), 0, 1)
    for brow, side in zip(BROWS, (-1, 1), strict=True):
        near = np.max([face.bell(point, 0.16) for point in brow], axis=0) * above
        near *= _above_lids(face, brow)
        inner = near * np.clip(1 - (np.abs(face.x) - 0.15) / 0.45, 0, 1)
        own = np.where(np.sign(face.x) == side, 1.0, 0.0)
        raised[:, 1] -= 0.08 * near * own
        drawn[:, 1] += 0.07 * inner * own
        drawn[:, 0] -= side * 0.03 * inner * own
        sad[:, 1] += (-0.075 * inner + 0.02 * (near - inner)) * own
    return raised, drawn, sad


def _above_lids(face: _Face, brow: tuple[int, ...]) -> Floats:
    # All the skin between brow and lid stretches alike; stretched lashes would smear.
    lids = face.y[[*UPPER_LIDS[0], *UPPER_LIDS[1]]].min() - 0.02
    return np.asarray(smoothstep((lids - face.y) / (lids - face.y[list(brow)].mean())))


def _lids(face: _Face, upper: float, lower: float) -> Floats:
    """Lids lifted by so much of the height of the eye."""
    move = face.zeros()
    for top, bottom, fold in zip(UPPER_LIDS, LOWER_LIDS, LID_FOLDS, strict=True):
        height = face.y[list(bottom)] - face.y[list(top)]
        move[list(top), 1] -= upper * height
        move[list(fold), 1] -= 0.6 * upper * height
        move[list(bottom), 1] -= lower * height
    return move


def _sneer(face: _Face) -> Floats:
    move = face.zeros()
    wings = np.max([face.bell(point, 0.14) for point in NOSE_WINGS], axis=0)
    wings[list(UPPER_LIP)] = 0
    move[:, 1] -= 0.03 * wings
    upper = list(UPPER_LIP)
    move[upper, 1] -= 0.06 * face.mouth * face.middle[upper]
    drawn = _brows(face)[1]
    return move + 0.4 * drawn


def _blink(face: _Face) -> Floats:
    move = face.zeros()
    for top, bottom, fold in zip(UPPER_LIDS, LOWER_LIDS, LID_FOLDS, strict=True):
        height = face.y[list(bottom)] - face.y[list(top)]
        move[list(top), 1] += 0.9 * height
        move[list(fold), 1] += 0.35 * height
        move[list(bottom), 1] -= 0.06 * height
    return move


def _rings(face: _Face) -> tuple[Floats, Floats, Floats]:
    outline = face.points[list(OVAL)][::2]
    centre = np.array([0, (face.y[FOREHEAD] + face.chin) / 2, 0])
    rings, head, jaw = [], [], []
    for reach, turn, drop in RINGS:
        ring = (outline - centre) * [reach, reach, 0] + centre
        below = np.clip((ring[:, 1] - 0.5 * face.chin) / (0.7 * face.chin), 0, 1)
        rings.append(ring)
        head.append(np.full(len(ring), turn))
        jaw.append(drop * below * np.exp(-((ring[:, 0] / 0.8) ** 4)))
    return np.concatenate(rings), np.concatenate(head), np.concatenate(jaw)
