"""A measured face on its picture, posed by controls: points in, points out, in pixels."""

import numpy as np

from models.avatar.controls import Control, Floats
from models.avatar.shapes import build_basis
from models.avatar.topology import CHIN, LEFT_CORNER, RIGHT_CORNER, TEMPLES

LEFT_OUTER, RIGHT_OUTER = 33, 263
NUM_SHAPES = Control.SNEER + 1
PIVOT_DEPTH = 0.45
"""The head turns about the top of the neck, this far behind the temples."""


class Puppet:
    """Poses one face.

    Attributes:
        source: float64 [P, 2]: the points as photographed, pixels; the mesh, then rings around it.
        eye_distance, mouth_width: pixels.
        num_mesh: how many of the points are of the mesh.
    """

    def __init__(self, points: Floats) -> None:
        """`points`: [468, 3], as in `models.avatar.faces.Mesh`."""
        points = points.astype(np.float64)
        across = points[RIGHT_OUTER, :2] - points[LEFT_OUTER, :2]
        self.eye_distance = float(np.linalg.norm(across))
        cosine, sine = across / self.eye_distance
        self._turn = np.array([[cosine, sine], [-sine, cosine]])
        self._origin = points[[LEFT_CORNER[0], RIGHT_CORNER[0]], :2].mean(0)
        flat = (points[:, :2] - self._origin) @ self._turn.T
        depth = points[:, 2] - points[list(TEMPLES), 2].mean()
        local = np.c_[flat, depth] / self.eye_distance
        self._basis = build_basis(local)
        rings = self._basis.points[len(local) :].copy()
        self.num_mesh = len(local)
        self.mouth_width = self._basis.mouth_width * self.eye_distance
        self.source = self._to_pixels(np.concatenate([local, rings])[:, :2])
        self.chin = self.source[CHIN]
        self._pivot = np.array([0, 1.25 * self._basis.chin, PIVOT_DEPTH])

    def pose(self, controls: Floats) -> Floats:
        """Where the points are under one row of controls, float64 [P, 2], pixels."""
        posed = self._basis.points.copy()
        posed[:, :2] += np.tensordot(controls[:NUM_SHAPES], self._basis.shapes, axes=1)
        posed[:, :2] += max(0.0, -controls[Control.WIDTH]) * self._basis.rounded
        posed[:, :2] += controls[Control.BLINK] * self._basis.blink
        arm = posed - self._pivot
        turned = arm @ _rotation(controls).T + self._pivot
        turned[:, :2] += controls[[Control.SHIFT_X, Control.SHIFT_Y]]
        posed += (turned - posed) * self._basis.head[:, None]
        return self._to_pixels(posed[:, :2])

    def _to_pixels(self, flat: Floats) -> Floats:
        return np.asarray(flat * self.eye_distance @ self._turn + self._origin)


def _rotation(controls: Floats) -> Floats:
    yaw, pitch, roll = np.deg2rad(controls[[Control.YAW, Control.PITCH, Control.ROLL]])
    # z points away from us, so that the front of a face that turns right moves right.
    about_y = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array(
        [[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]]
    )
    about_z = np.array(
        [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
    )
    return np.asarray(about_z @ about_y @ about_x)
