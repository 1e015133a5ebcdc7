"""Faces in a picture: where they are, and 468 points on each.

BlazeFace finds them, FaceMesh measures them; both run through LiteRT on one thread each, so that
a clip is drawn and measured side by side. Decoding after "BlazeFace: Sub-millisecond Neural Face
Detection on Mobile GPUs" (arXiv 1907.05047).
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from models.assets import asset_path
from models.pipeline import Frame

ASSETS = ("face/detector-short.tflite", "face/detector-full.tflite", "face/mesh.tflite")
NUM_POINTS = 468
LEFT_EYE, RIGHT_EYE = 33, 263
"""Outer corners of the eyes; left and right as the viewer sees them."""

MIN_DETECTION = 0.5
MAX_OVERLAP = 0.3
CROP_MARGIN = 1.5
"""Side of the crop that the mesh is measured in, in sides of the face's box."""

SHORT_STRIDES = (8, 16, 16, 16)
FULL_STRIDES = (4,)

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Box:
    """A face as the detector sees it.

    Attributes:
        corners: float32 [4]: left, top, right, bottom, in pixels.
        eyes: float32 [2, 2]: centres of the left and the right eye, x and y in pixels.
        score: 0 to 1.
    """

    corners: Floats
    eyes: Floats
    score: float

    def moved(self, right: int, down: int) -> "Box":
        """The same face where the picture begins so many pixels further up and left."""
        by = np.array([right, down], np.float32)
        return Box(self.corners + np.tile(by, 2), self.eyes + by, self.score)

    @property
    def crop(self) -> "Crop":
        """The upright square around the face."""
        left, top, right, bottom = self.corners
        across = self.eyes[1] - self.eyes[0]
        return Crop(
            centre=np.array([(left + right) / 2, (top + bottom) / 2], np.float32),
            side=CROP_MARGIN * float(max(right - left, bottom - top)),
            angle=float(np.arctan2(across[1], across[0])),
        )


@dataclass(frozen=True)
class Crop:
    """A turned square. `centre`: x, y in pixels; `side`: pixels; `angle`: radians, clockwise."""

    centre: Floats
    side: float
    angle: float

    def to_square(self, size: int) -> npt.NDArray[np.float64]:
        """The affine map, float64 [2, 3], from the picture to a square of `size` pixels."""
        scale = size / self.side
        cosine, sine = scale * np.cos(self.angle), scale * np.sin(self.angle)
        turn = np.array([[cosine, sine], [-sine, cosine]])
        return np.asarray(np.c_[turn, size / 2 - turn @ self.centre], np.float64)


@dataclass(frozen=True)
class Mesh:
    """A measured face.

    Attributes:
        points: float32 [468, 3], x and y in pixels, z in the same scale, negative towards us.
        score: 0 to 1: whether this is a face that nothing covers.
    """

    points: Floats
    score: float

    @property
    def eye_distance(self) -> float:
        """Between the outer corners of the eyes, in pixels."""
        return float(np.linalg.norm(self.points[RIGHT_EYE, :2] - self.points[LEFT_EYE, :2]))

    @property
    def crop(self) -> Crop:
        """Where to look for the same face in the next frame."""
        low, high = self.points[:, :2].min(0), self.points[:, :2].max(0)
        across = self.points[RIGHT_EYE, :2] - self.points[LEFT_EYE, :2]
        return Crop(
            centre=np.asarray((low + high) / 2, np.float32),
            side=CROP_MARGIN * float((high - low).max()),
            angle=float(np.arctan2(across[1], across[0])),
        )


class Detector:
    """A BlazeFace network. Not for two threads at once."""

    def __init__(self, path: Path, strides: tuple[int, ...]) -> None:
        self._network = _Network(path)
        self._size = self._network.size
        self._anchors = anchors(self._size, strides)

    def __call__(self, picture: Frame) -> list[Box]:
        """The faces of `picture`, uint8 [H, W, 3] RGB, best first; each face once."""
        side = max(picture.shape[:2])
        crop = Crop(np.array(picture.shape[1::-1], np.float32) / 2, float(side), 0.0)
        square = _cut(picture, crop, self._size).astype(np.float32) / 127.5 - 1
        regressors, logits = self._network(square)
        if regressors.shape[-1] == 1:
            regressors, logits = logits, regressors
        scores = 1 / (1 + np.exp(-np.clip(logits.reshape(-1), -80, 80)))
        likely = np.flatnonzero(scores >= MIN_DETECTION)
        origin = crop.centre - side / 2
        boxes = [
            self._box(regressors.reshape(len(scores), -1)[k], k, float(scores[k]), side, origin)
            for k in likely[np.argsort(-scores[likely])]
        ]
        return without_doubles(boxes)

    def _box(self, row: Floats, index: int, score: float, side: int, origin: Floats) -> Box:
        values = row.reshape(-1, 2) / self._size
        centre, extent = values[0] + self._anchors[index], values[1]
        corners = np.r_[centre - extent / 2, centre + extent / 2] * side + np.tile(origin, 2)
        eyes = (values[2:4] + self._anchors[index]) * side + origin
        return Box(corners.astype(np.float32), eyes.astype(np.float32), score)


