"""LTX-2 with random weights: about two megabytes, picture and sound."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLLTX2Audio,
    AutoencoderKLLTX2Video,
    FlowMatchEulerDiscreteScheduler,
    LTX2Pipeline,
    LTX2VideoTransformer3DModel,
)
from diffusers.pipelines.ltx2 import LTX2LatentUpsamplerModel, LTX2TextConnectors
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    SiglipVisionConfig,
)

from tests.support.checkpoints.parts import byte_tokenizer

WIDTH = 32
CHANNELS = 8
MEL_BINS = 16
SAMPLE_RATE = 16_000
MAX_TOKENS = 1024


def save(folder: Path) -> None:
    """8 in time and 32 in space; 25 latents of sound a second; `latent_upsampler`."""
    _save(folder, _transformer())
    save_upsampler(folder / "latent_upsampler")


def save_2_5(folder: Path) -> None:
    """The transformer of 2.5, which knows keyframes, and `latent_upsampler`."""
    _save(folder, _transformer(use_keyframes_abs_pos_embedding=True))
    save_upsampler(folder / "latent_upsampler")


def save_upsampler(folder: Path, **changes: object) -> None:
    """What makes both sides of latents twice as long, unless `changes` of its settings differ."""
    torch.manual_seed(0)
    settings = {"in_channels": CHANNELS, "mid_channels": 32, "num_blocks_per_stage": 1}
    LTX2LatentUpsamplerModel(**settings | changes).save_pretrained(folder)


def _save(folder: Path, transformer: LTX2VideoTransformer3DModel) -> None:
    text_encoder = _text_encoder()
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True,
        base_shift=0.95,
        max_shift=2.05,
        base_image_seq_len=1024,
        max_image_seq_len=4096,
        shift_terminal=0.1,
    )
    LTX2Pipeline(
        scheduler=scheduler,
        vae=_vae(),
        audio_vae=_audio_vae(),
        text_encoder=text_encoder,
        tokenizer=byte_tokenizer("begin", MAX_TOKENS),
        connectors=_connectors(text_encoder.config.text_config.num_hidden_layers + 1),
        transformer=transformer,
        vocoder=_vocoder(),
    ).save_pretrained(folder)


def _text_encoder() -> Any:
    torch.manual_seed(0)
    text = Gemma3TextConfig(
        vocab_size=304,
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=64,
        max_position_embeddings=MAX_TOKENS,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=3,
    )
    vision = SiglipVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    return Gemma3ForConditionalGeneration(
        Gemma3Config(
            text_config=text,
            vision_config=vision,
            mm_tokens_per_image=4,
            image_token_index=300,
            boi_token_index=301,
            eoi_token_index=302,
        )
    )


def _transformer(**more: object) -> LTX2VideoTransformer3DModel:
    torch.manual_seed(0)
    return LTX2VideoTransformer3DModel(
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        patch_size=1,
        patch_size_t=1,
        num_attention_heads=2,
        attention_head_dim=16,
        cross_attention_dim=WIDTH,
        audio_in_channels=CHANNELS,
        audio_out_channels=CHANNELS,
        audio_num_attention_heads=2,
        audio_attention_head_dim=16,
        audio_cross_attention_dim=WIDTH,
        num_layers=2,
        qk_norm="rms_norm_across_heads",
        caption_channels=WIDTH,
        rope_double_precision=False,
        rope_type="split",
        **more,
    )


def _connectors(num_layers: int) -> LTX2TextConnectors:
    torch.manual_seed(0)
    one: dict[str, object] = {}
    for stream in ("video", "audio"):
        one |= {
            f"{stream}_connector_num_attention_heads": 4,
            f"{stream}_connector_attention_head_dim": 8,
            f"{stream}_connector_num_layers": 1,
            f"{stream}_connector_num_learnable_registers": None,
        }
    return LTX2TextConnectors(
        caption_channels=WIDTH,
        text_proj_in_factor=num_layers,
        connector_rope_base_seq_len=32,
        rope_theta=10_000.0,
        rope_double_precision=False,
        causal_temporal_positioning=False,
        rope_type="split",
        **one,
    )


def _vae() -> AutoencoderKLLTX2Video:
    torch.manual_seed(0)
    return AutoencoderKLLTX2Video(
        latent_channels=CHANNELS,
        block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        layers_per_block=(1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, True),
        decoder_spatio_temporal_scaling=(True, True, True),
        decoder_inject_noise=(False,) * 4,
        downsample_type=("spatiotemporal",) * 3,
        upsample_residual=(True,) * 3,
        upsample_factor=(1,) * 3,
        timestep_conditioning=False,
        patch_size=4,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
    )


def _audio_vae() -> AutoencoderKLLTX2Audio:
    torch.manual_seed(0)
    # Channels times bins after compression have to come to the base width and to the transformer's.
    return AutoencoderKLLTX2Audio(
        base_channels=CHANNELS,
        output_channels=2,
        ch_mult=(1, 2, 4),
        num_res_blocks=1,
        attn_resolutions=None,
        in_channels=2,
        resolution=64,
        latent_channels=2,
        norm_type="pixel",
        causality_axis="height",
        dropout=0.0,
        mid_block_add_attention=False,
        sample_rate=SAMPLE_RATE,
        mel_hop_length=160,
        is_causal=True,
        mel_bins=MEL_BINS,
    )


def _vocoder() -> LTX2Vocoder:
    torch.manual_seed(0)
    return LTX2Vocoder(
        in_channels=2 * MEL_BINS,
        hidden_channels=32,
        out_channels=2,
        upsample_kernel_sizes=[11, 4, 4, 4],
        upsample_factors=[5, 4, 4, 2],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3, 5]],
        leaky_relu_negative_slope=0.1,
        output_sampling_rate=SAMPLE_RATE,
    )
