"""The transformer of LTX-2 alone: as many of its blocks as fit, without what reads the prompt.

The whole pipeline, 19 billion weights and a text encoder of 12, leaves no room to work on one
card. The values are the defaults of `LTX2VideoTransformer3DModel` in diffusers, which are those of
Lightricks/LTX-2, with the rotary embedding split as its `config.json` says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import LTX2VideoTransformer3DModel

from models.adapters.sampling import mode_in_force
from models.modes import Mode
from tests.bench.gpu.architectures import built
from tests.bench.gpu.measure import Render, Watch, flop_of
from tests.bench.gpu.workloads import Peer, Profile, list_profiles

FILL = 0.7
"""The share of the free memory that weights may take."""

NUM_PASSES = 8
"""Of distilled weights: eight steps, unguided."""
PLAIN_PASSES = Profile("plain diffusers", Mode(num_inference_steps=NUM_PASSES))


@dataclass(frozen=True)
class Blocks:
    """One pass through a transformer of picture and sound.

    Attributes:
        config: what differs from the defaults of the class.
        latent: frames, height and width of the latent picture.
        num_sounds: latents of sound.
        num_words: tokens of the prompt.
    """

    name: str
    config: Mapping[str, Any]
    latent: tuple[int, int, int]
    num_sounds: int
    num_words: int
    peers: tuple[Peer, ...] = ()


LTX2 = Blocks(
    "ltx-2-blocks",
    {"rope_type": "split"},
    # 768x512 and 121 frames, with one latent for 32x32 pixels and 8 frames, 25 of sound a second.
    latent=(16, 16, 24),
    num_sounds=126,
    num_words=1024,
    peers=(
        Peer("SGLang", "8 steps, all of the pipeline", "1 H100", 9.52, "sgl-project/sglang#23137"),
    ),
)
TINY = Blocks(
    "tiny-blocks",
    {
        "in_channels": 8,
        "out_channels": 8,
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "cross_attention_dim": 32,
        "audio_in_channels": 8,
        "audio_out_channels": 8,
        "audio_num_attention_heads": 2,
        "audio_attention_head_dim": 16,
        "audio_cross_attention_dim": 32,
        "num_layers": 2,
        "caption_channels": 32,
        "rope_type": "split",
    },
    latent=(2, 2, 2),
    num_sounds=4,
    num_words=8,
)


def build_blocks(blocks: Blocks, device: str) -> tuple[Any, int, int]:
    """Something with a transformer on `device`; how many blocks it has, and how many are whole."""
    whole = built(partial(LTX2VideoTransformer3DModel, **blocks.config), torch.bfloat16, "meta")
    num_all = num_layers = whole.config.num_layers
    if torch.device(device).type == "cuda":
        num_bytes = sum(weight.nbytes for weight in whole.parameters())
        room = torch.cuda.mem_get_info(device)[0] * FILL / num_bytes
        num_layers = max(1, min(num_all, int(num_all * room)))
    config = {**blocks.config, "num_layers": num_layers}
    torch.manual_seed(0)
    transformer = built(partial(LTX2VideoTransformer3DModel, **config), _dtype(device), device)
    return SimpleNamespace(transformer=transformer), num_layers, num_all


def list_block_profiles() -> list[Profile]:
    """Those ways of sampling that a single pass can tell apart."""
    return [
        profile
        for profile in list_profiles(NUM_PASSES)
        if profile.is_whole and (profile.mode.compile or profile.mode.attention)
    ]


def pass_render(pipe: Any, blocks: Blocks, profile: Profile, device: str) -> Render:
    """Passes one after another, each marked as a step; nothing is decoded."""
    arguments = make_arguments(pipe.transformer, blocks, device)
    is_cuda = torch.device(device).type == "cuda"

    def render(num_steps: int, watch: Watch) -> None:
        with torch.no_grad(), mode_in_force(pipe, profile.mode, on_gpu=is_cuda):
            for index in range(num_steps):
                pipe.transformer(**arguments)
                watch.step(index + 1, num_steps)

    return render


def make_arguments(transformer: Any, blocks: Blocks, device: str) -> dict[str, Any]:
    """What the pipeline gives the transformer for one clip without guidance."""
    config, dtype = transformer.config, _dtype(device)
    frames, height, width = blocks.latent

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(1, *shape, device=device, dtype=dtype)

    mask = torch.ones(1, blocks.num_words, device=device, dtype=dtype)
    time = torch.full((1,), 500.0, device=device)
    return {
        "hidden_states": noise(frames * height * width, config.in_channels),
        "audio_hidden_states": noise(blocks.num_sounds, config.audio_in_channels),
        "encoder_hidden_states": noise(blocks.num_words, config.caption_channels),
        "audio_encoder_hidden_states": noise(blocks.num_words, config.caption_channels),
        "timestep": time,
        "sigma": time,
        "encoder_attention_mask": mask,
        "audio_encoder_attention_mask": mask,
        "num_frames": frames,
        "height": height,
        "width": width,
        "fps": 24.0,
        "audio_num_frames": blocks.num_sounds,
        "return_dict": False,
    }


def flop_of_pass(pipe: Any, blocks: Blocks, device: str) -> int:
    """Operations of one pass."""
    return flop_of(pipe.transformer, make_arguments(pipe.transformer, blocks, device))


def _dtype(device: str) -> torch.dtype:
    return torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16
