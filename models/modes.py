"""How much work goes into a video: the modes of a model card, cheap and dear. Torch-free.

A mode is a name that clients choose and plans allow, and everything about sampling that goes with
it: steps, schedule, guidance, what is skipped, what is compiled. What is decided once when weights
are loaded (their precision, where they lie) stands in the card's `options`, for all modes alike.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StepCache(_Strict):
    """Denoising steps that reuse what earlier ones computed; the hooks are those of diffusers.

    Attributes:
        kind: `first_block` skips the rest of the transformer where its first block hardly changed;
            `taylor` predicts all blocks from the steps before.
        threshold: of `first_block`: the relative change below which a step is skipped.
        interval: of `taylor`: one step in so many is computed.
        warmup_steps: of `taylor`: how many are computed at the beginning.
    """

    kind: Literal["first_block", "taylor"]
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.08
    interval: Annotated[int, Field(ge=2, le=20)] = 4
    warmup_steps: Annotated[int, Field(ge=1)] = 3


AttentionBackend = Literal[
    "native",
    "_native_cudnn",
    "_native_efficient",
    "_native_flash",
    "_native_math",
    "flash",
    "_flash_3",
    "sage",
    "xformers",
]
"""Names of diffusers, without those that would download a kernel."""

CompileMode = Literal["default", "max-autotune-no-cudagraphs"]
"""Names of PyTorch, without those that record CUDA graphs."""


class Compilation(_Strict):
    """How the blocks of the transformer are compiled, each whole; the words are those of PyTorch.

    Attributes:
        mode: how much is tried for speed; the first call takes the longer for it.
        dynamic: whether one graph serves all shapes; None finds out from the second shape on.
    """

    mode: CompileMode = "default"
    dynamic: bool | None = True


def _from_true(value: Any) -> Any:  # noqa: ANN401 -- whatever the file holds
    """`compile: true` is short for `compile: {}`, and `false` for leaving it out."""
    if isinstance(value, bool):
        return {} if value else None
    return value


InnerFolder = Annotated[str, Field(pattern=r"^\w[\w-]*$")]
LoraFile = Annotated[str, Field(pattern=r"^[\w][\w./-]*\.safetensors$")]


class SecondPass(_Strict):
    """The clip is sampled at half its size; its latents, enlarged, are noised again and refined.

    The mode says how the first pass goes. The second has the prompt and the given frames of the
    first, and no guidance.

    Attributes:
        sigmas: the noise schedule of the second pass, from the noise that it begins with towards 0,
            one for every step.
        upsampler: a folder inside the checkpoint folder with the network that enlarges latents.
        lora: as of a mode, in the second pass alone.
    """

    sigmas: Annotated[list[float], Field(min_length=1)]
    upsampler: InnerFolder = "latent_upsampler"
    lora: LoraFile | None = None

    @model_validator(mode="after")
    def _sigmas_fall(self) -> "SecondPass":
        _check_sigmas(self.sigmas)
        return self


class Mode(_Strict):
    """One way of sampling.

    Attributes:
        num_inference_steps: the default and the most of a request in this mode.
        guidance_scale: the only one that works, of distilled weights; None leaves the choice to
            the request, within the card's range.
        flow_shift: of the noise schedule; None keeps that of the checkpoint.
        sigmas: the whole noise schedule, from 1 towards 0, one for every step; None computes it.
        cache: None computes every step.
        distilled: a folder inside the checkpoint folder with a distilled `transformer`, and maybe
            its `scheduler` and a `vae` that decodes faster, in place of the model's.
        lora: a file of low-rank weights (`.safetensors`) inside the checkpoint folder.
        lora_2: as `lora`, of the second of two experts.
        attention: how attention is computed on a GPU; None for what PyTorch picks.
        compile: how the blocks of the transformer are compiled, on a GPU; None runs them as they
            are. Not with a cache, whose hooks replace what would be compiled.
        second_pass: what follows a first pass at half the size; None samples at full size at once.
    """

    num_inference_steps: Annotated[int, Field(ge=1)]
    guidance_scale: Annotated[float, Field(ge=0)] | None = None
    flow_shift: Annotated[float, Field(gt=0)] | None = None
    sigmas: Annotated[list[float], Field(min_length=1)] | None = None
    cache: StepCache | None = None
    distilled: InnerFolder | None = None
    lora: LoraFile | None = None
    lora_2: LoraFile | None = None
    attention: AttentionBackend | None = None
    compile: Annotated[Compilation | None, BeforeValidator(_from_true)] = None
    second_pass: SecondPass | None = None

    @model_validator(mode="after")
    def _sigmas_fall(self) -> "Mode":
        if self.sigmas is None:
            return self
        if self.flow_shift is not None:
            raise ValueError("sigmas are the whole schedule: leave out flow_shift")
        if len(self.sigmas) != self.num_inference_steps:
            raise ValueError(f"{self.num_inference_steps} steps need as many sigmas")
        _check_sigmas(self.sigmas)
        return self

    @model_validator(mode="after")
    def _compiles_what_no_cache_replaces(self) -> "Mode":
        if self.compile is not None and self.cache is not None:
            raise ValueError("a cache and compile do not go together")
        return self

    @model_validator(mode="after")
    def _has_one_lora_at_a_time(self) -> "Mode":
        if self.lora and self.second_pass and self.second_pass.lora:
            raise ValueError("lora works in both passes: leave out second_pass.lora, or lora")
        return self

    @property
    def own_files(self) -> set[str]:
        """What it needs of the checkpoint folder beside the model's own: files and folders."""
        named = {self.distilled, self.lora, self.lora_2}
        if self.second_pass:
            named |= {self.second_pass.upsampler, self.second_pass.lora}
        return {name for name in named if name is not None}

    @property
    def passes(self) -> "list[Mode | SecondPass]":
        """What is sampled one after the other."""
        return [self, self.second_pass] if self.second_pass else [self]

    @property
    def is_unguided(self) -> bool:
        """Whether a negative prompt would be ignored."""
        return self.guidance_scale is not None and self.guidance_scale <= 1


def _check_sigmas(sigmas: list[float]) -> None:
    if sorted(sigmas, reverse=True) != sigmas or not 0 < sigmas[-1] <= sigmas[0] <= 1:
        raise ValueError("sigmas must fall from 1 towards 0")


def _from_steps(value: Any) -> Any:  # noqa: ANN401 -- whatever the file holds
    """`pro: 24` is short for `pro: {num_inference_steps: 24}`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"num_inference_steps": value}
    return value


ModeField = Annotated[Mode, BeforeValidator(_from_steps)]
