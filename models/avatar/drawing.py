"""One frame from one row of controls. Safe for several threads at once."""

import cv2
import numpy as np

from models.avatar.controls import Control, Floats, smoothstep
from models.avatar.framing import make_plate
from models.avatar.lids import lid_colours, paint_lids
from models.avatar.mouth import paint_mouth, palette_of
from models.avatar.puppet import Puppet
from models.avatar.warp import Grid, Warp, pull
from models.pipeline import Frame

BREATH_SHARE = 0.018
"""How far a breath lifts the shoulders, in distances between the eyes."""

ZOOM_SHARE = 0.5
PAN_SHARE = 0.35
"""Of the margin that the camera may use; together under 1, so the rim never shows."""


class Drawing:
    """A portrait that can be drawn in any pose, as video of `width` by `height` pixels."""

    def __init__(self, picture: Frame, points: Floats, width: int, height: int) -> None:
        """`picture`: uint8 [H, W, 3] RGB; `points`: [468, 3], the face in it, in pixels."""
        plate = make_plate(picture, points, width, height)
        self._margin = plate.margin
        self._picture = np.asarray(cv2.cvtColor(plate.picture, cv2.COLOR_RGB2RGBA), np.uint8)
        self._puppet = Puppet(plate.points)
        self._warp = Warp(
            self._puppet.source, *plate.picture.shape[1::-1], num_steep=self._puppet.num_mesh
        )
        self._palette = palette_of(plate.picture, self._puppet.source, self._puppet.mouth_width)
        self._lids = lid_colours(plate.picture, self._puppet.source)
        self._centre = np.array(plate.picture.shape[1::-1]) / 2
        self._shoulders = self._shoulder_field()

    def __call__(self, controls: Floats) -> Frame:
        """Draw `controls`, one row; uint8 [height, width, 3], RGB."""
        puppet, margin = self._puppet, self._margin
        posed = puppet.pose(controls)
        moved = self._warp.displacement(posed)
        moved[..., 1] -= np.float32(controls[Control.BREATH]) * self._shoulders
        moved += self._camera(controls, self._warp.nodes)
        frame = pull(self._picture, *self._warp.dense(self._warp.sources(moved), margin))
        points = posed + self._camera(controls, puppet.source) - margin
        paint_mouth(frame, points, self._palette, puppet.mouth_width)
        paint_lids(
            frame,
            points,
            self._lids,
            blink=float(controls[Control.BLINK]),
            size=puppet.eye_distance,
        )
        return frame

    def _camera(self, controls: Floats, positions: Floats | Grid) -> Floats:
        """How far the camera moves what lies at `positions` [..., 2], pixels."""
        zoom = ZOOM_SHARE * self._margin * controls[Control.ZOOM] / self._centre.max()
        pan = PAN_SHARE * self._margin * controls[[Control.PAN_X, Control.PAN_Y]]
        start = (pan - self._centre * zoom).astype(positions.dtype)
        return np.asarray(positions * positions.dtype.type(zoom) + start)

    def _shoulder_field(self) -> Grid:
        size, chin = self._puppet.eye_distance, self._puppet.chin
        x, y = (np.moveaxis(self._warp.nodes, -1, 0) - chin[:, None, None]) / size
        below = smoothstep((y - 0.25) / 1.1)
        beside = np.exp(-((x / 2.6) ** 4))
        return np.asarray(BREATH_SHARE * size * below * beside, np.float32)
