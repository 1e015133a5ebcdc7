"""Wan with random weights, about a megabyte a checkpoint: TI2V, T2V, two experts, I2V, VACE."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
    WanVACEPipeline,
    WanVACETransformer3DModel,
)
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

from tests.support.checkpoints.parts import TEXT_WIDTH, byte_tokenizer, t5_encoder

TI2V_CHANNELS = 12
CHANNELS = 4
CLIP_WIDTH = 16


def save_ti2v(folder: Path) -> None:
    """In the shape of Wan 2.2 TI2V-5B: one folder for text and for a first frame."""
    torch.manual_seed(0)
    vae = AutoencoderKLWan(
        base_dim=4,
        decoder_base_dim=4,
        z_dim=TI2V_CHANNELS,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[True, True],
        is_residual=True,
        patch_size=4,
        in_channels=48,
        out_channels=48,
        scale_factor_spatial=16,
        scale_factor_temporal=4,
        latents_mean=[0.1] * TI2V_CHANNELS,
        latents_std=[2.0] * TI2V_CHANNELS,
    )
    WanPipeline(
        vae=vae,
        transformer=_transformer(TI2V_CHANNELS, TI2V_CHANNELS),
        expand_timesteps=True,
        **_rest(),
    ).save_pretrained(folder)


def save_t2v(folder: Path) -> None:
    """In the shape of Wan 2.1 T2V."""
    pipe = WanPipeline(vae=_vae(), transformer=_transformer(CHANNELS, CHANNELS), **_rest())
    pipe.save_pretrained(folder)


def save_two_experts(folder: Path) -> None:
    """In the shape of Wan 2.2 T2V-A14B: one transformer for high noise, another for low."""
    WanPipeline(
        vae=_vae(),
        transformer=_transformer(CHANNELS, CHANNELS),
        transformer_2=_transformer(CHANNELS, CHANNELS, seed=1),
        boundary_ratio=0.875,
        **_rest(),
    ).save_pretrained(folder)


def save_i2v(folder: Path) -> None:
    """In the shape of Wan 2.1 I2V: the first frame as latents, and as CLIP sees it."""
    _save_with_clip(folder)


def save_flf2v(folder: Path) -> None:
    """In the shape of Wan 2.1 FLF2V: CLIP sees the first and the last frame."""
    # Four patches and the class of each picture.
    _save_with_clip(folder, pos_embed_seq_len=2 * 5)


def save_plain_i2v(folder: Path) -> None:
    """In the shape of Wan 2.2 I2V-A14B: given frames as latents alone, two experts."""
    shape = (2 * CHANNELS + 4, CHANNELS)
    WanImageToVideoPipeline(
        vae=_vae(),
        transformer=_transformer(*shape),
        transformer_2=_transformer(*shape, seed=1),
        boundary_ratio=0.9,
        **_rest(),
    ).save_pretrained(folder)


def _save_with_clip(folder: Path, **more: int) -> None:
    torch.manual_seed(2)
    config = CLIPVisionConfig(
        hidden_size=CLIP_WIDTH,
        intermediate_size=32,
        projection_dim=CLIP_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    crop = {"height": 32, "width": 32}
    WanImageToVideoPipeline(
        vae=_vae(),
        # Noise, the mask of given frames (one channel for each of four frames), given frames.
        transformer=_transformer(2 * CHANNELS + 4, CHANNELS, image_dim=CLIP_WIDTH, **more),
        image_encoder=CLIPVisionModel(config),
        image_processor=CLIPImageProcessor(crop_size=crop, size={"shortest_edge": 32}),
        **_rest(),
    ).save_pretrained(folder)


def save_vace(folder: Path) -> None:
    """In the shape of Wan 2.1 VACE: a control branch beside the transformer."""
    torch.manual_seed(3)
    # Kept and changeable parts of the given video, and 8 x 8 pixels of mask for each latent one.
    control = 2 * CHANNELS + 64
    transformer = WanVACETransformer3DModel(
        vace_layers=[0], vace_in_channels=control, **shape(CHANNELS, CHANNELS)
    )
    # Random weights would hardly listen to what they are given.
    for part in (transformer.vace_patch_embedding, transformer.vace_blocks):
        for weight in part.parameters():
            weight.data *= 4
    pipe = WanVACEPipeline(vae=_vae(), transformer=transformer, **_rest())
    pipe.save_pretrained(folder)


def vae_and_text() -> dict[str, Any]:
    """What Wan 2.1 has beside its transformer."""
    return {"vae": _vae(), **_rest()}


def _rest() -> dict[str, Any]:
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    return {
        "tokenizer": byte_tokenizer(),
        "text_encoder": t5_encoder(is_multilingual=True),
        "scheduler": scheduler,
    }


def _vae() -> AutoencoderKLWan:
    """The compression of Wan 2.1: 8 in space, 4 in time."""
    torch.manual_seed(4)
    return AutoencoderKLWan(
        base_dim=4,
        z_dim=CHANNELS,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.1] * CHANNELS,
        latents_std=[2.0] * CHANNELS,
    )


def _transformer(
    in_channels: int, out_channels: int, *, seed: int = 0, **more: object
) -> WanTransformer3DModel:
    torch.manual_seed(seed)
    return WanTransformer3DModel(**shape(in_channels, out_channels), **more)


def shape(in_channels: int, out_channels: int) -> dict[str, Any]:
    """A transformer of two blocks."""
    return {
        "patch_size": (1, 2, 2),
        "num_attention_heads": 2,
        "attention_head_dim": 24,
        "in_channels": in_channels,
        "out_channels": out_channels,
        "text_dim": TEXT_WIDTH,
        "freq_dim": 32,
        "ffn_dim": 64,
        "num_layers": 2,
        "cross_attn_norm": True,
        "qk_norm": "rms_norm_across_heads",
        "rope_max_seq_len": 32,
    }
