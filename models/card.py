"""A model card: what a served model can do. Torch-free.

The gateway refuses with a card what the adapter would refuse with the same card, so a client
hears of it before a point is held.
"""

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.cardparts import (
    Enhancement,
    FloatRange,
    FrameRule,
    IntRange,
    Pictures,
    Voice,
    parse_size,
)
from models.hub import Source
from models.keyframes import before_interpolation, find_misplaced
from models.modes import ModeField
from models.spec import Kind, Language, SpokenText, VideoSpec

BUILTIN_PREFIX = "builtin:"
DEFAULT_MODE = "standard"
MAX_BATCH = 64
Option = str | int | float | bool


class SpecError(Exception):
    """A spec that its card does not allow: which parameter, what the limit is, what was seen."""

    def __init__(self, param: str, message: str, *, limit: object, value: object) -> None:
        super().__init__(message)
        self.param = param
        self.message = message
        self.limit = limit
        self.value = value


class ModelCard(BaseModel):
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
        seconds: clip lengths offered; a clip of `s` seconds has `s * fps + num_frames.offset`
            frames. Digital humans last as long as they speak, up to the largest of these.
        modes: ways of sampling by name, the default first; `standard` with the default number of
            steps if left out. Fewer steps than the mode's may be asked for, more may not.
        audio: `out` where a clip can have generated sound, `in` where it follows a given one.
        max_prompt_chars: longest prompt and negative prompt, in characters; 0 for none at all.
        pictures: what clips can be made with, beside a first frame.
        voices: of digital humans.
        enhance: what finished frames can be raised to; `sizes` and `fps` are of the model itself.
        max_batch: most jobs in one call of the pipeline, for all sizes or by size; a size that
            the table leaves out is rendered alone.
        memory_bytes: what it takes on its device, weights and room to work; without it the
            worker counts the weights once they are loaded.
        weights_bytes: of every part on a GPU; room to work comes on top. `models list` shows it.
        deadline_s: seconds one attempt may take before its worker gives up.
        options: what only this adapter understands.
        low_memory: as `options`, for one more try after the device ran out of memory; empty
            where the adapter has no way to do with less.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    max_prompt_chars: Annotated[int, Field(ge=0)]
    pictures: Pictures = Pictures()
    voices: list[Voice] = Field(default_factory=list)
    enhance: Enhancement = Enhancement()
    max_batch: int | dict[str, int] = 1
    memory_bytes: Annotated[int, Field(ge=1)] | None = None
    weights_bytes: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    deadline_s: Annotated[float, Field(gt=0)]
    modes: dict[str, ModeField] = Field(default_factory=dict)
    audio: Literal["none", "out", "in"] = "none"
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
        for name, mode in self.modes.items():
            steps, guidance = mode.num_inference_steps, mode.guidance_scale
            if not self.num_inference_steps.min <= steps <= self.num_inference_steps.max:
                raise ValueError(f"mode {name} has {steps} steps, outside num_inference_steps")
            if guidance is not None and not (
                self.guidance_scale.min <= guidance <= self.guidance_scale.max
            ):
                raise ValueError(f"mode {name} has guidance {guidance}, outside guidance_scale")
        return self

    @model_validator(mode="after")
    def _offers_only_what_it_can_make(self) -> "ModelCard":
        for size in self.sizes:
            width, height = parse_size(size)
            if width % self.size_multiple or height % self.size_multiple:
                raise ValueError(f"size {size} is not a multiple of {self.size_multiple}")
        for seconds in self.seconds:
            for fps in self.fps:
                frames = self.frames_of(seconds, fps)
                if not self.num_frames.allows(frames):
                    raise ValueError(
                        f"{seconds} s at {fps} fps are {frames} frames; "
                        f"num_frames allows {self.num_frames}"
                    )
        return self

    @model_validator(mode="after")
    def _raises_only_upwards(self) -> "ModelCard":
        self.enhance.raised_rates(self.fps)
        return self

    @model_validator(mode="after")
    def _batches_are_of_its_sizes(self) -> "ModelCard":
        unknown = [size for size in self._batch_table if size not in self.sizes]
        if unknown:
            raise ValueError(f"max_batch names {', '.join(unknown)}, which sizes does not offer")
        if not all(1 <= room <= MAX_BATCH for room in self._batch_table.values()):
            raise ValueError(f"max_batch must be from 1 to {MAX_BATCH}")
        return self

    @model_validator(mode="after")
    def _is_all_digital_human_or_not_at_all(self) -> "ModelCard":
        if Kind.DIGITAL_HUMAN not in self.kinds:
            if self.voices:
                raise ValueError("voices are for digital humans")
            if not self.max_prompt_chars:
                raise ValueError("max_prompt_chars must be 1 or more")
            return self
        if self.kinds != [Kind.DIGITAL_HUMAN]:
            raise ValueError("a model of digital humans makes no other kind")
        if (self.num_frames.multiple, self.num_frames.offset) != (1, 0):
            raise ValueError("speech ends anywhere: num_frames needs multiple 1 and offset 0")
        if not self.voices:
            raise ValueError("a model of digital humans needs a voice")
        return self

    @property
    def languages(self) -> list[Language]:
        """What its voices speak, in their order."""
        return list(dict.fromkeys(each for voice in self.voices for each in voice.languages))

    @property
    def size_sources(self) -> dict[str, str]:
        """Every size on offer, the model's own first, and the size it is rendered at."""
        return {size: size for size in self.sizes} | self.enhance.raised_sizes(self.sizes)

    @property
    def rate_sources(self) -> dict[int, int]:
        """Every frame rate on offer, the model's own first, and the rate it is rendered at."""
        return {fps: fps for fps in self.fps} | self.enhance.raised_rates(self.fps)

    def native(self, spec: VideoSpec) -> VideoSpec:
        """What the model itself renders for `spec`, which passes `check`."""
        fps = self.rate_sources[spec.fps]
        width, height = parse_size(self.size_sources[spec.size])
        ratio = Fraction(spec.fps, fps)
        made = {"width": width, "height": height, "fps": fps}
        made["num_frames"] = self.num_frames.before(spec.num_frames, ratio)
        keyframes = before_interpolation(spec.keyframes, ratio)
        return spec.model_copy(update={**made, "keyframes": keyframes})

    def frames_of(self, seconds: int, fps: int) -> int:
        """Frames of a clip of `seconds`."""
        return seconds * fps + self.num_frames.offset

    @property
    def _batch_table(self) -> dict[str, int]:
        if isinstance(self.max_batch, int):
            return dict.fromkeys(self.sizes, self.max_batch)
        return self.max_batch

    def batch_room(self, size: str) -> int:
        """Most jobs of `size` in one call of the pipeline, which knows no enhancement."""
        return self._batch_table.get(self.size_sources.get(size, size), 1)

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

    def steps_of(self, mode: str) -> int:
        """Denoising steps of a request in `mode` that asks for no fewer."""
        found = self.modes.get(mode)
        return found.num_inference_steps if found else self.num_inference_steps.default

    def fewest_steps_of(self, mode: str) -> int:
        """The fewest denoising steps that a request in `mode` may ask for."""
        sigmas = self.modes[mode].sigmas
        return self.num_inference_steps.min if sigmas is None else len(sigmas)

    def guidance_of(self, mode: str) -> float:
        """The guidance of a request in `mode` that asks for none."""
        found = self.modes.get(mode)
        if found is None or found.guidance_scale is None:
            return self.guidance_scale.default
        return found.guidance_scale

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
            num_frames=self.frames_of(seconds, fps),
            fps=fps,
            mode=mode,
            num_inference_steps=self.steps_of(mode),
            guidance_scale=self.guidance_of(mode),
            seed=0,
        )

    def check(self, spec: VideoSpec) -> None:
        """Make sure this model renders `spec` exactly as written.

        Raises:
            SpecError: names the first parameter outside the card.
        """
        self._check_words(spec)
        self._check_geometry(spec)
        self.check_keyframes(spec, has_last=spec.last_image is not None)
        self._check_sampling(spec)
        self._check_sound(spec)

    def check_kind(self, kind: Kind) -> None:
        """Make sure this model makes `kind`.

        Raises:
            SpecError: it does not.
        """
        if kind not in self.kinds:
            allowed = [str(each) for each in self.kinds]
            raise SpecError(
                "kind", f"{self.id} does not make {kind}", limit=allowed, value=str(kind)
            )

    def check_keyframes(self, spec: VideoSpec, *, has_last: bool) -> None:
        """Make sure this model takes the keyframes of `spec`, beside a last frame if there is one.

        Raises:
            SpecError: it takes fewer, or none at one of these frames.
        """
        ratio = Fraction(spec.fps, self.rate_sources[spec.fps])
        found = find_misplaced(spec, self.pictures.keyframes, ratio, has_last=has_last)
        if found is not None:
            message = f"{self.id} {found.message}"
            raise SpecError("keyframes", message, limit=found.limit, value=found.value)

    def _check_words(self, spec: VideoSpec) -> None:
        self.check_kind(spec.kind)
        if spec.kind is Kind.DIGITAL_HUMAN:
            self._check_performance(spec)
        elif not spec.prompt.strip():
            raise SpecError("prompt", "prompt is empty", limit="1 character or more", value="")
        for param, text in (("prompt", spec.prompt), ("negative_prompt", spec.negative_prompt)):
            if len(text) > self.max_prompt_chars:
                most = self.max_prompt_chars
                message = f"{param} has {len(text)} characters, {most} are allowed"
                raise SpecError(param, message, limit=most, value=len(text))

    def _check_performance(self, spec: VideoSpec) -> None:
        if spec.prompt and not self.max_prompt_chars:
            message = f"{self.id} takes no prompt; what is said goes into speech.text"
            raise SpecError("prompt", message, limit=0, value=len(spec.prompt))
        if spec.performance is None or not isinstance(spec.performance.speech, SpokenText):
            return
        speech = spec.performance.speech
        voices = {voice.id: voice for voice in self.voices}
        if speech.voice_id is not None and speech.voice_id not in voices:
            message = f"{self.id} has the voices {', '.join(voices)}, not {speech.voice_id}"
            raise SpecError("speech.voice_id", message, limit=[*voices], value=speech.voice_id)
        able = voices[speech.voice_id].languages if speech.voice_id else self.languages
        if speech.language != "auto" and speech.language not in able:
            raise SpecError(
                "speech.language",
                f"{speech.voice_id or self.id} speaks {', '.join(able)}, not {speech.language}",
                limit=able,
                value=speech.language,
            )

    def _check_geometry(self, spec: VideoSpec) -> None:
        sizes, rates = [*self.size_sources], [*self.rate_sources]
        if spec.size not in sizes:
            able = f"{', '.join(sizes)} (multiples of {self.size_multiple})"
            message = f"{self.id} renders {able}, not {spec.size}"
            raise SpecError("size", message, limit=sizes, value=spec.size)
        if spec.fps not in rates:
            message = f"{self.id} renders at {rates} fps, not {spec.fps}"
            raise SpecError("fps", message, limit=rates, value=spec.fps)
        if spec.kind is Kind.DIGITAL_HUMAN and spec.num_frames > max(self.seconds) * spec.fps:
            most, asked = max(self.seconds), spec.num_frames / spec.fps
            message = f"{self.id} speaks for {most} s at most"
            raise SpecError("speech", message, limit=most, value=asked)
        rule = self.num_frames.raised(Fraction(spec.fps, self.rate_sources[spec.fps]))
        if not rule.allows(spec.num_frames):
            message = f"num_frames must be {rule}, not {spec.num_frames}"
            raise SpecError("num_frames", message, limit=str(rule), value=spec.num_frames)

    def _check_sampling(self, spec: VideoSpec) -> None:
        if spec.mode not in self.modes:
            message = f"{self.id} has the modes {', '.join(self.modes)}, not {spec.mode}"
            raise SpecError("mode", message, limit=[*self.modes], value=spec.mode)
        mode = self.modes[spec.mode]
        self._check_range(
            "num_inference_steps",
            spec.num_inference_steps,
            self.fewest_steps_of(spec.mode),
            mode.num_inference_steps,
            f" in mode {spec.mode}",
        )
        if mode.guidance_scale is not None:
            only = mode.guidance_scale
            self._check_range("guidance_scale", spec.guidance_scale, only, only)
        guidance = self.guidance_scale
        self._check_range("guidance_scale", spec.guidance_scale, guidance.min, guidance.max)
        if mode.is_unguided and spec.negative_prompt:
            raise SpecError(
                "negative_prompt",
                f"{self.id} works without guidance in mode {spec.mode} "
                "and would ignore a negative prompt",
                limit=0,
                value=len(spec.negative_prompt),
            )

    @staticmethod
    def _check_range(param: str, value: float, least: float, most: float, where: str = "") -> None:
        if not least <= value <= most:
            message = f"{param} must be from {least} to {most}{where}, not {value}"
            raise SpecError(param, message, limit=[least, most], value=value)

    def _check_sound(self, spec: VideoSpec) -> None:
        if spec.generate_audio and self.audio != "out":
            able = "only follows a given sound" if self.audio == "in" else "makes silent videos"
            raise SpecError(
                "generate_audio", f"{self.id} {able}", limit=[False], value=spec.generate_audio
            )
