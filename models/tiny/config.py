"""The architecture of the tiny pipeline: the classes of Wan 2.2 TI2V-5B, a thousandth of the size.

The spatial and temporal compression (16 and 4), the patch size of the transformer and the expanded
timesteps are those of TI2V-5B, so a gateway's size rules hold for both. Everything else is shrunk.
"""

from __future__ import annotations

from typing import Any

import torch

from models.tiny.untyped import (
    AutoencoderKLWan,
    Scheduler,
    TextEncoder,
    Transformer,
    UMT5Config,
    UMT5EncoderModel,
    UniPCMultistepScheduler,
    Vae,
    WanTransformer3DModel,
)

LATENT_CHANNELS = 24
"""Channels of a latent; one 64x64 clip of 17 frames becomes `[24, 5, 4, 4]`.

Of 48, half said nothing, and all of them filled the width of the transformer.
"""

TEXT_WIDTH = 128
"""Width of a text embedding."""

FLOW_SHIFT = 3.0
"""Timestep shift, the same in training and in the scheduler."""

NUM_FAST_STEPS = 4
"""Steps of the distilled sampler."""

NUM_FAST_BLOCKS = 8
"""Blocks of the distilled transformer."""

FAST_DECODER_WIDTH = 16
"""Width of the decoder that goes with it, half of the other: it takes half of the time."""

INITIAL_LOG_VARIANCE = -4.0
"""Log variance of an untrained posterior; at 0 the noise swamps the signal and training stalls."""

INITIAL_GATE = 0.3
"""Residual gate of an untrained transformer block."""

VAE_CONFIG: dict[str, Any] = {
    "base_dim": 24,
    "decoder_base_dim": 32,
    "z_dim": LATENT_CHANNELS,
    "dim_mult": [1, 2, 2],
    "num_res_blocks": 1,
    # The spelling is diffusers' own.
    "temperal_downsample": [True, True],
    "is_residual": True,
    "patch_size": 4,
    "in_channels": 48,
    "out_channels": 48,
    # Not derived by the class: patch size times two spatial downsamplings, and two temporal ones.
    "scale_factor_spatial": 16,
    "scale_factor_temporal": 4,
    "latents_mean": [0.0] * LATENT_CHANNELS,
    "latents_std": [1.0] * LATENT_CHANNELS,
}

TRANSFORMER_CONFIG: dict[str, Any] = {
    # The pipelines thin the timestep mask by two in each direction, whatever this says.
    "patch_size": (1, 2, 2),
    "num_attention_heads": 5,
    "attention_head_dim": 32,
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "text_dim": TEXT_WIDTH,
    "freq_dim": 128,
    "ffn_dim": 480,
    "num_layers": 11,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "eps": 1e-6,
    "rope_max_seq_len": 64,
}

TEXT_ENCODER_CONFIG: dict[str, Any] = {
    "d_model": TEXT_WIDTH,
    "d_kv": 32,
    "d_ff": 256,
    "num_layers": 2,
    "num_heads": 4,
    "dropout_rate": 0.0,
    "feed_forward_proj": "gated-gelu",
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
}


def build_vae(**overrides: object) -> Vae:
    """Builds an untrained autoencoder whose posterior starts out narrow.

    Args:
        **overrides: Entries of `VAE_CONFIG` to replace, for a smaller one in a test.

    Returns:
        A float32 autoencoder: video `[N, 3, 4k+1, 16h, 16w]` in [-1, 1] to latents
        `[N, 24, k+1, h, w]`.
    """
    vae = AutoencoderKLWan(**(VAE_CONFIG | overrides))
    num_channels = vae.config.z_dim
    with torch.no_grad():
        vae.quant_conv.bias[num_channels:] = INITIAL_LOG_VARIANCE
        vae.quant_conv.weight[num_channels:] *= 0.1
    return vae


def build_transformer(**overrides: object) -> Transformer:
    """Builds an untrained transformer that predicts zero whatever the timestep.

    Starting from zero output, with the timestep switched off and the gates low, made the first
    hundred steps smooth.

    Args:
        **overrides: Entries of `TRANSFORMER_CONFIG` to replace, for a smaller one in a test.

    Returns:
        A float32 transformer on latents `[N, 24, T, H, W]`, H and W even, timesteps
        `[N, T * H/2 * W/2]` in 0..1000 and text embeddings `[N, L, 128]`.
    """
    transformer = WanTransformer3DModel(**(TRANSFORMER_CONFIG | overrides))
    embedder = transformer.condition_embedder
    with torch.no_grad():
        for layer in (transformer.proj_out, embedder.time_proj):
            layer.weight.zero_()
            layer.bias.zero_()
        for block in transformer.blocks:
            # Six rows: shift, scale and gate of self-attention, then those of the feed-forward.
            block.scale_shift_table.zero_()
            block.scale_shift_table[:, [2, 5]] = INITIAL_GATE
    return transformer


def build_text_encoder(vocab_size: int, **overrides: object) -> TextEncoder:
    """Builds an untrained text encoder.

    Args:
        vocab_size: Number of tokens of the tokenizer.
        **overrides: Entries of `TEXT_ENCODER_CONFIG` to replace, for a smaller one in a test.

    Returns:
        A float32 encoder: token ids `[N, L]` to embeddings `[N, L, 128]`.
    """
    config = UMT5Config(vocab_size=vocab_size, **(TEXT_ENCODER_CONFIG | overrides))
    return UMT5EncoderModel(config)


def build_scheduler() -> Scheduler:
    """Builds the sampler of the shipped pipeline: UniPC on a flow with shift 3."""
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=FLOW_SHIFT,
        num_train_timesteps=1000,
        solver_order=2,
    )


def build_fast_scheduler() -> Scheduler:
    """Builds the sampler of the distilled transformer: plain Euler steps on the same flow.

    First order without its corrector is what makes UniPC that. `FlowMatchEulerDiscreteScheduler`
    would spend the last of four steps on a noise level of 0.009.
    """
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=FLOW_SHIFT,
        num_train_timesteps=1000,
        solver_order=1,
        disable_corrector=list(range(NUM_FAST_STEPS)),
    )
