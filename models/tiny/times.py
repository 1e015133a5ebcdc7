"""How long one clip takes, and how much of it is denoising: the rest is mostly decoding."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from models.tiny.untyped import Pipeline

NUM_ROUNDS = 5


@dataclass(frozen=True)
class Times:
    """Seconds of one warm clip: all of it, and without decoding."""

    clip_s: float
    denoise_s: float


def measure_times(pipeline: Pipeline, prompt: str, arguments: dict[str, Any]) -> Times:
    """Makes one clip several times over.

    Args:
        pipeline: What makes it.
        prompt: Its caption.
        arguments: All else that the pipeline is called with.

    Returns:
        The medians, after a round that warms up.
    """
    rounds = [
        (
            _seconds(pipeline, prompt, arguments),
            _seconds(pipeline, prompt, arguments | {"output_type": "latent"}),
        )
        for _ in range(NUM_ROUNDS + 1)
    ]
    clip_s, denoise_s = map(statistics.median, zip(*rounds[1:], strict=True))
    return Times(clip_s, denoise_s)


def _seconds(pipeline: Pipeline, prompt: str, arguments: dict[str, Any]) -> float:
    started = time.perf_counter()
    pipeline(prompt=prompt, generator=torch.Generator().manual_seed(0), **arguments)
    return time.perf_counter() - started
