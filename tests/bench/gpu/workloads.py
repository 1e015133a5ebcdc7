"""What is rendered, in which ways, and what others have published about the same.

Figures of others are of other machines and other days: they say where one stands, no more.
"""

from dataclasses import dataclass

from models.card import ModelCard
from models.modes import Compilation, Mode, StepCache
from tests.bench.gpu.architectures import (
    TINY_21,
    TINY_22,
    WAN_21_1B3,
    WAN_22_5B,
    Architecture,
)

GUIDANCE = 5.0
FEW_STEPS = 4
"""As distilled weights take; those run without guidance."""


@dataclass(frozen=True)
class Peer:
    """A published figure: `clip_s` seconds end to end; `source` is a file of the project."""

    who: str
    how: str
    hardware: str
    clip_s: float
    source: str


@dataclass(frozen=True)
class Profile:
    """A way of sampling that a card of ours can offer.

    Attributes:
        batch: clips in one call.
        is_fused: the two calls of guidance are one.
    """

    name: str
    mode: Mode
    batch: int = 1
    is_fused: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether one clip gets every step of its model, guided and computed."""
        return self.batch == 1 and self.mode.cache is None and not self.mode.is_unguided


@dataclass(frozen=True)
class Workload:
    """One clip of one model."""

    name: str
    architecture: Architecture
    size: str
    size_multiple: int
    fps: int
    seconds: int
    num_steps: int
    peers: tuple[Peer, ...] = ()

    @property
    def num_frames(self) -> int:
        """Of the clip, the first one included."""
        return self.seconds * self.fps + 1

    @property
    def title(self) -> str:
        """In one line."""
        return f"{self.name}: {self.size}, {self.num_frames} frames, {self.num_steps} steps"

    def card(self, profile: Profile) -> ModelCard:
        """The card of a model that makes exactly this; its weights lie on the device already."""
        return ModelCard.model_validate(
            {
                "id": self.name,
                "title": "Random weights",
                "adapter": "wan",
                "licence": "Apache-2.0",
                "kinds": ["text_to_video"],
                "sizes": [self.size],
                "size_multiple": self.size_multiple,
                "fps": [self.fps],
                "seconds": [self.seconds],
                "num_frames": {
                    "multiple": 4,
                    "offset": 1,
                    "min": self.num_frames,
                    "max": self.num_frames,
                },
                "num_inference_steps": {"min": 2, "max": 100, "default": self.num_steps},
                "guidance_scale": {"min": 1.0, "max": 10.0, "default": GUIDANCE},
                "max_prompt_chars": 1000,
                "max_batch": profile.batch,
                "deadline_s": 3600,
                "modes": {"standard": profile.mode},
                # Plain diffusers encodes every prompt, so the adapter does too.
                "options": {
                    "offload": "none",
                    "fuse_guidance": profile.is_fused,
                    "prompt_cache_bytes": 0,
                },
            }
        )


def list_profiles(num_steps: int) -> list[Profile]:
    """Those that are measured.

    `first_block` is left out: what it skips depends on what the weights say, and these say nothing.
    """
    whole = Mode(num_inference_steps=num_steps)
    cudnn = Mode(num_inference_steps=num_steps, attention="_native_cudnn")
    flash = Mode(num_inference_steps=num_steps, attention="_native_flash")
    taylor = Mode(num_inference_steps=num_steps, cache=StepCache(kind="taylor"))
    few = Mode(num_inference_steps=FEW_STEPS, guidance_scale=1.0)
    compiled = {"compile": Compilation()}
    return [
        Profile("as plain", whole),
        Profile("two clips a call", whole, batch=2),
        Profile("guidance in one call", whole, is_fused=True),
        Profile("cuDNN attention", cudnn),
        Profile("flash attention", flash),
        Profile("taylor cache", taylor),
        Profile(f"{FEW_STEPS} steps, unguided", few),
        Profile("compiled", whole.model_copy(update=compiled)),
        Profile("compiled, cuDNN", cudnn.model_copy(update=compiled)),
        Profile(f"compiled, {FEW_STEPS} steps", few.model_copy(update=compiled)),
    ]


_CACHES = "LightX2V docs/EN, cache_source.md"
_SGLANG_CI = "SGLang test/server/perf_baselines/h100.json"
FULL = (
    Workload(
        "wan2.1-1.3b",
        WAN_21_1B3,
        size="832x480",
        size_multiple=16,
        fps=16,
        seconds=5,
        num_steps=50,
        peers=(
            Peer("LightX2V", "FlashAttention 3", "1 H200", 58.0, _CACHES),
            Peer("LightX2V", "TeaCache", "1 H200", 17.9, _CACHES),
            Peer(
                "SGLang",
                "",
                "1 GPU, not named",
                47.8,
                "SGLang docs/diffusion/performance/deployment_cookbook.md",
            ),
            Peer(
                "FastVideo",
                "compiled",
                "1 A100",
                198.1,
                "FastVideo docs/inference/optimizations.md",
            ),
        ),
    ),
    Workload(
        "wan2.2-ti2v-5b-1s",
        WAN_22_5B,
        size="1280x704",
        size_multiple=32,
        fps=24,
        seconds=1,
        num_steps=50,
        peers=(
            Peer("SGLang", "decoding 2.17 s of it", "1 H100", 15.6, _SGLANG_CI),
            Peer("SGLang", "FastWan, 3 steps", "1 H100", 3.07, _SGLANG_CI),
        ),
    ),
    # Nobody has published a whole clip of this model on one such card.
    Workload(
        "wan2.2-ti2v-5b",
        WAN_22_5B,
        size="1280x704",
        size_multiple=32,
        fps=24,
        seconds=5,
        num_steps=50,
    ),
)
DRY = (
    Workload("tiny-2.1", TINY_21, size="32x32", size_multiple=16, fps=8, seconds=1, num_steps=6),
    Workload("tiny-2.2", TINY_22, size="64x64", size_multiple=32, fps=8, seconds=1, num_steps=6),
)
