"""From moved points to a moved picture: where does every pixel of the new picture come from?

The displacement of the old picture is interpolated between its points on a coarse grid, by a
sparse matrix of barycentric weights that is made once; then it is inverted by fixed-point
iteration and enlarged. Triangulating anew for every frame costs ten times as much.
"""

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from scipy.spatial import Delaunay

from models.avatar.controls import Floats
from models.pipeline import Frame

STRIDE_PX = 4
ITERATIONS, MORE_ITERATIONS = 2, 3
"""Everywhere, and once more around the face, where neighbours move apart most."""

BORDER_POINTS = 10
Grid = npt.NDArray[np.float32]
"""Float32 [h, w, 2]: x and y, in pixels of the picture, every `STRIDE_PX` pixels.

Dense ones have x and y apart, float32 [H, W] each."""


class Warp:
    """Warps pictures of one size whose points `source`, float [P, 2] in pixels, move.

    The rim of the picture stays where it is.

    Attributes:
        nodes: where the grid's nodes lie.
    """

    def __init__(self, source: Floats, width: int, height: int, *, num_steep: int) -> None:
        """`num_steep`: how many of the points, the first, move much against each other."""
        self._size = (width, height)
        low, high = np.zeros(2), np.array([width - 1, height - 1])
        self._inside = ((source > low + 2) & (source < high - 2)).all(1)
        self._anchors = np.concatenate([source[self._inside], _rim(width, height)])
        # One more cell on every side: enlarging repeats the outermost half cell.
        columns, rows = (-(-side // STRIDE_PX) + 2 for side in (width, height))
        x, y = (STRIDE_PX * (np.arange(n) - 0.5) - 0.5 for n in (columns, rows))
        self.nodes: Grid = np.stack(np.meshgrid(x, y), -1).astype(np.float32)
        self._weights = barycentric(self._anchors, np.clip(self.nodes, low, high).reshape(-1, 2))
        self._steep = self._window(source[:num_steep])
        cells = np.meshgrid(np.arange(columns), np.arange(rows))
        self._cells: Grid = np.stack(cells, -1).astype(np.float32)

    def displacement(self, target: Floats) -> Grid:
        """How far the picture moves at every node where its points move to `target` [P, 2]."""
        moved = np.zeros_like(self._anchors)
        moved[: self._inside.sum()] = target[self._inside] - self._anchors[: self._inside.sum()]
        flat = self._weights @ moved.astype(np.float32)
        return np.asarray(flat.reshape(self.nodes.shape), np.float32)

    def sources(self, displacement: Grid) -> Grid:
        """Where each node of the new picture comes from: m with m + displacement(m) = node."""
        steps: Floats = displacement / np.float32(-STRIDE_PX)
        back = steps
        for _ in range(ITERATIONS):
            back = _sampled(steps, self._cells + back)
        part = back[self._steep]
        for _ in range(MORE_ITERATIONS):
            part = _sampled(steps, self._cells[self._steep] + part)
        back[self._steep] = part
        return np.asarray(self.nodes + STRIDE_PX * back, np.float32)

    def _window(self, points: Floats) -> tuple[slice, slice]:
        """Rows and columns of the nodes around `points`, by a fifth of their extent."""
        low, high = points.min(0), points.max(0)
        room = 0.2 * (high - low)
        left, top = np.maximum((low - room) // STRIDE_PX, 0).astype(int)
        right, bottom = np.maximum((high + room) // STRIDE_PX + 2, 1).astype(int)
        return slice(top, bottom), slice(left, right)

    def dense(self, sources: Grid, margin: int) -> tuple[Grid, Grid]:
        """`sources` for every pixel but those within `margin` of the rim: x and y, each [H, W]."""
        rows, columns = sources.shape[:2]
        size = (columns * STRIDE_PX, rows * STRIDE_PX)
        start = STRIDE_PX + margin
        width, height = (side - 2 * margin for side in self._size)
        inside = slice(start, start + height), slice(start, start + width)
        # One axis at a time: `remap` would have to part them again.
        x, y = (cv2.resize(np.ascontiguousarray(sources[..., axis]), size) for axis in (0, 1))
        return np.asarray(x[inside], np.float32), np.asarray(y[inside], np.float32)


def barycentric(anchors: Floats, positions: Floats) -> csr_matrix:
    """Float32 [N, A]: weights of the `anchors` [A, 2] at `positions` [N, 2], all inside them."""
    mesh = Delaunay(anchors)
    simplices = mesh.find_simplex(positions, tol=1e-9)
    transform = mesh.transform[simplices]
    offset = positions - transform[:, 2]
    two = np.einsum("nij,nj->ni", transform[:, :2], offset)
    weights = np.nan_to_num(np.c_[two, 1 - two.sum(1)])
    rows = np.repeat(np.arange(len(positions)), 3)
    columns = mesh.simplices[simplices].ravel()
    shape = (len(positions), len(anchors))
    return csr_matrix((weights.ravel().astype(np.float32), (rows, columns)), shape=shape)


def pull(picture: Frame, x: Grid, y: Grid) -> Frame:
    """The new picture, uint8 [H, W, 3], of the dense sources `x` and `y`.

    `picture`: uint8 [H, W, 4]; with a fourth channel, whatever it holds, OpenCV samples twice as
    fast as without.
    """
    new = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(cv2.cvtColor(new, cv2.COLOR_RGBA2RGB), np.uint8)


def _sampled(steps: Floats, at: Floats) -> Floats:
    rim = cv2.BORDER_REPLICATE
    return np.asarray(
        cv2.remap(steps, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=rim), np.float32
    )


def _rim(width: int, height: int) -> Floats:
    x, y = np.linspace(0, width - 1, BORDER_POINTS), np.linspace(0, height - 1, BORDER_POINTS)
    sides = [[(a, 0), (a, height - 1)] for a in x] + [[(0, b), (width - 1, b)] for b in y[1:-1]]
    return np.array([point for pair in sides for point in pair], np.float64)
