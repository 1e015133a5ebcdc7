"""The frame half-way between two frames: IFNet of RIFE HDv3 (Huang et al. 2022).

The network knows no time but the middle, so other times are found by halving again.
"""

from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from models.pipeline import Frame

TIME_TOLERANCE = Fraction(1, 32)
"""How far, in source frames, an interpolated frame may be from the time asked for."""

_WIDTH = 90
_SCALES = (4, 2, 1)
_SIZE_MULTIPLE = 32
_FLOW_CHANNELS = 4


def _convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=1), nn.PReLU(out_channels)
    )


def _head(out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(_WIDTH, _WIDTH // 2, 4, 2, 1),
        nn.PReLU(_WIDTH // 2),
        nn.ConvTranspose2d(_WIDTH // 2, out_channels, 4, 2, 1),
    )


class _Block(nn.Module):
    """Corrects flow and mask at one scale; the names are those of the weight file."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(
            _convolution(7 + _FLOW_CHANNELS, _WIDTH // 2, 2), _convolution(_WIDTH // 2, _WIDTH, 2)
        )
        for index in range(4):
            pair = nn.Sequential(_convolution(_WIDTH, _WIDTH), _convolution(_WIDTH, _WIDTH))
            self.add_module(f"convblock{index}", pair)
        self.conv1 = _head(_FLOW_CHANNELS)
        self.conv2 = _head(1)

    @override
    def forward(self, images: Tensor, flow: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        small = torch.cat((_resize(images, 1 / scale), _resize(flow, 1 / scale) / scale), 1)
        features = self.conv0(small)
        for index in range(4):
            features = self.get_submodule(f"convblock{index}")(features) + features
        return (
            _resize(self.conv1(features), scale) * scale,
            _resize(self.conv2(features), scale),
        )


class Interpolator(nn.Module):
    """Two frames to the one between them."""

    def __init__(self) -> None:
        super().__init__()
        self.block0, self.block1, self.block2 = _Block(), _Block(), _Block()

    @override
    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """`first`, `second`: [N, 3, H, W] in [0, 1], sides multiples of 32; gives the same."""
        flow = torch.zeros_like(first[:, :1]).repeat(1, _FLOW_CHANNELS, 1, 1)
        mask = torch.zeros_like(first[:, :1])
        from_first, from_second = first, second
        for block, scale in zip((self.block0, self.block1, self.block2), _SCALES, strict=True):
            ahead = block(torch.cat((from_first, from_second, mask), 1), flow, scale)
            back = block(torch.cat((from_second, from_first, -mask), 1), _swap(flow), scale)
            flow = flow + (ahead[0] + _swap(back[0])) / 2
            mask = mask + (ahead[1] - back[1]) / 2
            from_first = _warp(first, flow[:, :2])
            from_second = _warp(second, flow[:, 2:])
        share = mask.sigmoid()
        return from_first * share + from_second * (1 - share)

    def between(self, first: Frame, second: Frame, time: Fraction) -> Frame:
        """The frame at `time` (0 is `first`, 1 is `second`), to `TIME_TOLERANCE`."""
        start, end = Fraction(0), Fraction(1)
        while True:
            if abs(time - start) <= TIME_TOLERANCE or abs(time - end) <= TIME_TOLERANCE:
                return first if abs(time - start) <= abs(time - end) else second
            middle_at, middle = (start + end) / 2, self._middle(first, second)
            if time < middle_at:
                end, second = middle_at, middle
            else:
                start, first = middle_at, middle

    def _middle(self, first: Frame, second: Frame) -> Frame:
        height, width = first.shape[:2]
        result = self(self._to_tensor(first), self._to_tensor(second))[0, :, :height, :width]
        pixels = result.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0)
        return np.asarray(pixels.contiguous().cpu().numpy(), np.uint8)

    def _to_tensor(self, frame: Frame) -> Tensor:
        device = next(self.parameters()).device
        tensor = torch.from_numpy(np.ascontiguousarray(frame)).to(device).permute(2, 0, 1)
        image = tensor.unsqueeze(0).float() / 255
        right, below = (-frame.shape[1]) % _SIZE_MULTIPLE, (-frame.shape[0]) % _SIZE_MULTIPLE
        return functional.pad(image, (0, right, 0, below), mode="replicate")


def load_interpolator(weights: Path, device: str) -> Interpolator:
    """RIFE HDv3 on `device`, from its `flownet.pkl`; nothing in the file is executed.

    Raises:
        RuntimeError: the file holds another network.
    """
    saved = torch.load(weights, map_location="cpu", weights_only=True)
    named = {name.removeprefix("module."): value for name, value in saved.items()}
    # The teacher block is for training only.
    student = {name: value for name, value in named.items() if not name.startswith("block_tea")}
    model = Interpolator()
    model.load_state_dict(student)
    return model.to(device).eval().requires_grad_(requires_grad=False)


def _resize(image: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return image
    return functional.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False)


def _swap(flow: Tensor) -> Tensor:
    return torch.cat((flow[:, 2:], flow[:, :2]), 1)


def _warp(image: Tensor, flow: Tensor) -> Tensor:
    """`image` read at every pixel plus `flow` ([N, 2, H, W], x then y, in pixels)."""
    height, width = image.shape[2:]
    x = torch.arange(width, device=image.device) + flow[:, 0]
    y = torch.arange(height, device=image.device).unsqueeze(1) + flow[:, 1]
    grid = torch.stack((x * 2 / (width - 1) - 1, y * 2 / (height - 1) - 1), -1)
    return functional.grid_sample(
        image, grid, mode="bilinear", padding_mode="border", align_corners=True
    )
