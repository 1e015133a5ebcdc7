"""SkyReels-V2 DF with random weights, a megabyte."""

from pathlib import Path

import torch
from diffusers import SkyReelsV2DiffusionForcingPipeline, SkyReelsV2Transformer3DModel

from tests.support.checkpoints.wan import CHANNELS, shape, vae_and_text


def save(folder: Path) -> None:
    """In the shape of SkyReels-V2-DF, whose autoencoder and text encoder are those of Wan 2.1."""
    torch.manual_seed(0)
    transformer = SkyReelsV2Transformer3DModel(**shape(CHANNELS, CHANNELS), inject_sample_info=True)
    pipe = SkyReelsV2DiffusionForcingPipeline(transformer=transformer, **vae_and_text())
    pipe.save_pretrained(folder)
