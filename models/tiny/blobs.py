"""Cuts the shapes of a clip out of its background, frame by frame. Numpy only.

The background is read from the left and right borders, which no shape touches; a blob is a
connected patch of pixels that differ from it; blobs of one colour are one shape.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Integers = NDArray[np.int64]

MIN_DIFFERENCE = 50.0
"""Largest channel difference (of 255) to the background from which a pixel is part of a shape."""

MIN_AREA, MAX_AREA = 0.005, 0.6
"""Share of a frame that a shape takes; less is noise, a frame with more is broken."""

MIN_PART_OF_LARGEST = 0.12
"""Share of the largest blob of a clip below which a blob is a crumb of a wobbly edge."""

SAME_COLOUR = 75.0
"""Largest distance in RGB (0..442) between blobs of one shape."""

MIN_PRESENCE = 0.2
"""Share of the frames that a shape is seen in; less is a flicker."""


@dataclass(frozen=True)
class Cutout:
    """One shape in one frame.

    `cover` is `[H, W]` in 0..1, `area` its sum in pixels, `centre` its centroid (x, y) in pixels.
    """

    cover: Floats
    area: float
    centre: tuple[float, float]


@dataclass
class Patch:
    """All blobs of one colour: `colour` (0..255) and `blobs`, masks `[H, W]` by frame."""

    colour: Floats
    blobs: dict[int, list[NDArray[np.bool_]]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many shapes of this colour are seen at once, in the usual frame."""
        return max(1, round(float(np.median([len(each) for each in self.blobs.values()]))))


@dataclass(frozen=True)
class Segmentation:
    """A clip taken apart: `backdrop` is `[H, W, 3]` in 0..255."""

    backdrop: Floats
    patches: list[Patch]
    broken_frames: set[int]


def fit_backdrop(pixels: Floats) -> Floats:
    """Returns the background, `[H, W, 3]`: a straight blend from top to bottom.

    Args:
        pixels: `[T, H, W, 3]` in 0..255.
    """
    edge = max(2, pixels.shape[2] // 32)
    strips = np.concatenate([pixels[:, :, :edge], pixels[:, :, -edge:]], axis=2)
    rows = np.median(strips.swapaxes(0, 1).reshape(pixels.shape[1], -1, 3), axis=1)
    height = np.arange(len(rows), dtype=np.float32)
    slope, start = np.polyfit(height, rows, 1)
    blend = (start + slope * height[:, None]).astype(np.float32)
    return np.broadcast_to(blend[:, None], pixels.shape[1:])


def segment(pixels: Floats, backdrop: Floats) -> Segmentation:
    """Finds the shapes of a clip, the largest first.

    Args:
        pixels: `[T, H, W, 3]` in 0..255.
        backdrop: The background, `[H, W, 3]`.
    """
    difference = np.abs(pixels - backdrop).max(-1)
    mask = difference > MIN_DIFFERENCE
    share = mask.mean((1, 2))
    broken = {int(frame) for frame in np.flatnonzero(share > MAX_AREA)}
    labels = label(mask)
    blobs = [
        blob
        for frame in range(len(pixels))
        if frame not in broken
        for blob in _list_blobs(frame, labels[frame])
    ]
    largest = max((size for size, _, _ in blobs), default=0)
    blobs = [each for each in blobs if each[0] >= MIN_PART_OF_LARGEST * largest]
    patches: list[Patch] = []
    for _, frame, blob in sorted(blobs, key=lambda each: -each[0]):
        colour = _core_colour(pixels[frame][blob], difference[frame][blob])
        _add_blob(patches, colour, frame, blob)
    seen = [each for each in patches if len(each.blobs) >= MIN_PRESENCE * len(pixels)]
    return Segmentation(backdrop, seen, broken)


def cut_out(pixels: Floats, backdrop: Floats, patch: Patch) -> dict[int, Cutout]:
    """Returns a shape in each frame it is seen in, with soft edges.

    Args:
        pixels: `[T, H, W, 3]` in 0..255.
        backdrop: `[H, W, 3]`.
        patch: The shape; of several blobs in a frame the largest is taken.
    """
    towards = patch.colour - backdrop
    scale = (towards * towards).sum(-1)
    cutouts = {}
    for frame, blobs in sorted(patch.blobs.items()):
        near = _widen(max(blobs, key=np.count_nonzero))
        cover = ((pixels[frame] - backdrop) * towards).sum(-1) / scale
        cover = np.where(near, cover.clip(0, 1), 0).astype(np.float32)
        area = float(cover.sum())
        rows, columns = (np.arange(length) + 0.5 for length in cover.shape)
        x, y = (cover.sum(0) * columns).sum() / area, (cover.sum(1) * rows).sum() / area
        cutouts[frame] = Cutout(cover, area, (float(x), float(y)))
    return cutouts


def label(mask: NDArray[np.bool_]) -> Integers:
    """Numbers the connected patches of each frame; diagonal neighbours are connected.

    Args:
        mask: `[T, H, W]`.

    Returns:
        `[T, H, W]`: 0 outside the mask, inside one positive number per patch of a frame.
    """
    labels = np.where(mask, np.arange(1, mask[0].size + 1).reshape(mask[0].shape), 0)
    while True:
        padded = np.pad(labels, ((0, 0), (1, 1), (1, 1)))
        rows = np.maximum(np.maximum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
        spread = np.maximum(np.maximum(rows[:, :, :-2], rows[:, :, 1:-1]), rows[:, :, 2:])
        spread = np.where(mask, spread, 0)
        if (spread == labels).all():
            return labels
        labels = spread


def _list_blobs(frame: int, labels: Integers) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
    """Yields size (pixels), frame and mask of each patch that is large enough."""
    numbers, sizes = np.unique(labels[labels > 0], return_counts=True)
    for number, size in zip(numbers, sizes, strict=True):
        if size >= MIN_AREA * labels.size:
            yield int(size), frame, labels == number


def _core_colour(pixels: Floats, difference: Floats) -> Floats:
    """Returns the median colour of the pixels that differ most; edges are mixtures."""
    is_core = difference >= 0.7 * difference.max()
    return np.asarray(np.median(pixels[is_core], axis=0), dtype=np.float32)


def _add_blob(patches: list[Patch], colour: Floats, frame: int, blob: NDArray[np.bool_]) -> None:
    alike = [each for each in patches if float(np.linalg.norm(each.colour - colour)) < SAME_COLOUR]
    if not alike:
        patches.append(Patch(colour))
        alike = patches[-1:]
    nearest = min(alike, key=lambda each: float(np.linalg.norm(each.colour - colour)))
    nearest.blobs.setdefault(frame, []).append(blob)


def _widen(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Adds two rings of pixels round a mask: its soft edge."""
    padded = np.pad(mask, 2)
    height, width = mask.shape
    around = [
        padded[down : down + height, across : across + width]
        for down in range(5)
        for across in range(5)
    ]
    return np.asarray(np.any(around, axis=0))
