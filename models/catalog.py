"""Model cards: what a served model can do, read from `configs/models.yaml`. Torch-free.

The gateway refuses with a card what the adapter would refuse with the same card, so a client
hears of it before a point is held.
"""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import override

from models.configfile import load_yaml_as
from models.hub import Source
from models.spec import Kind, VideoSpec

BUILTIN_PREFIX = "builtin:"
DEFAULT_MODE = "standard"
MAX_BATCH = 64
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


class SpecError(Exception):
    """A spec that its card does not allow: which parameter, what the limit is, what was seen."""

    def __init__(self, param: str, message: str, *, limit: object, value: object) -> None:
        super().__init__(message)
        self.param = param
        self.message = message
        self.limit = limit
        self.value = value


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FrameRule(_Strict):
    """Frame counts that a video autoencoder can make: `num_frames = multiple * k + offset`."""

    multiple: Annotated[int, Field(ge=1)] = 1
    offset: Annotated[int, Field(ge=0)] = 0
    min: Annotated[int, Field(ge=1)]
    max: Annotated[int, Field(ge=1)]

    def allows(self, num_frames: int) -> bool:
        """Whether a clip of `num_frames` frames can be made exactly."""
        fits = (num_frames - self.offset) % self.multiple == 0
        return fits and self.min <= num_frames <= self.max

    @override
    def __str__(self) -> str:
        return f"{self.multiple}k+{self.offset} from {self.min} to {self.max}"


class IntRange(_Strict):
    """An allowed range, both ends in it, and what a request that says nothing gets."""

    min: int
    max: int
    default: int

    @model_validator(mode="after")
    def _ordered(self) -> "IntRange":
        if not self.min <= self.default <= self.max:
            raise ValueError(
                f"need min <= default <= max, got {self.min} {self.default} {self.max}"
            )
        return self


class FloatRange(_Strict):
    """As `IntRange`, for real numbers."""

    min: float
    max: float
    default: float

    @model_validator(mode="after")
    def _ordered(self) -> "FloatRange":
        if not self.min <= self.default <= self.max:
            raise ValueError(
                f"need min <= default <= max, got {self.min} {self.default} {self.max}"
            )
        return self


Option = str | int | float | bool


