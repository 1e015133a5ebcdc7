"""Which number format training computes in: bfloat16 where the hardware multiplies in it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def half_precision(where: Tensor) -> torch.autocast:
    """Returns a context that runs networks in bfloat16 where a tensor's device is fast at it."""
    kind = where.device.type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=has_bfloat16(kind))


@functools.cache
def has_bfloat16(kind: str) -> bool:
    """Tells whether a sort of device multiplies in bfloat16; a CPU without it would imitate it."""
    return kind != "cpu" or bool(torch.cpu._is_avx512_bf16_supported())  # noqa: SLF001 - its only name
