"""Pictures of a clip, taken while its frames pass by: a thumbnail and a spritesheet."""

import io
from collections.abc import Iterable, Iterator
from math import ceil
from pathlib import Path

from PIL import Image

from models.pipeline import Frame
from workers.media.atomic import whole_file
from workers.media.label import check_label, label_xmp

THUMBNAIL_SIDE = 640
"""Longest side of a thumbnail, in pixels; smaller clips keep their size."""

TILE_SIDE = 240
"""Longest side of a picture in a spritesheet, in pixels."""

SHEET_COLUMNS = 4
MAX_TILES = 16
QUALITY = 88

PREVIEW_SIDE = 320
"""Longest side of a preview frame, in pixels; smaller clips keep their size."""

PREVIEW_QUALITIES = (80, 50, 20)


class Stills:
    """Takes the middle frame and up to 16 evenly spaced ones out of a stream of frames.

    Holds shrunken copies only, so frames may be dropped as soon as they have passed.

    Attributes:
        num_frames: how many frames will pass.
    """

    def __init__(self, num_frames: int) -> None:
        self.num_frames = num_frames
        self._thumbnail: Image.Image | None = None
        self._tiles: list[Image.Image] = []
        self._tile_indices = set(spread(num_frames, MAX_TILES))

    def watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Pass `frames` on unchanged."""
        for index, frame in enumerate(frames):
            if index == self.num_frames // 2:
                self._thumbnail = _shrunken(frame, THUMBNAIL_SIDE)
            if index in self._tile_indices:
                self._tiles.append(_shrunken(frame, TILE_SIDE))
            yield frame

    def save_thumbnail(self, path: Path, label: dict[str, str]) -> None:
        """Write the middle frame as WebP, with the label in XMP; whole or not at all."""
        if self._thumbnail is None:
            raise RuntimeError("the middle frame has not passed yet")
        _save(self._thumbnail, path, "WEBP", label)

    def save_spritesheet(self, path: Path, label: dict[str, str]) -> None:
        """Write the frames left to right, top to bottom, 4 a row, as JPEG with the label in XMP."""
        if len(self._tiles) != len(self._tile_indices):
            raise RuntimeError("not all frames have passed yet")
        columns = min(SHEET_COLUMNS, len(self._tiles))
        width, height = self._tiles[0].size
        sheet = Image.new("RGB", (columns * width, ceil(len(self._tiles) / columns) * height))
        for index, tile in enumerate(self._tiles):
            row, column = divmod(index, columns)
            sheet.paste(tile, (column * width, row * height))
        _save(sheet, path, "JPEG", label)


def encode_preview(frame: Frame, label: dict[str, str], most_bytes: int) -> bytes | None:
    """`frame` as a small JPEG with the label in XMP; None if none of at most `most_bytes` is to be.

    Args:
        frame: uint8 [H, W, 3], RGB.
        label: the generated-content label, from `workers.media.label.build_label`.
        most_bytes: coarser qualities are tried until it fits.
    """
    picture = _shrunken(frame, PREVIEW_SIDE)
    for quality in PREVIEW_QUALITIES:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality, xmp=label_xmp(label))
        if file.tell() <= most_bytes:
            return file.getvalue()
    return None


def spread(count: int, most: int) -> list[int]:
    """At most `most` indices below `count`, evenly spaced, with the first and the last."""
    picks = min(count, most)
    return [round(pick * (count - 1) / max(picks - 1, 1)) for pick in range(picks)]


def _shrunken(frame: Frame, side: int) -> Image.Image:
    picture = Image.fromarray(frame)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture


def _save(picture: Image.Image, path: Path, kind: str, label: dict[str, str]) -> None:
    with whole_file(path) as part:
        picture.save(part, kind, quality=QUALITY, xmp=label_xmp(label))
    check_label(path, label)