class ModelCard(_Strict):
    """The description of one AI model, without its weights.

    Attributes:
        adapter: name of the renderer, as `models.registry` knows it, or its `module:Class`.
        checkpoint: a local folder, or `builtin:NAME` for weights inside this package; empty where
            `source` says what to pull, or the renderer has no weights here.
        source: where `reelgate models pull` finds the weights.
        licence_limits: what the licence does not allow, in a few words; shown with it.
        pool: the workers that serve it.
        sizes: `WIDTHxHEIGHT` in pixels; the first is the default.
        size_multiple: both sides of every size divide by it.
        fps: frames per second it was trained for; the first is the default.
        seconds: clip lengths offered. A clip of `s` seconds has `s * fps` steps of motion after
            its first frame, hence `s * fps + 1` frames: how video autoencoders count.
        modes: denoising steps by mode, the default mode first; `standard` with the default number
            of steps if left out. Fewer steps than the mode's may be asked for, more may not.
        max_prompt_chars: longest prompt and negative prompt, in characters.
        max_batch: most jobs in one call of the pipeline, for all sizes or by size; a size that
            the table leaves out is rendered alone.
        memory_bytes: what it takes on its device, weights and room to work; without it the
            worker counts the weights once they are loaded.
        deadline_s: seconds one attempt may take before its worker gives up.
        options: what only this adapter understands.
        low_memory: as `options`, for one more try after the device ran out of memory; empty
            where the adapter has no way to do with less.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    title: str
    adapter: Annotated[str, Field(pattern=r"^([\w.]+:\w+|[a-z0-9][a-z0-9_-]*)$")]
    checkpoint: str = ""
    source: Source | None = None
    licence: str
    licence_limits: str = ""
    pool: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")] = "default"
    kinds: Annotated[list[Kind], Field(min_length=1)]
    sizes: Annotated[list[str], Field(min_length=1)]
    size_multiple: Annotated[int, Field(ge=1)]
    fps: Annotated[list[int], Field(min_length=1)]
    seconds: Annotated[list[int], Field(min_length=1)]
    num_frames: FrameRule
    num_inference_steps: IntRange
    guidance_scale: FloatRange
    max_prompt_chars: Annotated[int, Field(ge=1)]
    max_batch: int | dict[str, int] = 1
    memory_bytes: Annotated[int, Field(ge=1)] | None = None
    deadline_s: Annotated[float, Field(gt=0)]
    modes: dict[str, int] = Field(default_factory=dict)
    options: dict[str, Option] = Field(default_factory=dict)
    low_memory: dict[str, Option] = Field(default_factory=dict)

    @field_validator("sizes")
    @classmethod
    def _sizes_are_written_right(cls, sizes: list[str]) -> list[str]:
        for size in sizes:
            parse_size(size)
        return sizes

    @model_validator(mode="before")
    @classmethod
    def _has_a_mode(cls, fields: dict[str, Any]) -> dict[str, Any]:
        steps = fields.get("num_inference_steps")
        if fields.get("modes") or not isinstance(steps, dict):
            return fields
        return {**fields, "modes": {DEFAULT_MODE: steps.get("default")}}

    @model_validator(mode="after")
    def _modes_are_within_steps(self) -> "ModelCard":
        for mode, steps in self.modes.items():
            if not self.num_inference_steps.min <= steps <= self.num_inference_steps.max:
                raise ValueError(f"mode {mode} has {steps} steps, outside num_inference_steps")
        return self

    @model_validator(mode="after")
    def _offers_only_what_it_can_make(self) -> "ModelCard":
        for size in self.sizes:
            width, height = parse_size(size)
            if width % self.size_multiple or height % self.size_multiple:
                raise ValueError(f"size {size} is not a multiple of {self.size_multiple}")
        for seconds in self.seconds:
            for fps in self.fps:
                if not self.num_frames.allows(seconds * fps + 1):
                    raise ValueError(
                        f"{seconds} s at {fps} fps are {seconds * fps + 1} frames; "
                        f"num_frames allows {self.num_frames}"
                    )
        return self

    @model_validator(mode="after")
    def _batches_are_of_its_sizes(self) -> "ModelCard":
        unknown = [size for size in self._batch_table if size not in self.sizes]
        if unknown:
            raise ValueError(f"max_batch names {', '.join(unknown)}, which sizes does not offer")
        if not all(1 <= room <= MAX_BATCH for room in self._batch_table.values()):
            raise ValueError(f"max_batch must be from 1 to {MAX_BATCH}")
        return self

    @property
    def _batch_table(self) -> dict[str, int]:
        if isinstance(self.max_batch, int):
            return dict.fromkeys(self.sizes, self.max_batch)
        return self.max_batch

    def batch_room(self, size: str) -> int:
        """Most jobs of `size` in one call of the pipeline."""
        return self._batch_table.get(size, 1)

    @property
    def max_room(self) -> int:
        """The largest `batch_room` of any size: what a worker can promise before it knows one."""
        return max(self.batch_room(size) for size in self.sizes)

    def checkpoint_path(self, base: Path) -> Path:
        """The folder with the weights; relative paths start at `base`."""
        if self.checkpoint.startswith(BUILTIN_PREFIX):
            name = self.checkpoint.removeprefix(BUILTIN_PREFIX)
            return Path(__file__).parent / name / "checkpoint"
        if not self.checkpoint and self.source is not None:
            return self.source.folder
        return base / self.checkpoint

    @property
    def default_mode(self) -> str:
        """The mode of a request that names none."""
        return next(iter(self.modes))

    def example(
        self, *, kind: Kind, mode: str, size: str, fps: int, seconds: int, prompt: str = "-"
    ) -> VideoSpec:
        """A spec with these choices of the card and defaults for the rest."""
        width, height = parse_size(size)
        return VideoSpec(
            kind=kind,
            model=self.id,
            prompt=prompt,
            width=width,
            height=height,
            num_frames=seconds * fps + 1,
            fps=fps,
            mode=mode,
            num_inference_steps=self.modes[mode],
            guidance_scale=self.guidance_scale.default,
            seed=0,
        )

    def check(self, spec: VideoSpec) -> None:
        """Make sure this model renders `spec` exactly as written.

        Raises:
            SpecError: names the first parameter outside the card.
        """
        self._check_words(spec)
        self._check_geometry(spec)
        self._check_sampling(spec)

    def _check_words(self, spec: VideoSpec) -> None:
        if spec.kind not in self.kinds:
            allowed = [str(kind) for kind in self.kinds]
            raise SpecError(
                "kind", f"{self.id} does not make {spec.kind}", limit=allowed, value=str(spec.kind)
            )
        if not spec.prompt.strip():
            raise SpecError("prompt", "prompt is empty", limit="1 character or more", value="")
        for param, text in (("prompt", spec.prompt), ("negative_prompt", spec.negative_prompt)):
            if len(text) > self.max_prompt_chars:
                raise SpecError(
                    param,
                    f"{param} has {len(text)} characters, {self.max_prompt_chars} are allowed",
                    limit=self.max_prompt_chars,
                    value=len(text),
                )

    def _check_geometry(self, spec: VideoSpec) -> None:
        if spec.size not in self.sizes:
            raise SpecError(
                "size",
                f"{self.id} renders {', '.join(self.sizes)} (multiples of {self.size_multiple}), "
                f"not {spec.size}",
                limit=self.sizes,
                value=spec.size,
            )
        if spec.fps not in self.fps:
            raise SpecError(
                "fps",
                f"{self.id} renders at {self.fps} fps, not {spec.fps}",
                limit=self.fps,
                value=spec.fps,
            )
        if not self.num_frames.allows(spec.num_frames):
            raise SpecError(
                "num_frames",
                f"num_frames must be {self.num_frames}, not {spec.num_frames}",
                limit=str(self.num_frames),
                value=spec.num_frames,
            )

    def _check_sampling(self, spec: VideoSpec) -> None:
        if spec.mode not in self.modes:
            raise SpecError(
                "mode",
                f"{self.id} has the modes {', '.join(self.modes)}, not {spec.mode}",
                limit=[*self.modes],
                value=spec.mode,
            )
        steps, guidance = self.num_inference_steps, self.guidance_scale
        bounds: tuple[tuple[str, float, float, float], ...] = (
            ("num_inference_steps", steps.min, self.modes[spec.mode], spec.num_inference_steps),
            ("guidance_scale", guidance.min, guidance.max, spec.guidance_scale),
        )
        for param, least, most, value in bounds:
            if not least <= value <= most:
                raise SpecError(
                    param,
                    f"{param} must be from {least} to {most}, not {value}",
                    limit=[least, most],
                    value=value,
                )


class Catalog(_Strict):
    """Every served model, in the order of the file; the first is the default."""

    models: Annotated[list[ModelCard], Field(min_length=1)]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> "Catalog":
        ids = [card.id for card in self.models]
        if len(set(ids)) != len(ids):
            raise ValueError("two models share an id")
        return self

    @property
    def default(self) -> ModelCard:
        """The model of a request that names none."""
        return self.models[0]

    @property
    def pools(self) -> frozenset[str]:
        """Every pool that serves a model."""
        return frozenset(card.pool for card in self.models)

    def in_pool(self, pool: str) -> list[ModelCard]:
        """The models that the workers of `pool` serve."""
        return [card for card in self.models if card.pool == pool]

    def find(self, model_id: str) -> ModelCard | None:
        """The card with this id, or None."""
        return next((card for card in self.models if card.id == model_id), None)


def load_catalog(path: Path) -> Catalog:
    """Read the model cards at `path` (`configs/models.yaml`).

    Raises:
        ConfigError: with file, line and key of every mistake.
    """
    return load_yaml_as(path, Catalog)


def parse_size(size: str) -> tuple[int, int]:
    """`"64x96"` to (64, 96): width and height in pixels.

    Raises:
        ValueError: it is not written so.
    """
    match = _SIZE.fullmatch(size)
    if match is None:
        raise ValueError(f"size must look like 64x96 (width x height), not {size!r}")
    return int(match[1]), int(match[2])
