"""What all families of diffusers pipelines share: loading, one call for a batch, lazy clips.

A family says which classes it reads, what they can make exactly, how a spec becomes arguments and
how latents become frames. Everything else is here, once.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import diffusers
import torch

from models.adapters.common import StepBar, memory_errors_named
from models.adapters.denoisers import compile_blocks
from models.adapters.fitting import Grid, check_card, check_weights
from models.adapters.folder import read_class_name, read_pipeline
from models.adapters.lora import load_loras
from models.adapters.placement import Offload, device_bytes, place
from models.adapters.previews import PreviewMaker
from models.adapters.sampling import mode_in_force, report_skips
from models.card import ModelCard
from models.cardparts import Pictures
from models.pipeline import Audio, Clip, Frame, LoadFailed, StepCallback
from models.spec import Kind, Stage, VideoSpec

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
ALL_THREADS = torch.get_num_threads()


@dataclass(frozen=True)
class Sample:
    """One clip, denoised: its latents, video [1, C, F, h, w], sound as the family has it."""

    video: torch.Tensor
    sound: torch.Tensor | None = None


@dataclass(frozen=True)
class Loaded:
    """What `load` brought: a pipeline for every kind of the card, on one set of weights."""

    card: ModelCard
    device: str
    pipelines: dict[Kind, Any]
    offload: Offload

    @property
    def is_on_gpu(self) -> bool:
        """Whether it computes anywhere but on a CPU."""
        return torch.device(self.device).type != "cpu"


class DiffusersAdapter(ABC):
    """A renderer of one family; see `models.pipeline.VideoPipeline`.

    A clip of a batch equals the clip rendered alone to rounding (one 8-bit level); the same batch
    on the same device gives the same frames bit by bit.

    Attributes:
        classes: of pipelines whose folders it reads.
        caches: kinds of step cache that skip something with it.
        options: of the card, beside those that all families have.
        float32_parts: components that lose too much in half precision.
        takes_sigmas: whether a mode may give the whole noise schedule.
        makes_sound: whether it has `make_sound`; a card may offer sound only then.
    """

    classes: ClassVar[tuple[str, ...]]
    caches: ClassVar[frozenset[str]] = frozenset({"first_block", "taylor"})
    options: ClassVar[frozenset[str]] = frozenset()
    float32_parts: ClassVar[tuple[str, ...]] = ("vae",)
    takes_sigmas: ClassVar[bool] = False
    makes_sound: ClassVar[bool] = False

    def __init__(self) -> None:
        self._loaded: Loaded | None = None

    @property
    def memory_bytes(self) -> int:
        """The weights that lie on the device at a time, all kinds together; 0 before `load`."""
        if self._loaded is None:
            return 0
        return device_bytes(next(iter(self._loaded.pipelines.values())), self._loaded.offload)

    def load(self, card: ModelCard, device: str) -> None:
        """Read the folder of `card` onto `device`: float32 on a CPU, else bfloat16.

        Raises:
            LoadFailed: names the folder and what to do.
        """
        folder = card.checkpoint_path(Path.cwd())
        class_name = read_class_name(card, folder, self.classes)
        check_card(self, card, folder)
        dtypes = self._dtypes(card, device)
        try:
            pipe = read_pipeline(self.stock_class(class_name), folder, dtypes)
            check_weights(self, card, folder, pipe)
            load_loras(pipe, card, folder)
            self.adopt(card, pipe, device)
        except LoadFailed:
            raise
        except Exception as error:
            # Whatever diffusers, safetensors or the device has against these files is one fault.
            raise LoadFailed(
                f"model {card.id}: {folder} does not load on {device} ({error}): "
                "check that the folder is complete and the device is free"
            ) from error

    def adopt(self, card: ModelCard, pipe: Any, device: str) -> None:  # noqa: ANN401 -- untyped
        """Serve `card` with `pipe`, the last step of `load`; its weights go to `device`.

        For weights that come from no folder: nothing is checked against the card.
        """
        self.prepare(card, pipe)
        pipelines = {kind: self.derive(pipe, kind) for kind in card.kinds}
        offload = place(pipe, card, device, str(card.options.get("offload", "auto")))
        if card.options.get("compile") and torch.device(device).type == "cuda":
            compile_blocks(pipe)
        self._loaded = Loaded(card, device, pipelines, offload)

    def generate(
        self, specs: Sequence[VideoSpec], on_step: StepCallback, *, low_memory: bool = False
    ) -> Sequence[Clip]:
        """Denoise `specs`, together where the family can; a clip decodes while it is read.

        With `low_memory` and the preset `vae_tiling`, pictures pass the autoencoder in tiles:
        less memory, frames that differ a little near the seams, and the whole clip in host
        memory before its first frame. With `offload: model` weights wait in host memory.
        """
        loaded = self._loaded
        if loaded is None:
            raise RuntimeError("load() comes before generate()")
        for spec in specs:
            loaded.card.check(spec)
        first = _only_shape(specs)
        torch.set_num_threads(int(loaded.card.options.get("threads", ALL_THREADS)))
        pipe = loaded.pipelines[first.kind]
        presets = loaded.card.low_memory if low_memory else {}
        groups = [specs] if self._is_one_call(loaded, specs) else [[spec] for spec in specs]
        calls = [self._arguments(loaded, group) for group in groups]
        num_bars = len(calls) * self.count_bars(loaded.card, pipe, first)
        on_step(Stage.DENOISING, 0, first.num_inference_steps * num_bars)
        is_tiled = bool(presets.get("vae_tiling"))
        with memory_errors_named(f"{len(specs)} x {first.size}, {first.num_frames} frames"):
            _arrange(loaded, pipe, presets.get("offload") == Offload.MODEL)
            self.set_tiling(pipe, is_tiled=is_tiled)
            samples = self._sample(loaded, calls, first, on_step, is_watched=not is_tiled)
            sounds = [
                self.make_sound(pipe, sample, spec) if spec.generate_audio else None
                for sample, spec in zip(samples, specs, strict=True)
            ]
        clips = self.decode_all(pipe, samples, on_step, is_tiled=is_tiled)
        return [
            Clip(frames, Fraction(spec.fps), sound)
            for frames, spec, sound in zip(clips, specs, sounds, strict=True)
        ]

    def stock_class(self, class_name: str) -> Any:  # noqa: ANN401 -- diffusers is untyped
        """The class that reads a folder whose index names `class_name`."""
        return getattr(diffusers, class_name)

    def derive(self, pipe: Any, kind: Kind) -> Any:  # noqa: ANN401 -- untyped
        """The pipeline for `kind` on the weights of `pipe`; nothing is copied."""
        del kind
        return pipe

    @abstractmethod
    def find_kinds(self, pipe: Any) -> frozenset[Kind]:  # noqa: ANN401 -- untyped
        """What these weights can do."""

    @abstractmethod
    def find_grid(self, pipe: Any) -> Grid:  # noqa: ANN401 -- untyped
        """What these weights make without rounding."""

    @abstractmethod
    def read_inputs(self, loaded: Loaded, specs: Sequence[VideoSpec]) -> dict[str, Any]:
        """Arguments of the family's own, pictures first of all.

        Raises:
            SpecError: a picture is missing, broken, or of no use to these weights.
        """

    @abstractmethod
    def decode(
        self,
        pipe: Any,  # noqa: ANN401 -- untyped
        sample: Sample,
        on_step: StepCallback,
        *,
        is_tiled: bool,
    ) -> Iterator[Frame]:
        """Frames of `sample`, uint8 [H, W, 3], made as they are read."""

    def decode_all(
        self,
        pipe: Any,  # noqa: ANN401 -- untyped
        samples: Sequence[Sample],
        on_step: StepCallback,
        *,
        is_tiled: bool,
    ) -> list[Iterator[Frame]]:
        """Frames of every one of `samples`; see `decode`."""
        return [self.decode(pipe, sample, on_step, is_tiled=is_tiled) for sample in samples]

    def find_pictures(self, pipe: Any) -> Pictures:  # noqa: ANN401 -- untyped
        """What these weights take beside a first frame."""
        del pipe
        return Pictures()

    def find_problem(self, card: ModelCard, pipe: Any) -> str | None:  # noqa: ANN401 -- untyped
        """What else of `card` these weights would round or ignore, as words for the operator."""
        del card, pipe
        return None

    def prepare(self, card: ModelCard, pipe: Any) -> None:  # noqa: ANN401 -- untyped
        """Put options of `card` on the pipeline, once."""
        del card, pipe

    def count_bars(self, card: ModelCard, pipe: Any, first: VideoSpec) -> int:  # noqa: ANN401
        """How often one call begins to count its steps anew."""
        del card, pipe, first
        return 1

    def can_batch(self, loaded: Loaded, specs: Sequence[VideoSpec]) -> bool:
        """Whether one call takes all of `specs`, two or more."""
        del loaded, specs
        return True

    def make_previews(self, first: VideoSpec) -> PreviewMaker | None:
        """What shows clips like `first` while they are denoised; None where nothing can."""
        del first
        return None

    def make_sound(self, pipe: Any, sample: Sample, spec: VideoSpec) -> Audio:  # noqa: ANN401
        """The sound of `sample`, as long as the frames of `spec`."""
        raise NotImplementedError(f"{type(self).__name__} makes no sound")

    def set_tiling(self, pipe: Any, *, is_tiled: bool) -> None:  # noqa: ANN401 -- untyped
        """Have the autoencoder work in tiles, or not."""
        if is_tiled:
            pipe.vae.enable_tiling()
        else:
            pipe.vae.disable_tiling()

    def call(self, pipe: Any, arguments: dict[str, Any]) -> list[Sample]:  # noqa: ANN401 -- untyped
        """One call of the pipeline: a sample for each prompt."""
        latents: torch.Tensor = pipe(**arguments, output_type="latent").frames
        return [Sample(latents[row : row + 1]) for row in range(len(latents))]

    def _is_one_call(self, loaded: Loaded, specs: Sequence[VideoSpec]) -> bool:
        cache = loaded.card.modes[specs[0].mode].cache
        # It decides by the mean over the batch, so one clip would change what another skips.
        is_coupled = cache is not None and cache.kind == "first_block"
        return len(specs) == 1 or (not is_coupled and self.can_batch(loaded, specs))

    def _dtypes(self, card: ModelCard, device: str) -> dict[str, torch.dtype]:
        on_cpu = torch.device(device).type == "cpu"
        name = str(card.options.get("dtype", "float32" if on_cpu else "bfloat16"))
        if name not in DTYPES:
            known = ", ".join(DTYPES)
            raise LoadFailed(f"model {card.id}: option dtype must be one of {known}, not {name}")
        return {"default": DTYPES[name]} | dict.fromkeys(self.float32_parts, torch.float32)

    def _arguments(self, loaded: Loaded, specs: Sequence[VideoSpec]) -> dict[str, Any]:
        first, card = specs[0], loaded.card
        arguments: dict[str, Any] = {
            "prompt": [spec.prompt for spec in specs],
            "negative_prompt": [spec.negative_prompt for spec in specs],
            "width": first.width,
            "height": first.height,
            "num_frames": first.num_frames,
            "num_inference_steps": first.num_inference_steps,
            "guidance_scale": first.guidance_scale,
            "generator": [torch.Generator(loaded.device).manual_seed(spec.seed) for spec in specs],
        }
        if "max_sequence_length" in card.options:
            arguments["max_sequence_length"] = int(card.options["max_sequence_length"])
        if card.modes[first.mode].sigmas is not None:
            arguments["sigmas"] = card.modes[first.mode].sigmas
        return arguments | self.read_inputs(loaded, specs)

    @torch.inference_mode()
    def _sample(
        self,
        loaded: Loaded,
        calls: Sequence[dict[str, Any]],
        first: VideoSpec,
        on_step: StepCallback,
        *,
        is_watched: bool,
    ) -> list[Sample]:
        """Denoise, call after call, in the mode of `first`."""
        pipe, mode = loaded.pipelines[first.kind], loaded.card.modes[first.mode]
        samples: list[Sample] = []
        # Previews are of all clips of the batch at once.
        maker = self.make_previews(first) if is_watched and len(calls) == 1 else None
        num_bars = len(calls) * self.count_bars(loaded.card, pipe, first)
        pipe.progress_bar = _make_bars(on_step, maker.take if maker else tuple, num_bars)
        fuse_guidance = is_watched and bool(loaded.card.options.get("fuse_guidance"))
        with mode_in_force(
            pipe, mode, on_gpu=loaded.is_on_gpu, fuse_guidance=fuse_guidance
        ) as meter:
            for arguments in calls:
                samples += self._call_watched(pipe, arguments, maker)
        report_skips(meter, mode, model=loaded.card.id, mode_name=first.mode)
        return samples

    def _call_watched(
        self,
        pipe: Any,  # noqa: ANN401 -- untyped
        arguments: dict[str, Any],
        maker: PreviewMaker | None,
    ) -> list[Sample]:
        if maker:
            arguments = {**arguments, "callback_on_step_end": maker.watch}
        try:
            return self.call(pipe, arguments)
        finally:
            # The pipeline does it itself, but not after a cancel: weights go back to host memory.
            pipe.maybe_free_model_hooks()


def _make_bars(
    on_step: StepCallback, take_previews: Callable[[], Sequence[Frame]], num_bars: int
) -> Callable[..., StepBar]:
    """What a pipeline asks for its bars, `num_bars` of them in a batch, one after another."""
    numbers = count()

    def bar(iterable: object = None, total: int | None = None) -> StepBar:
        del iterable  # pipelines of video count their steps themselves
        steps = total or 1
        return StepBar(steps * num_bars, on_step, take_previews, done=steps * next(numbers))

    return bar


def _only_shape(specs: Sequence[VideoSpec]) -> VideoSpec:
    """The first of `specs`, which all have its batch key."""
    keys = {spec.batch_key for spec in specs}
    if len(keys) != 1:
        raise ValueError(f"a batch has one shape, not {len(keys)}: {sorted(keys)}")
    return specs[0]


def _arrange(loaded: Loaded, pipe: Any, is_sparing: bool) -> None:  # noqa: ANN401, FBT001
    """Have weights wait in host memory for this call, or all on the device again."""
    if is_sparing or loaded.offload is Offload.MODEL:
        pipe.enable_model_cpu_offload(device=loaded.device)
    elif loaded.offload is Offload.NONE and getattr(pipe, "_all_hooks", None):
        pipe.remove_all_hooks()
        pipe.to(loaded.device)
