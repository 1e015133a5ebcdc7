"""Wan: text-to-video, and image-to-video from the same folder (Wan 2.2 TI2V, Wan 2.1 T2V).

The pipelines are the stock ones of diffusers. They sample latents; `wan_decode` turns these into
frames while they are read.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from diffusers import WanImageToVideoPipeline, WanPipeline
from diffusers.utils import logging as diffusers_logging

from models.adapters.common import (
    StepBar,
    load_first_frame,
    memory_errors_named,
    weight_bytes,
)
from models.adapters.wan_batch import decode_batch
from models.adapters.wan_decode import decode_tiled
from models.adapters.wan_preview import PreviewMaker
from models.catalog import BUILTIN_PREFIX, ModelCard
from models.pipeline import Clip, LoadFailed, StepCallback
from models.spec import Kind, Stage, VideoSpec

INDEX_FILE = "model_index.json"
PIPELINE_CLASSES = ("WanPipeline", "WanImageToVideoPipeline")
LOW_MEMORY_OPTIONS = {"vae_tiling"}


class PerRowImageToVideo(WanImageToVideoPipeline):  # type: ignore[misc]  # diffusers is untyped
    """`WanImageToVideoPipeline` with a first frame for every clip of a batch.

    The stock class encodes one image for all. It draws noise and encodes the image in
    `prepare_latents` alone, so calling that once per clip is enough.
    """

    def prepare_latents(
        self,
        image: torch.Tensor,
        batch_size: int,  # noqa: ARG002  # the images say it too
        *rest: object,
    ) -> tuple[torch.Tensor, ...]:
        """Noise, clean first latents and the mask that tells them apart, of the whole batch.

        Args:
            image: [N, 3, H, W] in [-1, 1].
            batch_size: N.
            *rest: six numbers and places, then the generators and two things we never give, in
                the order of the one upstream call.
        """
        *shape, generators, _, _ = rest
        per_clip = zip(
            torch.split(image, 1), cast("list[torch.Generator]", generators), strict=True
        )
        rows = [
            super(PerRowImageToVideo, self).prepare_latents(frame, 1, *shape, [generator])
            for frame, generator in per_clip
        ]
        noise, condition, mask = zip(*rows, strict=True)
        return torch.cat(noise), torch.cat(condition), mask[0]


@dataclass(frozen=True)
class _Loaded:
    card: ModelCard
    device: str
    pipelines: dict[Kind, WanPipeline | PerRowImageToVideo]


class WanAdapter:
    """Renders with Wan; see `models.pipeline.VideoPipeline`.

    A clip of a batch equals the clip rendered alone to rounding (one 8-bit level); the same batch
    on the same device gives the same frames bit by bit.
    """

    def __init__(self) -> None:
        self._loaded: _Loaded | None = None

    @property
    def memory_bytes(self) -> int:
        """The weights, which both kinds share; 0 before `load`."""
        if self._loaded is None:
            return 0
        return weight_bytes(next(iter(self._loaded.pipelines.values())).components.values())

    def load(self, card: ModelCard, device: str) -> None:
        """Read the folder of `card` onto `device`: float32 on a CPU, else bfloat16.

        The autoencoder stays float32 everywhere: in bfloat16 its flat areas show bands.

        Raises:
            LoadFailed: names the folder and what to do.
        """
        folder = card.checkpoint_path(Path.cwd())
        _check_folder(card, folder)
        text_to_video = _read_pipeline(card, folder, device)
        _check_fits(card, folder, text_to_video)
        pipelines = {Kind.TEXT_TO_VIDEO: text_to_video}
        if Kind.IMAGE_TO_VIDEO in card.kinds:
            pipelines[Kind.IMAGE_TO_VIDEO] = derive_image_to_video(text_to_video)
        self._loaded = _Loaded(card, device, pipelines)

    def generate(
        self, specs: Sequence[VideoSpec], on_step: StepCallback, *, low_memory: bool = False
    ) -> Sequence[Clip]:
        """Denoise `specs` together; each clip decodes while its frames are read.

        With `low_memory` and the preset `vae_tiling`, pictures pass the autoencoder in tiles:
        less memory, frames that differ a little near the seams, and the whole clip in host
        memory before its first frame.
        """
        loaded = self._loaded
        if loaded is None:
            raise RuntimeError("load() comes before generate()")
        for spec in specs:
            loaded.card.check(spec)
        first = _only_shape(specs)
        arguments = _arguments(loaded, specs)
        on_step(Stage.DENOISING, 0, first.num_inference_steps)
        pipe = loaded.pipelines[first.kind]
        previews: PreviewMaker | None = PreviewMaker(first.kind, first.num_inference_steps)
        pipe.vae.disable_tiling()
        is_tiled = bool(low_memory and loaded.card.low_memory.get("vae_tiling"))
        if is_tiled:
            previews = None
            pipe.vae.enable_tiling()
        work = f"{len(specs)} x {first.size}, {first.num_frames} frames"
        with memory_errors_named(work):
            latents = _denoise(pipe, arguments, on_step, previews)
        if is_tiled:
            rows = (latents[row : row + 1] for row in range(len(specs)))
            clips = [decode_tiled(pipe.vae, row, on_step) for row in rows]
        else:
            clips = decode_batch(pipe.vae, latents, on_step)
        return [Clip(frames, Fraction(spec.fps)) for frames, spec in zip(clips, specs, strict=True)]


def derive_image_to_video(text_to_video: WanPipeline) -> PerRowImageToVideo:
    """The image-to-video pipeline on the weights of `text_to_video`; nothing is copied.

    Not by `from_pipe`, which casts the shared weights to float32 (diffusers 0.42). The two
    settings must be repeated: `components` leaves them out, and without `expand_timesteps` the
    transformer would be fed twice its channels.
    """
    return PerRowImageToVideo(
        **text_to_video.components,
        expand_timesteps=text_to_video.config.expand_timesteps,
        boundary_ratio=text_to_video.config.boundary_ratio,
    )


def _check_folder(card: ModelCard, folder: Path) -> None:
    remedy = "put a diffusers folder there, or change `checkpoint` in the model card"
    if card.checkpoint.startswith(BUILTIN_PREFIX):
        remedy = "its weights belong to the package; install it again"
    index = folder / INDEX_FILE
    try:
        class_name = json.loads(index.read_text(encoding="utf-8"))["_class_name"]
    except FileNotFoundError:
        raise LoadFailed(f"model {card.id}: no {INDEX_FILE} in {folder}: {remedy}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LoadFailed(f"model {card.id}: {index} is broken ({error}): {remedy}") from error
    if class_name not in PIPELINE_CLASSES:
        raise LoadFailed(
            f"model {card.id}: {folder} holds a {class_name}, this adapter reads "
            f"{' or '.join(PIPELINE_CLASSES)}: change `adapter` or `checkpoint` in the model card"
        )


def _read_pipeline(card: ModelCard, folder: Path, device: str) -> WanPipeline:
    diffusers_logging.disable_progress_bar()
    transformers.logging.disable_progress_bar()
    on_cpu = torch.device(device).type == "cpu"
    dtypes = {"default": torch.float32 if on_cpu else torch.bfloat16, "vae": torch.float32}
    try:
        pipe = WanPipeline.from_pretrained(
            folder, dtype=dtypes, local_files_only=True, use_safetensors=True
        )
        pipe.to(device)
    except Exception as error:
        # Whatever diffusers, safetensors or the device has against these files is one fault to us.
        raise LoadFailed(
            f"model {card.id}: {folder} does not load on {device} ({error}): "
            "check that the folder is complete and the device is free"
        ) from error
    for component in pipe.components.values():
        if isinstance(component, torch.nn.Module):
            component.eval()
    return pipe


def _check_fits(card: ModelCard, folder: Path, pipe: WanPipeline) -> None:
    """Refuse a card that allows what these weights would silently round or ignore."""
    where = f"model {card.id}: its card does not fit {folder}"
    if unknown := card.low_memory.keys() - LOW_MEMORY_OPTIONS:
        raise LoadFailed(f"{where}: low_memory must leave out {', '.join(sorted(unknown))}")
    pixels = pipe.vae_scale_factor_spatial * pipe.transformer.config.patch_size[1]
    if card.size_multiple % pixels:
        raise LoadFailed(f"{where}: size_multiple must be a multiple of {pixels}")
    stride = pipe.vae_scale_factor_temporal
    if card.num_frames.multiple % stride or (card.num_frames.offset - 1) % stride:
        raise LoadFailed(f"{where}: num_frames must be a multiple of {stride}, plus 1")
    if Kind.IMAGE_TO_VIDEO in card.kinds and not pipe.config.expand_timesteps:
        raise LoadFailed(f"{where}: kinds must leave out {Kind.IMAGE_TO_VIDEO}")


def _only_shape(specs: Sequence[VideoSpec]) -> VideoSpec:
    """The first of `specs`, which all have its batch key."""
    keys = {spec.batch_key for spec in specs}
    if len(keys) != 1:
        raise ValueError(f"a batch has one shape, not {len(keys)}: {sorted(keys)}")
    return specs[0]


def _arguments(loaded: _Loaded, specs: Sequence[VideoSpec]) -> dict[str, Any]:
    first = specs[0]
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
    if "max_sequence_length" in loaded.card.options:
        arguments["max_sequence_length"] = int(loaded.card.options["max_sequence_length"])
    if first.kind is Kind.IMAGE_TO_VIDEO:
        images = [load_first_frame(spec.image, spec.width, spec.height) for spec in specs]
        arguments["image"] = torch.stack(images)
    return arguments


@torch.inference_mode()
def _denoise(
    pipe: WanPipeline | PerRowImageToVideo,
    arguments: dict[str, Any],
    on_step: StepCallback,
    previews: PreviewMaker | None,
) -> torch.Tensor:
    """Sample latents: [N, C, F, h, w]. Image-to-video ends with the clean first one put back."""
    take = previews.take if previews else tuple
    pipe.progress_bar = lambda total: StepBar(total, on_step, take)
    if previews:
        arguments = {**arguments, "callback_on_step_end": previews.watch}
    try:
        latents: torch.Tensor = pipe(**arguments, output_type="latent").frames
    finally:
        # Also after a cancel, or caches and hooks of this batch reach into the next one.
        pipe.maybe_free_model_hooks()
    return latents
