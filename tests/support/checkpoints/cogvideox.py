"""CogVideoX with random weights, about a megabyte: for text, and for a first frame."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
)

from tests.support.checkpoints.parts import TEXT_WIDTH, byte_tokenizer, t5_encoder

CHANNELS = 4
MAX_TOKENS = 32


def save_t2v(folder: Path) -> None:
    """In the shape of CogVideoX-2b."""
    CogVideoXPipeline(transformer=_transformer(CHANNELS), **_rest()).save_pretrained(folder)


def save_i2v(folder: Path) -> None:
    """In the shape of CogVideoX-5b-I2V: noise beside the latents of the first frame."""
    pipe = CogVideoXImageToVideoPipeline(transformer=_transformer(2 * CHANNELS), **_rest())
    pipe.save_pretrained(folder)


def _rest() -> dict[str, Any]:
    torch.manual_seed(0)
    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=CHANNELS,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
        sample_height=64,
        sample_width=64,
    )
    scheduler = CogVideoXDDIMScheduler(
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
        snr_shift_scale=1.0,
    )
    return {
        "tokenizer": byte_tokenizer(max_length=MAX_TOKENS),
        "text_encoder": t5_encoder(is_multilingual=False),
        "vae": vae,
        "scheduler": scheduler,
    }


def _transformer(in_channels: int) -> CogVideoXTransformer3DModel:
    torch.manual_seed(0)
    return CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=in_channels,
        out_channels=CHANNELS,
        time_embed_dim=8,
        text_embed_dim=TEXT_WIDTH,
        num_layers=2,
        sample_width=4,
        sample_height=8,
        sample_frames=9,
        patch_size=2,
        temporal_compression_ratio=4,
        max_text_seq_length=MAX_TOKENS,
        use_rotary_positional_embeddings=True,
    )
