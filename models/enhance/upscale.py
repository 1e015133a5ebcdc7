"""Real-ESRGAN upscaling (Wang et al. 2021) of single frames, in tiles.

`Compact` is the small network for video (0.6 M weights, CPU or GPU). It always works at 4x; 2x
and 3x shrink its result with a bicubic filter, as the published models do.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from models.enhance.ncnn_file import Layer, read_layers
from models.pipeline import Frame

NATIVE_SCALE = 4
_RESIZE_REACH = 2


class Compact(nn.Module):
    """Convolutions and PReLUs, then pixels out of channels, added to the enlarged input."""

    def __init__(self, layers: Sequence[Layer], scale: int) -> None:
        super().__init__()
        if scale not in (2, 3, NATIVE_SCALE):
            raise ValueError(f"scale must be 2, 3 or 4, not {scale}")
        self.body = nn.Sequential(*(_module(layer) for layer in layers))
        self.scale = scale
        num_convolutions = sum(layer.kind == "Convolution" for layer in layers)
        self.reach = num_convolutions + _RESIZE_REACH
        """How many input pixels away an output pixel still sees."""

    @override
    def forward(self, image: Tensor) -> Tensor:
        """`image`: [N, 3, H, W] in [0, 1]; gives [N, 3, H * scale, W * scale]."""
        enlarged = functional.interpolate(image, scale_factor=float(NATIVE_SCALE), mode="nearest")
        result = functional.pixel_shuffle(self.body(image), NATIVE_SCALE) + enlarged
        if self.scale == NATIVE_SCALE:
            return result
        height, width = image.shape[2] * self.scale, image.shape[3] * self.scale
        return functional.interpolate(result, (height, width), mode="bicubic", align_corners=False)


def load_compact(param: Path, weights: Path, scale: int, device: str) -> Compact:
    """The network of `realesr-animevideov3-xSCALE` on `device`.

    Raises:
        NcnnError: the files are broken.
    """
    return (
        Compact(read_layers(param, weights), scale)
        .to(device)
        .eval()
        .requires_grad_(requires_grad=False)
    )


def upscale(model: Compact, frame: Frame, tile: int = 256) -> Frame:
    """`frame` (uint8 [H, W, 3]) `model.scale` times as large, `tile` x `tile` pixels at a time.

    Every tile is computed with all the pixels it can see, so tiles leave no seam.
    """
    device = next(model.parameters()).device
    height, width = frame.shape[:2]
    scale = model.scale
    result = np.empty((height * scale, width * scale, 3), np.uint8)
    for rows, seen_rows in _spans(height, tile, model.reach):
        for columns, seen_columns in _spans(width, tile, model.reach):
            patch = model(_to_tensor(frame[seen_rows, seen_columns], device))
            inner = patch[
                0,
                :,
                _within(rows, seen_rows, scale),
                _within(columns, seen_columns, scale),
            ]
            pixels = inner.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0)
            result[_times(rows, scale), _times(columns, scale)] = pixels.cpu().numpy()
    return result


def _module(layer: Layer) -> nn.Module:
    weight = torch.from_numpy(layer.weight)
    if layer.kind == "PReLU":
        slopes = nn.PReLU(len(weight))
        slopes.weight.data = weight
        return slopes
    out_channels, in_channels, kernel, _ = layer.weight.shape
    convolution = nn.Conv2d(
        in_channels, out_channels, kernel, padding=kernel // 2, bias=layer.bias is not None
    )
    convolution.weight.data = weight
    if layer.bias is not None and convolution.bias is not None:
        convolution.bias.data = torch.from_numpy(layer.bias)
    return convolution


def _to_tensor(pixels: Frame, device: torch.device) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)
    return tensor.permute(2, 0, 1).unsqueeze(0).float() / 255


def _spans(length: int, tile: int, reach: int) -> Iterator[tuple[slice, slice]]:
    """What each tile makes, and what it has to see for that."""
    for start in range(0, length, tile):
        end = min(start + tile, length)
        yield slice(start, end), slice(max(0, start - reach), min(length, end + reach))


def _within(made: slice, seen: slice, scale: int) -> slice:
    return _times(slice(made.start - seen.start, made.stop - seen.start), scale)


def _times(span: slice, scale: int) -> slice:
    return slice(span.start * scale, span.stop * scale)
