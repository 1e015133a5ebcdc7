"""Every adapter with a random checkpoint of each shape that it serves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors.torch import save_file

from models.card import ModelCard
from models.pipeline import Clip, Frame
from models.spec import Kind, Stage, VideoSpec
from tests.support.checkpoints import cogvideox, hunyuan15, ltx2, skyreels, wan

Video = npt.NDArray[np.uint8]
STEPS = 6
"""Enough for a step cache to skip one."""


@dataclass(frozen=True)
class Model:
    """A checkpoint and what its card says; everything else is the same for all.

    Attributes:
        spatial: what its autoencoder and transformer divide sides by.
        temporal: frames of one latent frame.
        pictures: fields of a spec that name pictures, beside `image`.
        needs_last: whether every clip ends with a given frame.
        caches: kinds of step cache that work.
        takes_lora: whether diffusers reads LoRA files for it.
        takes_keyframes: whether pictures can be at any frame of a clip.
        sampling: what every mode says beside its steps.
    """

    name: str
    adapter: str
    save: Callable[[Path], None]
    kinds: tuple[Kind, ...]
    spatial: int
    temporal: int = 4
    size: str = "32x64"
    audio: str = "none"
    pictures: tuple[str, ...] = ()
    needs_last: bool = False
    caches: tuple[str, ...] = ("first_block", "taylor")
    options: dict[str, Any] = field(default_factory=dict)
    takes_lora: bool = True
    takes_keyframes: bool = False
    sampling: dict[str, Any] = field(default_factory=dict)

    @property
    def num_later_steps(self) -> int:
        """Denoising steps of a second pass."""
        return len(self.sampling["second_pass"]["sigmas"]) if self.sampling else 0

    def mode(self, steps: int, **more: object) -> dict[str, object]:
        """A mode of so many steps."""
        return {"num_inference_steps": steps, **self.sampling, **more}

    def card(self, folder: Path, **changes: object) -> ModelCard:
        """The card of the checkpoint in `folder`."""
        frames = 2 * self.temporal + 1
        modes: dict[str, object] = {"standard": self.mode(STEPS)}
        for kind in self.caches:
            # So eager that they skip even with random weights.
            cache = {"kind": kind, "threshold": 0.9, "interval": 2, "warmup_steps": 2}
            modes[kind] = self.mode(STEPS, cache=cache)
        fields: dict[str, object] = {
            "id": self.name,
            "title": "Random weights",
            "adapter": self.adapter,
            "checkpoint": str(folder),
            "licence": "Apache-2.0",
            "kinds": list(self.kinds),
            "sizes": [self.size],
            "size_multiple": self.spatial,
            "fps": [8],
            "seconds": [(frames - 1) // 8],
            "num_frames": {"multiple": self.temporal, "offset": 1, "min": 1, "max": 4 * frames},
            "num_inference_steps": {"min": 2, "max": STEPS, "default": STEPS},
            "guidance_scale": {"min": 1.0, "max": 8.0, "default": 3.0},
            "max_prompt_chars": 100,
            "max_batch": 4,
            "deadline_s": 60,
            "modes": modes,
            "audio": self.audio,
            "pictures": {"last_image": "needed"} if self.needs_last else {},
            "options": self.options,
        }
        return ModelCard.model_validate(fields | changes)

    def spec(self, card: ModelCard, picture: Path, **changes: object) -> VideoSpec:
        """A short clip of the last of its kinds, with every picture that it takes."""
        kind = self.kinds[-1]
        made = card.example(
            kind=kind,
            mode=card.default_mode,
            size=card.sizes[0],
            fps=8,
            seconds=card.seconds[0],
            prompt="a red fox runs",
        )
        given: dict[str, object] = {"seed": 7}
        if kind is Kind.IMAGE_TO_VIDEO:
            given["image"] = picture
        for name in self.pictures:
            given[name] = (picture,) if name == "reference_images" else picture
        return made.model_copy(update=given | changes)


_WAN = "models.adapters.wan:WanAdapter"
_COG = "models.adapters.cogvideox:CogVideoXAdapter"
_HUNYUAN = "models.adapters.hunyuan15:HunyuanVideo15Adapter"
# The first 108 tokens are those of the template and are cut off.
_HUNYUAN_TOKENS = {
    "tokenizer_max_length": 160,
    "tokenizer_2_max_length": 16,
    "vision_num_semantic_tokens": 4,
}
_BOTH = (Kind.TEXT_TO_VIDEO, Kind.IMAGE_TO_VIDEO)

MODELS = [
    Model("wan-ti2v", _WAN, wan.save_ti2v, _BOTH, spatial=32),
    Model("wan-t2v", _WAN, wan.save_t2v, (Kind.TEXT_TO_VIDEO,), spatial=16),
    Model(
        "wan-experts",
        _WAN,
        wan.save_two_experts,
        (Kind.TEXT_TO_VIDEO,),
        spatial=16,
        options={"guidance_scale_2": 2.0},
    ),
    Model("wan-i2v", _WAN, wan.save_i2v, (Kind.IMAGE_TO_VIDEO,), spatial=16),
    Model(
        "wan-experts-i2v",
        _WAN,
        wan.save_plain_i2v,
        (Kind.IMAGE_TO_VIDEO,),
        spatial=16,
        pictures=("last_image",),
    ),
    Model(
        "wan-flf",
        _WAN,
        wan.save_flf2v,
        (Kind.IMAGE_TO_VIDEO,),
        spatial=16,
        pictures=("last_image",),
        needs_last=True,
    ),
    Model(
        "wan-vace",
        _WAN,
        wan.save_vace,
        _BOTH,
        spatial=16,
        pictures=("reference_images", "last_image"),
    ),
    Model(
        "ltx2",
        "models.adapters.ltx2:LTX2Adapter",
        ltx2.save,
        _BOTH,
        spatial=32,
        temporal=8,
        size="64x64",
        audio="out",
        pictures=("last_image",),
        takes_keyframes=True,
        caches=("taylor",),
        options={"stg_block": 1, "max_sequence_length": 32},
    ),
    Model(
        "ltx2-two-passes",
        "models.adapters.ltx2:LTX2Adapter",
        ltx2.save,
        _BOTH,
        spatial=32,
        temporal=8,
        size="128x128",
        audio="out",
        pictures=("last_image",),
        caches=("taylor",),
        options={"stg_block": 1, "max_sequence_length": 32},
        sampling={"second_pass": {"sigmas": [0.909375, 0.725, 0.421875]}},
        takes_keyframes=True,
    ),
    Model(
        "cogvideox-t2v",
        _COG,
        cogvideox.save_t2v,
        (Kind.TEXT_TO_VIDEO,),
        spatial=16,
        options={"max_sequence_length": cogvideox.MAX_TOKENS},
    ),
    Model(
        "cogvideox-i2v",
        _COG,
        cogvideox.save_i2v,
        (Kind.IMAGE_TO_VIDEO,),
        spatial=16,
        options={"max_sequence_length": cogvideox.MAX_TOKENS},
    ),
    Model(
        "hunyuan15-t2v",
        _HUNYUAN,
        hunyuan15.save_t2v,
        (Kind.TEXT_TO_VIDEO,),
        spatial=4,
        size="32x32",
        caches=("taylor",),
        options=_HUNYUAN_TOKENS,
        takes_lora=False,
    ),
    Model(
        "hunyuan15-i2v",
        _HUNYUAN,
        hunyuan15.save_i2v,
        (Kind.IMAGE_TO_VIDEO,),
        spatial=4,
        size="32x32",
        caches=("taylor",),
        options=_HUNYUAN_TOKENS,
        takes_lora=False,
    ),
    Model(
        "skyreels",
        "models.adapters.skyreels:SkyReelsAdapter",
        skyreels.save,
        _BOTH,
        spatial=16,
        pictures=("last_image",),
        caches=("taylor",),
        options={"base_num_frames": 9, "overlap_history": 5},
    ),
]


@dataclass
class Watcher:
    """A step callback that remembers, and stops at a step if asked to."""

    stop_at: int | None = None
    steps: list[tuple[Stage, int, int]] = field(default_factory=list)
    previews: list[Frame] = field(default_factory=list)

    def __call__(self, stage: Stage, done: int, total: int, previews: Sequence[Frame] = ()) -> None:
        """Remember one call."""
        self.steps.append((stage, done, total))
        self.previews += previews
        if self.stop_at is not None and (stage, done) == (Stage.DENOISING, self.stop_at):
            raise StoppedError


class StoppedError(Exception):
    """What the callback stops with."""


def video(clip: Clip) -> Video:
    """All frames of `clip`."""
    return np.stack(list(clip.frames))


def largest_difference(one: Video, other: Video) -> int:
    """In 8-bit levels."""
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def count_encodings(renderer: Any) -> Callable[[], int]:
    """Tells how often the text encoder of `renderer` was called since."""
    calls: list[object] = []
    [pipe, *_] = renderer.pipelines.values()
    pipe.text_encoder.register_forward_pre_hook(lambda *given: calls.append(given))
    return lambda: len(calls)


def save_lora(folder: Path, renderer: Any) -> str:
    """A file in `folder` with random low-rank weights for the first attention of `renderer`.

    Of LTX-2 for its connectors too, as its distilled one has them.
    """
    [pipe, *_] = renderer.pipelines.values()
    torch.manual_seed(0)
    weights = {}
    for part in {"transformer", "connectors"} & pipe.components.keys():
        name, layer = next(
            (name, module)
            for name, module in getattr(pipe, part).named_modules()
            if isinstance(module, torch.nn.Linear) and name.endswith("to_q")
        )
        weights[f"{part}.{name}.lora_A.weight"] = torch.randn(4, layer.in_features)
        weights[f"{part}.{name}.lora_B.weight"] = torch.randn(layer.out_features, 4)
    save_file(weights, folder / "random_lora.safetensors")
    return "random_lora.safetensors"


def save_picture(path: Path, colour: tuple[int, int, int]) -> Path:
    """A gradient towards `colour`."""
    ramp = np.linspace(0, 1, 96)[None, :, None] * np.ones((64, 1, 1))
    Image.fromarray((ramp * np.array(colour)).astype(np.uint8)).save(path)
    return path
