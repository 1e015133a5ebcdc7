"""What a face can be told to do: one row of numbers per frame."""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
"""Numbers of any shape and precision; of controls float64 [N, len(Control)]."""


class Control(IntEnum):
    """Columns of a row of controls; 0 is a resting face looking ahead.

    The first four are the mouth track's and mean the same. From `SMILE` to `SNEER` 1 is strong
    and negative values reverse; `BLINK` is 0 open to 1 shut. `YAW`, `PITCH` and `ROLL` are
    degrees: to the viewer's right, upwards, clockwise. `SHIFT_X` and `SHIFT_Y` move the head, in
    distances between the eyes. `BREATH` -1 to 1 lifts the shoulders. `PAN_X`, `PAN_Y` and `ZOOM`
    move the camera, -1 to 1 of the room around the frame.
    """

    OPEN = 0
    WIDTH = 1
    PRESS = 2
    BITE = 3
    SMILE = 4
    BROW = 5
    FROWN = 6
    SAD = 7
    LIDS = 8
    CHEEKS = 9
    SNEER = 10
    BLINK = 11
    YAW = 12
    PITCH = 13
    ROLL = 14
    SHIFT_X = 15
    SHIFT_Y = 16
    BREATH = 17
    PAN_X = 18
    PAN_Y = 19
    ZOOM = 20


def still() -> Floats:
    """One row at rest."""
    return np.zeros(len(Control))


def smoothstep(values: Floats) -> Floats:
    """0 below 0, 1 above 1, and an even rise between."""
    clipped = np.clip(values, 0, 1)
    return np.asarray(clipped * clipped * (3 - 2 * clipped), np.float64)