class Mesher:
    """The FaceMesh network. Not for two threads at once."""

    def __init__(self, path: Path) -> None:
        self._network = _Network(path)

    def __call__(self, picture: Frame, crop: Crop) -> Mesh:
        """Measure the face inside `crop` of `picture`, uint8 [H, W, 3] RGB."""
        size = self._network.size
        first, second = self._network(_cut(picture, crop, size).astype(np.float32) / 255)
        if first.size == 1:
            first, second = second, first
        points = first.reshape(NUM_POINTS, 3)
        back = cv2.invertAffineTransform(crop.to_square(size))
        flat = points[:, :2] @ back[:, :2].T + back[:, 2]
        depth = points[:, 2:] * crop.side / size
        score = 1 / (1 + np.exp(-float(second.item())))
        return Mesh(np.hstack([flat, depth]).astype(np.float32), score)


class Faces:
    """Finds and measures. `short` sees faces up close, `full` small ones in wide pictures."""

    def __init__(self, *, short: Path, full: Path, mesh: Path) -> None:
        self._detectors = (Detector(short, SHORT_STRIDES), Detector(full, FULL_STRIDES))
        self.measure = Mesher(mesh)

    @classmethod
    def fetched(cls) -> "Faces":
        """The networks that were fetched.

        Raises:
            AssetMissing: they were not.
        """
        short, full, mesh = (asset_path(name) for name in ASSETS)
        return cls(short=short, full=full, mesh=mesh)

    def find(self, picture: Frame, *, closely: bool = True) -> list[Box]:
        """The faces of `picture`, from left to right; `closely`: small ones in wide ones too."""
        for detect in self._detectors:
            if boxes := detect(picture):
                return _from_the_left(boxes)
        return _from_the_left(self._in_tiles(picture)) if closely else []

    def measure_twice(self, picture: Frame, box: Box) -> Mesh:
        """The mesh of the face in `box`; it is truest in a square that is cut by itself."""
        return self.measure(picture, self.measure(picture, box.crop).crop)

    def _in_tiles(self, picture: Frame) -> list[Box]:
        # A wide picture leaves a head few of the network's pixels; squares of it leave more.
        boxes = []
        for left, top, side in tiles(picture.shape[1], picture.shape[0]):
            tile = np.ascontiguousarray(picture[top : top + side, left : left + side])
            for detect in self._detectors:
                boxes += [box.moved(left, top) for box in detect(tile)]
        return without_doubles(sorted(boxes, key=lambda box: -box.score))


def tiles(width: int, height: int) -> list[tuple[int, int, int]]:
    """Squares that overlap by half, as left, top and side; down to half the shorter side."""
    squares = []
    for side in (min(width, height), min(width, height) // 2):
        step = max(side // 2, 1)
        lefts, tops = (sorted({*range(0, n - side, step), n - side}) for n in (width, height))
        squares += [(left, top, side) for top in tops for left in lefts]
    return squares


def _from_the_left(boxes: list[Box]) -> list[Box]:
    return sorted(boxes, key=lambda box: float(box.corners[0] + box.corners[2]))


def anchors(size: int, strides: tuple[int, ...]) -> Floats:
    """Centres of the cells, float32 [A, 2], x and y from 0 to 1, in the networks' order.

    With one stride a cell has one anchor; with several, two for every layer of that stride.
    """
    layers = []
    for stride in sorted(set(strides)):
        cells = size // stride
        repeats = 1 if len(strides) == 1 else 2 * strides.count(stride)
        y, x = np.mgrid[:cells, :cells]
        centres = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) / cells
        layers.append(np.repeat(centres, repeats, axis=0))
    return np.concatenate(layers).astype(np.float32)


def without_doubles(boxes: list[Box]) -> list[Box]:
    """`boxes`, best first, less those that overlap a better one."""
    kept: list[Box] = []
    for box in boxes:
        if all(overlap(box, other) <= MAX_OVERLAP for other in kept):
            kept.append(box)
    return kept


def overlap(one: Box, other: Box) -> float:
    """Intersection over union, 0 to 1."""
    low = np.maximum(one.corners[:2], other.corners[:2])
    high = np.minimum(one.corners[2:], other.corners[2:])
    both = float(np.prod(np.maximum(high - low, 0)))
    areas = [float(np.prod(box.corners[2:] - box.corners[:2])) for box in (one, other)]
    return both / max(sum(areas) - both, 1e-6)


def _cut(picture: Frame, crop: Crop, size: int) -> npt.NDArray[np.uint8]:
    # Linear sampling alone would alias where a large picture shrinks to 128 pixels.
    shrink = int(crop.side // (2 * size))
    if shrink > 1:
        height, width = (max(1, side // shrink) for side in picture.shape[:2])
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        ratio = np.array([width / picture.shape[1], height / picture.shape[0]], np.float32)
        crop = Crop(crop.centre * ratio, crop.side * float(ratio.mean()), crop.angle)
        picture = np.asarray(small, np.uint8)
    cut = cv2.warpAffine(picture, crop.to_square(size), (size, size), flags=cv2.INTER_LINEAR)
    return np.asarray(cut, np.uint8)


class _Network:
    """A LiteRT network with one square picture in and two tensors out."""

    def __init__(self, path: Path) -> None:
        self._interpreter = Interpreter(model_path=str(path), num_threads=1)
        self._interpreter.allocate_tensors()
        [self._input] = self._interpreter.get_input_details()
        self._outputs = [detail["index"] for detail in self._interpreter.get_output_details()]
        self.size = int(self._input["shape"][1])

    def __call__(self, square: Floats) -> tuple[Floats, Floats]:
        self._interpreter.set_tensor(self._input["index"], square[None])
        self._interpreter.invoke()
        first, second = (self._interpreter.get_tensor(index) for index in self._outputs)
        return first, second
