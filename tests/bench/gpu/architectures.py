"""Wan from its configuration alone, with random weights, built where it computes.

Speed and memory do not depend on what weights say, only on their shapes. The values of the two
models are those of the `config.json` files in Wan-AI/Wan2.1-T2V-1.3B-Diffusers and
Wan-AI/Wan2.2-TI2V-5B-Diffusers, as `scripts/convert_wan_to_diffusers.py` in huggingface/diffusers
writes them (the 5B's width and depth: `wan/configs/wan_ti2v_5B.py` in Wan-Video/Wan2.2); those of
the text encoder are google/umt5-xxl. The statistics of latents are left out: they cost nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    ModelMixin,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import UMT5Config, UMT5EncoderModel

from tests.support.checkpoints.parts import VOCABULARY_SIZE, byte_tokenizer


@dataclass(frozen=True)
class Architecture:
    """Arguments of the classes that a Wan pipeline is made of.

    Attributes:
        expand_timesteps: a time for every token, as weights that also begin with a frame want it.
    """

    transformer: Mapping[str, Any]
    vae: Mapping[str, Any]
    text_encoder: Mapping[str, Any]
    flow_shift: float
    expand_timesteps: bool = False


_WAN = {
    "patch_size": (1, 2, 2),
    "attention_head_dim": 128,
    "text_dim": 4096,
    "freq_dim": 256,
    "num_layers": 30,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "eps": 1e-6,
}
_UMT5_XXL = {
    "vocab_size": 256_384,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10_240,
    "num_layers": 24,
    "num_heads": 64,
}
WAN_21_1B3 = Architecture(
    transformer=_WAN
    | {"num_attention_heads": 12, "ffn_dim": 8960, "in_channels": 16, "out_channels": 16},
    vae={},  # the defaults of the class
    text_encoder=_UMT5_XXL,
    flow_shift=3.0,
)
WAN_22_5B = Architecture(
    transformer=_WAN
    | {"num_attention_heads": 24, "ffn_dim": 14_336, "in_channels": 48, "out_channels": 48},
    vae={
        "base_dim": 160,
        "decoder_base_dim": 256,
        "z_dim": 48,
        "is_residual": True,
        "in_channels": 12,
        "out_channels": 12,
        "patch_size": 2,
        "scale_factor_spatial": 16,
        "scale_factor_temporal": 4,
        "latents_mean": [0.0] * 48,
        "latents_std": [1.0] * 48,
    },
    text_encoder=_UMT5_XXL,
    flow_shift=5.0,
    expand_timesteps=True,
)
WAN_22_A14B = Architecture(
    # One of its two experts, which are alike: `wan/configs/wan_t2v_A14B.py` in Wan-Video/Wan2.2.
    transformer=_WAN
    | {
        "num_layers": 40,
        "num_attention_heads": 40,
        "ffn_dim": 13_824,
        "in_channels": 16,
        "out_channels": 16,
    },
    vae={},
    text_encoder=_UMT5_XXL,
    flow_shift=3.0,
)

_TINY = _WAN | {"attention_head_dim": 24, "text_dim": 32, "freq_dim": 32, "num_layers": 2}
_TINY_T5 = {
    "vocab_size": VOCABULARY_SIZE,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 1,
    "num_heads": 4,
}
TINY_21 = Architecture(
    transformer=_TINY
    | {"num_attention_heads": 2, "ffn_dim": 64, "in_channels": 4, "out_channels": 4},
    vae={
        "base_dim": 4,
        "z_dim": 4,
        "num_res_blocks": 1,
        "latents_mean": [0.0] * 4,
        "latents_std": [1.0] * 4,
    },
    text_encoder=_TINY_T5,
    flow_shift=3.0,
)
TINY_22 = Architecture(
    transformer=_TINY
    | {"num_attention_heads": 2, "ffn_dim": 64, "in_channels": 12, "out_channels": 12},
    vae={
        **WAN_22_5B.vae,
        "base_dim": 4,
        "decoder_base_dim": 4,
        "z_dim": 12,
        "num_res_blocks": 1,
        "latents_mean": [0.0] * 12,
        "latents_std": [1.0] * 12,
    },
    text_encoder=_TINY_T5,
    flow_shift=5.0,
    expand_timesteps=True,
)


def build_wan(architecture: Architecture, device: str) -> Any:
    """The stock pipeline on `device`: bfloat16 on a GPU but for the autoencoder, else float32."""
    torch.manual_seed(0)
    dtype = torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16
    transformer = built(lambda: WanTransformer3DModel(**architecture.transformer), dtype, device)
    vae = built(lambda: AutoencoderKLWan(**architecture.vae), torch.float32, device)
    config = UMT5Config(
        **architecture.text_encoder, feed_forward_proj="gated-gelu", dropout_rate=0.0
    )
    pipe = WanPipeline(
        # A prompt is padded to 512 tokens whoever counts them.
        tokenizer=byte_tokenizer(),
        text_encoder=built(lambda: UMT5EncoderModel(config), dtype, device),
        vae=vae,
        transformer=transformer,
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction",
            use_flow_sigmas=True,
            flow_shift=architecture.flow_shift,
        ),
        expand_timesteps=architecture.expand_timesteps,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def built(make: Callable[[], Any], dtype: torch.dtype, device: str) -> Any:
    """What `make` makes, ready for inference, without a copy in host memory.

    Weights that `from_pretrained` of diffusers would keep in float32 are float32.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            module = make()
    finally:
        torch.set_default_dtype(before)
    if isinstance(module, ModelMixin):
        precise = set(module._keep_in_fp32_modules or ())
        for name, weight in module.named_parameters():
            if precise & set(name.split(".")):
                weight.data = weight.data.float()
    return module.eval().requires_grad_(requires_grad=False)
