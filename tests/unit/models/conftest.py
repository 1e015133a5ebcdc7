"""A stand-in for a Wan checkpoint: real classes, random weights, about a megabyte."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from models.catalog import ModelCard
from models.pipeline import StepCallback
from models.spec import Kind, Stage, VideoSpec

CHANNELS = 12
TEXT_WIDTH = 32
SPECIALS = ["<pad>", "</s>", "<unk>"]


def _tokenizer() -> PreTrainedTokenizerFast:
    """Byte by byte, so that any prompt has tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(SPECIALS + letters)}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def _vae() -> AutoencoderKLWan:
    """The compression of TI2V-5B: 16 in space, 4 in time."""
    return AutoencoderKLWan(
        base_dim=4,
        decoder_base_dim=4,
        z_dim=CHANNELS,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[True, True],
        is_residual=True,
        patch_size=4,
        in_channels=48,
        out_channels=48,
        scale_factor_spatial=16,
        scale_factor_temporal=4,
        latents_mean=[0.1] * CHANNELS,
        latents_std=[2.0] * CHANNELS,
    )


def _transformer() -> WanTransformer3DModel:
    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=24,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        text_dim=TEXT_WIDTH,
        freq_dim=32,
        ffn_dim=64,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )


def _text_encoder() -> UMT5EncoderModel:
    config = UMT5Config(
        vocab_size=len(SPECIALS) + 256,
        d_model=TEXT_WIDTH,
        d_kv=8,
        d_ff=64,
        num_layers=1,
        num_heads=4,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        pad_token_id=0,
        eos_token_id=1,
    )
    return UMT5EncoderModel(config)


@pytest.fixture(scope="session")
def wan_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fixture checkpoint with random weights: its clips are noise, its shapes are Wan's."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    pipe = WanPipeline(
        tokenizer=_tokenizer(),
        text_encoder=_text_encoder(),
        vae=_vae(),
        scheduler=scheduler,
        transformer=_transformer(),
        expand_timesteps=True,
    )
    folder = tmp_path_factory.mktemp("wan-random-weights")
    pipe.save_pretrained(folder)
    return folder


CardFactory = Callable[..., ModelCard]
SpecFactory = Callable[..., VideoSpec]


@pytest.fixture(scope="session")
def make_card(wan_folder: Path) -> CardFactory:
    """A card of the fixture checkpoint; keywords replace fields."""

    def make(**changes: object) -> ModelCard:
        fields: dict[str, object] = {
            "id": "wan-random",
            "title": "Random weights",
            "adapter": "models.adapters.wan:WanAdapter",
            "checkpoint": str(wan_folder),
            "licence": "Apache-2.0",
            "kinds": ["text_to_video", "image_to_video"],
            "sizes": ["64x96", "64x64"],
            "size_multiple": 32,
            "fps": [8],
            "seconds": [1],
            "num_frames": {"multiple": 4, "offset": 1, "min": 5, "max": 17},
            "num_inference_steps": {"min": 2, "max": 8, "default": 3},
            "modes": {"standard": 8},
            "guidance_scale": {"min": 1.0, "max": 8.0, "default": 3.0},
            "max_prompt_chars": 100,
            "max_batch": 4,
            "deadline_s": 60,
            "options": {"max_sequence_length": 32},
        }
        return ModelCard.model_validate(fields | changes)

    return make


@pytest.fixture(scope="session")
def make_spec() -> SpecFactory:
    """A spec that the fixture card allows; keywords replace fields."""

    def make(**changes: object) -> VideoSpec:
        fields: dict[str, object] = {
            "kind": Kind.TEXT_TO_VIDEO,
            "model": "wan-random",
            "prompt": "a red fox runs",
            "width": 64,
            "height": 96,
            "num_frames": 9,
            "fps": 8,
            "num_inference_steps": 3,
            "guidance_scale": 3.0,
            "seed": 7,
        }
        return VideoSpec.model_validate(fields | changes)

    return make


Steps = list[tuple[Stage, int, int]]


@pytest.fixture
def steps() -> Steps:
    """The calls of `note_step`, in order."""
    return []


@pytest.fixture
def note_step(steps: Steps) -> StepCallback:
    """A step callback that remembers its calls."""
    return lambda *step: steps.append(step)


@pytest.fixture
def ignore_steps() -> StepCallback:
    """A step callback that never stops anything."""
    return lambda _stage, _done, _total: None


@pytest.fixture
def forbid_steps() -> StepCallback:
    """A step callback for what must be refused before any work."""

    def fail(stage: Stage, done: int, total: int) -> None:
        pytest.fail(f"work began: {stage} {done}/{total}")

    return fail
