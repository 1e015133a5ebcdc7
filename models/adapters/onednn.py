"""Convolutions over time and space on a CPU, all through oneDNN.

PyTorch picks its own slower loop for a 3D convolution of a batch of one that it takes for small
(`ConvParams::use_mkldnn`, PyTorch 2.13): one clip of 64x64 then decodes half as fast as one of two.
Weights with their channels last spare oneDNN from turning every tensor round before and after, and
a norm over channels reads what lies side by side.
"""

from types import MethodType

import torch


def convolve_by_onednn(model: torch.nn.Module) -> None:
    """Have every `Conv3d` of `model`, which works on a CPU, use oneDNN in float32, for good."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for part in model.modules():
        if isinstance(part, torch.nn.Conv3d) and part.padding_mode == "zeros":
            part.weight.data = part.weight.to(memory_format=torch.channels_last_3d)
            part._conv_forward = MethodType(_convolve, part)  # type: ignore[method-assign]  # noqa: SLF001


def _convolve(
    conv: torch.nn.Conv3d, pixels: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """As `Conv3d` does: [N, C, T, H, W] to [N, C', T', H', W']."""
    if pixels.dtype != torch.float32 or isinstance(conv.padding, str):
        return torch.nn.functional.conv3d(
            pixels, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups
        )
    answer: torch.Tensor = torch.ops.aten.mkldnn_convolution(
        pixels, weight, bias, conv.padding, conv.stride, conv.dilation, conv.groups
    )
    return answer
