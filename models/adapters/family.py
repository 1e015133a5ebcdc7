"""What all families of diffusers pipelines share: loading, one call for a batch, lazy clips.

What they do not share is what `quirks` asks a family for.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from models.adapters.common import StepBar, memory_errors_named
from models.adapters.denoisers import store_in_float8, transformers_of
from models.adapters.distilled import distilled_in_force
from models.adapters.encoding import with_embeddings
from models.adapters.extras import Extras, read_extras
from models.adapters.fitting import check_card, check_offload, check_weights
from models.adapters.folder import read_class_name, read_pipeline
from models.adapters.lora import load_loras
from models.adapters.placement import Offload, arrange, device_bytes, place
from models.adapters.previews import PreviewMaker
from models.adapters.prompts import PromptCache
from models.adapters.quirks import Family, Loaded, Sample
from models.adapters.sampling import mode_in_force, report_skips
from models.card import ModelCard
from models.modes import Mode
from models.pipeline import Clip, LoadFailed, StepCallback
from models.spec import Kind, Stage, VideoSpec

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
NO_EXTRAS = Extras()
ALL_THREADS = torch.get_num_threads()


class DiffusersAdapter(Family):
    """A renderer of one family; see `models.pipeline.VideoPipeline`.

    A clip of a batch equals the clip rendered alone to rounding (one 8-bit level); the same batch
    on the same device gives the same frames bit by bit.
    """

    def __init__(self) -> None:
        self._loaded: Loaded | None = None

    @property
    def memory_bytes(self) -> int:
        """What lies on the device at a time; 0 before `load`.

        Weights, of all kinds together, and where the device is the host, prompts that are kept.
        """
        loaded = self._loaded
        if loaded is None:
            return 0
        weights = device_bytes(next(iter(loaded.pipelines.values())), loaded.offload)
        weights += loaded.extras.num_bytes
        return weights + (0 if loaded.is_on_gpu else loaded.prompts.num_bytes)

    @property
    def pipelines(self) -> Mapping[Kind, Any]:
        """The pipeline of every kind of the card, on one set of weights; none before `load`."""
        return self._loaded.pipelines if self._loaded else {}

    @property
    def transformers(self) -> list[Any]:
        """What denoises, each once; none before `load`."""
        found = [part for pipe in self.pipelines.values() for part in transformers_of(pipe)]
        return list({id(part): part for part in found}.values())

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
            self.adopt(card, pipe, device, read_extras(self, pipe, card, folder))
        except LoadFailed:
            raise
        except Exception as error:
            # Whatever diffusers, safetensors or the device has against these files is one fault.
            raise LoadFailed(
                f"model {card.id}: {folder} does not load on {device} ({error}): "
                "check that the folder is complete and the device is free"
            ) from error

    def adopt(
        self,
        card: ModelCard,
        pipe: Any,  # noqa: ANN401 -- untyped
        device: str,
        extras: Extras = NO_EXTRAS,
    ) -> None:
        """Serve `card` with `pipe`, the last step of `load`; its weights go to `device`.

        For weights that come from no folder: nothing is checked against the card.
        """
        self.prepare(card, pipe)
        for vae in (pipe.vae, *extras.autoencoders):
            self.prepare_autoencoder(vae, torch.device(device))
        pipelines = {kind: self.derive(pipe, kind) for kind in card.kinds}
        if "weights" in card.options:
            for transformer in (*transformers_of(pipe), *extras.transformers):
                store_in_float8(transformer)
        asked = str(card.options.get("offload", "auto"))
        offload = place(pipe, card, device, asked, extras.num_bytes)
        check_offload(card, offload)
        extras.place(card, device, offload)
        prompts = PromptCache(int(card.options.get("prompt_cache_bytes", self.prompt_cache_bytes)))
        self._loaded = Loaded(card, device, pipelines, offload, prompts, extras)

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
        num_steps = len(calls) * self.count_steps(loaded.card, pipe, first)
        on_step(Stage.DENOISING, 0, num_steps)
        is_tiled = bool(presets.get("vae_tiling"))
        with memory_errors_named(f"{len(specs)} x {first.size}, {first.num_frames} frames"):
            is_sparing = presets.get("offload") == Offload.MODEL
            arrange(pipe, loaded.device, Offload.MODEL if is_sparing else loaded.offload)
            mode = loaded.card.modes[first.mode]
            with distilled_in_force(pipe, mode, loaded.extras.distilled):
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
        is_shown = is_watched and len(calls) == 1
        maker = self.make_previews(_first_pass(first, mode)) if is_shown else None
        num_steps = len(calls) * self.count_steps(loaded.card, pipe, first)
        pipe.progress_bar = StepBar(num_steps, on_step, maker.take if maker else tuple)
        fuse_guidance = is_watched and bool(loaded.card.options.get("fuse_guidance"))
        with mode_in_force(
            pipe, mode, on_gpu=loaded.is_on_gpu, fuse_guidance=fuse_guidance
        ) as meter:
            for arguments in calls:
                samples += self._call_watched(loaded, pipe, arguments, maker)
        report_skips(meter, mode, model=loaded.card.id, mode_name=first.mode)
        return samples

    def _call_watched(
        self,
        loaded: Loaded,
        pipe: Any,  # noqa: ANN401 -- untyped
        arguments: dict[str, Any],
        maker: PreviewMaker | None,
    ) -> list[Sample]:
        if maker:
            arguments = {**arguments, "callback_on_step_end": maker.watch}
        try:
            return self.call(pipe, with_embeddings(self, loaded, pipe, arguments))
        finally:
            # The pipeline does it itself, but not after a cancel: weights go back to host memory.
            pipe.maybe_free_model_hooks()


def _first_pass(spec: VideoSpec, mode: Mode) -> VideoSpec:
    """What the first pass of `spec` makes: the clip, at half its size if another pass follows."""
    if mode.second_pass is None:
        return spec
    return spec.model_copy(update={"width": spec.width // 2, "height": spec.height // 2})


def _only_shape(specs: Sequence[VideoSpec]) -> VideoSpec:
    """The first of `specs`, which all have its batch key."""
    keys = {spec.batch_key for spec in specs}
    if len(keys) != 1:
        raise ValueError(f"a batch has one shape, not {len(keys)}: {sorted(keys)}")
    return specs[0]
