"""Writes contact sheets: five frames of each clip in a row, with its prompt above."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

NUM_SHOWN = 5
NUM_COLUMNS = 3
HEADER_PX = 14
GAP_PX = 6


def write_sheet(path: Path, clips: Sequence[tuple[str, NDArray[Any]]]) -> None:
    """Writes captioned clips as one PNG, three clips a row.

    Args:
        path: File to write.
        clips: Captions with clips, float `[T, H, W, 3]` in 0..1, all of one size.
    """
    num_frames, height, width = clips[0][1].shape[:3]
    cell = (width * NUM_SHOWN + GAP_PX, height + HEADER_PX + GAP_PX)
    num_rows = -(-len(clips) // NUM_COLUMNS)
    sheet = Image.new("RGB", (cell[0] * NUM_COLUMNS, cell[1] * num_rows), "lightsteelblue")
    pen = ImageDraw.Draw(sheet)
    shown = np.linspace(0, num_frames - 1, NUM_SHOWN).round().astype(int)
    for number, (caption, clip) in enumerate(clips):
        left, top = number % NUM_COLUMNS * cell[0], number // NUM_COLUMNS * cell[1]
        strip = np.concatenate(list(clip[shown]), axis=1)
        pen.text((left, top), caption, fill="black")
        pixels = (strip * 255).round().astype(np.uint8)
        sheet.paste(Image.fromarray(pixels), (left, top + HEADER_PX))
    sheet.save(path)
