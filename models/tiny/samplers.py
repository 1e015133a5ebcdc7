"""Loads a checkpoint as the stock pipelines, and says how it is sampled."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from models.tiny.config import NUM_FAST_STEPS
from models.tiny.export import FAST
from models.tiny.untyped import (
    AutoencoderKLWan,
    Pipeline,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)

if TYPE_CHECKING:
    from models.tiny.tracks import Stage

CHECKPOINT = Path(__file__).parent / "checkpoint"
"""The folder that both stock pipelines load."""

SAMPLING: dict[str, Any] = {
    "num_inference_steps": 12,
    "guidance_scale": 2.5,
    # Five hundred padding embeddings cost more than the video and change nothing.
    "max_sequence_length": 64,
    "output_type": "np",
}
"""Arguments of every pipeline call besides the size, unless told otherwise."""


def arguments_for(stage: Stage, **sampling: object) -> dict[str, Any]:
    """Returns what a pipeline is called with, besides prompt and generator.

    Args:
        stage: Size and length of the clip.
        **sampling: Entries of `SAMPLING` to replace.
    """
    size = {"width": stage.width, "height": stage.height, "num_frames": stage.num_frames}
    return SAMPLING | size | sampling


def load_pipelines(checkpoint: Path) -> tuple[Pipeline, Pipeline]:
    """Loads one folder as both stock pipelines, in float32 on the CPU, from disk only."""
    loaded = [
        kind.from_pretrained(checkpoint, dtype=torch.float32, local_files_only=True)
        for kind in (WanPipeline, WanImageToVideoPipeline)
    ]
    for pipeline in loaded:
        pipeline.set_progress_bar_config(disable=True)
    return loaded[0], loaded[1]


def load_fast(checkpoint: Path, pipeline: Pipeline) -> tuple[Pipeline, dict[str, Any]]:
    """Returns the four-step profile of a checkpoint.

    Args:
        checkpoint: The folder; its part `fast` holds the distilled transformer, and maybe an
            autoencoder that decodes faster.
        pipeline: The text-to-video pipeline of the same folder, whose other parts are shared.

    Returns:
        A pipeline and the arguments that go with it: four steps without guidance. Where nothing was
        distilled, the given pipeline with four of its own steps.
    """
    folder = checkpoint / FAST
    if not folder.exists():
        return pipeline, {"num_inference_steps": NUM_FAST_STEPS}
    fast = copy.copy(pipeline)
    fast.register_modules(
        transformer=WanTransformer3DModel.from_pretrained(
            folder / "transformer", torch_dtype=torch.float32, local_files_only=True
        ),
        scheduler=UniPCMultistepScheduler.from_pretrained(
            folder / "scheduler", local_files_only=True
        ),
    )
    if (folder / "vae").exists():
        vae = AutoencoderKLWan.from_pretrained(
            folder / "vae", torch_dtype=torch.float32, local_files_only=True
        )
        fast.register_modules(vae=vae)
    return fast, {"num_inference_steps": NUM_FAST_STEPS, "guidance_scale": 1.0}
