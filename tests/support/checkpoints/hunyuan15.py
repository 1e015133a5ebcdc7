"""HunyuanVideo 1.5 with random weights: for text, and for a first frame.

18 megabytes, nearly all of it one projection whose width the model fixes.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLHunyuanVideo15,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideo15ImageToVideoPipeline,
    HunyuanVideo15Pipeline,
    HunyuanVideo15Transformer3DModel,
)
from diffusers.guiders import ClassifierFreeGuidance
from transformers import (
    ByT5Tokenizer,
    PreTrainedTokenizerFast,
    Qwen2_5_VLTextConfig,
    Qwen2_5_VLTextModel,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from tests.support.checkpoints.parts import TEXT_WIDTH, byte_tokenizer, t5_encoder

WIDTH = 16
IMAGE_WIDTH = 12
CHANNELS = 4
SIDE = 32
"""Of the one square size that fits."""

TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{% if m['content'] is string %}{{ m['content'] }}"
    "{% else %}{% for c in m['content'] %}{{ c['text'] }}{% endfor %}{% endif %}\n{% endfor %}"
)


def save_t2v(folder: Path) -> None:
    """In the shape of the t2v checkpoints."""
    HunyuanVideo15Pipeline(**_parts("t2v")).save_pretrained(folder)


def save_i2v(folder: Path) -> None:
    """In the shape of the i2v checkpoints: the first frame as latents, and as Siglip sees it."""
    torch.manual_seed(0)
    config = SiglipVisionConfig(
        hidden_size=IMAGE_WIDTH,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    HunyuanVideo15ImageToVideoPipeline(
        image_encoder=SiglipVisionModel(config),
        feature_extractor=SiglipImageProcessor(size={"height": 32, "width": 32}),
        **_parts("i2v"),
    ).save_pretrained(folder)


def _parts(task: str) -> dict[str, Any]:
    torch.manual_seed(0)
    vae = AutoencoderKLHunyuanVideo15(
        latent_channels=CHANNELS,
        block_out_channels=(16, 16),
        layers_per_block=1,
        spatial_compression_ratio=4,
        temporal_compression_ratio=2,
        downsample_match_channel=False,
        upsample_match_channel=False,
    )
    return {
        "text_encoder": _text_encoder(),
        "tokenizer": _tokenizer(),
        "transformer": _transformer(task),
        "vae": vae,
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=7.0),
        "text_encoder_2": t5_encoder(is_multilingual=False, vocabulary_size=400),
        "tokenizer_2": ByT5Tokenizer(),
        "guider": ClassifierFreeGuidance(guidance_scale=6.0),
    }


def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = byte_tokenizer("begin", 4096)
    tokenizer.padding_side = "right"
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def _text_encoder() -> Qwen2_5_VLTextModel:
    torch.manual_seed(0)
    rope = {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6}
    return Qwen2_5_VLTextModel(
        Qwen2_5_VLTextConfig(
            vocab_size=300,
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            rope_parameters=rope,
            pad_token_id=0,
        )
    )


def _transformer(task: str) -> HunyuanVideo15Transformer3DModel:
    torch.manual_seed(0)
    return HunyuanVideo15Transformer3DModel(
        # Noise, latents of the first frame, and the mask of given frames.
        in_channels=2 * CHANNELS + 1,
        out_channels=CHANNELS,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        num_refiner_layers=1,
        mlp_ratio=2.0,
        patch_size=1,
        patch_size_t=1,
        text_embed_dim=WIDTH,
        text_embed_2_dim=TEXT_WIDTH,
        image_embed_dim=IMAGE_WIDTH,
        rope_axes_dim=(2, 2, 4),
        target_size=SIDE,
        task_type=task,
    )
