"""Real-ESRGAN upscaling (Wang et al. 2021) of single frames, in tiles.

Both networks work at 4x; 2x and 3x shrink the result with a bicubic filter, as the published
models do. `Compact` is the small one for video (0.6 M weights, CPU or GPU), `Dense` the large one
for photos (16.7 M weights, some 100 times the work).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from models.enhance.ncnn_file import Layer, NcnnError, read_layers
from models.pipeline import Frame

NATIVE_SCALE = 4
SCALES = (2, 3, 4)

_RESIZE_REACH = 2
_LEAK = 0.2
_BRANCH_SHARE = 0.2
_BLOCK_CONVOLUTIONS = 5
_BLOCKS_PER_GROUP = 3
_AROUND_BODY = 6
_DENSE_REACH = 32
"""`Dense` sees 350 pixels far in theory; beyond this many nothing comes of it but rounding."""


class Upscaler(nn.Module, ABC):
    """A network that makes pictures `scale` times as large.

    Args:
        scale: 2, 3 or 4.
        reach: how many input pixels away an output pixel still sees.
    """

    def __init__(self, scale: int, reach: int) -> None:
        super().__init__()
        if scale not in SCALES:
            raise ValueError(f"scale must be 2, 3 or 4, not {scale}")
        self.scale = scale
        self.reach = reach + _RESIZE_REACH

    @override
    def forward(self, image: Tensor) -> Tensor:
        """`image`: [N, 3, H, W] in [0, 1]; gives [N, 3, H * scale, W * scale]."""
        result = self.enlarge(image)
        if self.scale == NATIVE_SCALE:
            return result
        height, width = image.shape[2] * self.scale, image.shape[3] * self.scale
        return functional.interpolate(result, (height, width), mode="bicubic", align_corners=False)

    @abstractmethod
    def enlarge(self, image: Tensor) -> Tensor:
        """`image` at `NATIVE_SCALE`."""


class Compact(Upscaler):
    """Convolutions and PReLUs, then pixels out of channels, added to the enlarged input."""

    def __init__(self, layers: Sequence[Layer], scale: int) -> None:
        super().__init__(scale, sum(layer.kind == "Convolution" for layer in layers))
        self.body = nn.Sequential(*(_module(layer) for layer in layers))

    @override
    def enlarge(self, image: Tensor) -> Tensor:
        enlarged = functional.interpolate(image, scale_factor=float(NATIVE_SCALE), mode="nearest")
        return functional.pixel_shuffle(self.body(image), NATIVE_SCALE) + enlarged


class Dense(Upscaler):
    """Residual groups of dense blocks (RRDB), doubled twice at the end."""

    def __init__(self, layers: Sequence[Layer], scale: int) -> None:
        super().__init__(scale, _DENSE_REACH)
        convolutions = [_module(layer) for layer in layers if layer.kind == "Convolution"]
        size = _BLOCK_CONVOLUTIONS * _BLOCKS_PER_GROUP
        num_body = len(convolutions) - _AROUND_BODY
        if len(convolutions) != len(layers) or num_body < size or num_body % size:
            raise NcnnError(f"{len(layers)} layers do not make dense blocks")
        self.first, *body = convolutions[: num_body + 1]
        self.after, self.widen, self.rewiden, self.refine, self.last = convolutions[num_body + 1 :]
        self.groups = nn.ModuleList(
            nn.ModuleList(
                nn.ModuleList(body[block : block + _BLOCK_CONVOLUTIONS])
                for block in range(group, group + size, _BLOCK_CONVOLUTIONS)
            )
            for group in range(0, len(body), size)
        )

    @override
    def enlarge(self, image: Tensor) -> Tensor:
        first = self.first(image)
        features = first
        for group in self.groups:
            start = features
            for block in cast("nn.ModuleList", group):
                features = _dense(cast("nn.ModuleList", block), features)
            features = start + features * _BRANCH_SHARE
        features = first + self.after(features)
        for convolution in (self.widen, self.rewiden):
            larger = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = functional.leaky_relu(convolution(larger), _LEAK)
        refined = functional.leaky_relu(self.refine(features), _LEAK)
        result: Tensor = self.last(refined)
        return result


def load_upscaler(
    network: type[Compact | Dense], param: Path, weights: Path, *, scale: int, device: str
) -> Upscaler:
    """The `network` in these ncnn files on `device`.

    Raises:
        NcnnError: the files are broken or hold another network.
    """
    model = network(read_layers(param, weights), scale)
    return model.to(device).eval().requires_grad_(requires_grad=False)


def upscale(model: Upscaler, frame: Frame, tile: int = 256) -> Frame:
    """`frame` (uint8 [H, W, 3]) `model.scale` times as large, `tile` x `tile` pixels at a time.

    Every tile is computed with all the pixels that count for it, so tiles leave no seam.
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


def _dense(block: nn.ModuleList, features: Tensor) -> Tensor:
    """Every convolution sees the results of all before it."""
    *inner, last = block
    seen = features
    for convolution in inner:
        seen = torch.cat((seen, functional.leaky_relu(convolution(seen), _LEAK)), 1)
    result: Tensor = features + last(seen) * _BRANCH_SHARE
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
