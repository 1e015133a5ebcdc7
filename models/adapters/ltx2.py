"""LTX-2: a video and its sound from one denoising, from text and from given frames.

Given frames go through diffusers' `LTX2ConditionPipeline`, which takes them at any frame but knows
one seed for all clips of a call; text alone goes through `LTX2Pipeline`. Picture and sound are
denoised together, whether the sound is wanted or not.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import LTX2ConditionPipeline, LTX2Pipeline
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition
from typing_extensions import override

from models.adapters.common import load_image, refuse_pictures
from models.adapters.family import DiffusersAdapter
from models.adapters.fitting import Grid
from models.adapters.ltx2_decode import decode_in_time_tiles
from models.adapters.ltx2_passes import Refinement, read_upsampler, sample_in_two_passes
from models.adapters.pixels import decode_whole, to_frames
from models.adapters.placement import bring
from models.adapters.previews import PreviewMaker, TwoPointPrediction
from models.adapters.quirks import Loaded, Sample
from models.card import ModelCard
from models.cardparts import MAX_KEYFRAMES, Pictures
from models.pipeline import Audio, Frame, StepCallback
from models.spec import Kind, VideoSpec

GUIDANCE = {
    "stg_scale": 1.0,
    "modality_scale": 3.0,
    "guidance_rescale": 0.7,
    "audio_guidance_scale": 7.0,
    "audio_stg_scale": 1.0,
    "audio_modality_scale": 3.0,
    "audio_guidance_rescale": 0.7,
}
"""Beside `guidance_scale`; the defaults of diffusers, which a card's options replace."""

NO_GUIDANCE = {
    "stg_scale": 0.0,
    "modality_scale": 1.0,
    "guidance_rescale": 0.0,
    "audio_guidance_scale": 1.0,
    # A zero would be read as: take that of the video, which is zero too.
    "audio_stg_scale": 0.0,
    "audio_modality_scale": 1.0,
    "audio_guidance_rescale": 0.0,
}

MIN_STEPS = 2
"""Its scheduler stretches the schedule between the first and the last step, and divides by it."""


class LTX2Adapter(DiffusersAdapter):
    """Renders with LTX-2, 2.3 and 2.5.

    Options of a card: those of `GUIDANCE`; `stg_block`, the transformer block that spatio-temporal
    guidance leaves out (29 in LTX-2, 28 in 2.3); `use_cross_timestep` (false for LTX-2).
    """

    classes: ClassVar[tuple[str, ...]] = (
        "LTX2Pipeline",
        "LTX2ImageToVideoPipeline",
        "LTX2ConditionPipeline",
    )
    # The first block hands two streams on, and its stock hook knows one.
    caches: ClassVar[frozenset[str]] = frozenset({"taylor"})
    options: ClassVar[frozenset[str]] = DiffusersAdapter.options | frozenset(
        {*GUIDANCE, "stg_block", "use_cross_timestep"}
    )
    float32_parts: ClassVar[tuple[str, ...]] = ()
    embeddings: ClassVar[tuple[str, ...]] = ("prompt_embeds", "prompt_attention_mask")
    # It keeps what all 49 layers of its encoder say: 385 MB for a prompt of 1024 tokens.
    prompt_cache_bytes: ClassVar[int] = 1 << 30
    takes_sigmas: ClassVar[bool] = True
    takes_two_passes: ClassVar[bool] = True
    makes_sound: ClassVar[bool] = True

    @override
    def stock_class(self, class_name: str) -> Any:
        return LTX2Pipeline

    @override
    def derive(self, pipe: Any, kind: Kind) -> Any:
        if kind is Kind.IMAGE_TO_VIDEO:
            return LTX2ConditionPipeline(**pipe.components)
        return pipe

    @override
    def find_kinds(self, pipe: Any) -> frozenset[Kind]:
        return frozenset({Kind.TEXT_TO_VIDEO, Kind.IMAGE_TO_VIDEO})

    @override
    def find_pictures(self, pipe: Any) -> Pictures:
        return Pictures(last_image="taken", keyframes=MAX_KEYFRAMES)

    @override
    def find_grid(self, pipe: Any) -> Grid:
        # The pipeline asks for 32 whatever the autoencoder would do with.
        pixels = max(32, pipe.vae_spatial_compression_ratio * pipe.transformer_spatial_patch_size)
        return Grid(pixels=pixels, frames=pipe.vae_temporal_compression_ratio)

    @override
    def find_problem(self, card: ModelCard, pipe: Any) -> str | None:
        if pipe.scheduler.config.shift_terminal and card.num_inference_steps.min < MIN_STEPS:
            return f"num_inference_steps: min must be {MIN_STEPS} or more"
        return None

    @override
    def read_upsampler(self, pipe: Any, folder: Path) -> Any:
        return read_upsampler(pipe, folder)

    @override
    def can_batch(self, loaded: Loaded, specs: Sequence[VideoSpec]) -> bool:
        # Given frames are those of all clips of a call.
        return not any(spec.kind is Kind.IMAGE_TO_VIDEO or spec.keyframes for spec in specs)

    @override
    def read_inputs(self, loaded: Loaded, specs: Sequence[VideoSpec]) -> dict[str, Any]:
        first, options = specs[0], loaded.card.options
        refuse_pictures(specs, last_image=first.kind is Kind.IMAGE_TO_VIDEO)
        guided = {name: float(options.get(name, value)) for name, value in GUIDANCE.items()}
        arguments: dict[str, Any] = {
            "frame_rate": float(first.fps),
            **(guided if first.guidance_scale > 1 else NO_GUIDANCE),
        }
        if "stg_block" in options:
            arguments["spatio_temporal_guidance_blocks"] = [int(options["stg_block"])]
        if "use_cross_timestep" in options:
            arguments["use_cross_timestep"] = bool(options["use_cross_timestep"])
        if first.kind is Kind.IMAGE_TO_VIDEO or first.keyframes:
            ratio = loaded.pipelines[first.kind].vae_temporal_compression_ratio
            arguments["conditions"] = _given_frames(first, ratio)
            arguments["generator"] = torch.Generator(loaded.device).manual_seed(first.seed)
        if second_pass := loaded.card.modes[first.mode].second_pass:
            upsampler = loaded.extras.upsamplers[second_pass.upsampler]
            arguments["refinement"] = Refinement(second_pass, upsampler, NO_GUIDANCE)
        return arguments

    @override
    def call(self, pipe: Any, arguments: dict[str, Any]) -> list[Sample]:
        plain = {name: value for name, value in arguments.items() if name != "refinement"}
        if "refinement" in arguments:
            return sample_in_two_passes(_call_once, pipe, plain, arguments["refinement"])
        return _call_once(pipe, plain)

    @override
    def make_previews(self, first: VideoSpec) -> PreviewMaker:
        is_first_given = first.kind is Kind.IMAGE_TO_VIDEO

        def show(pipe: Any, clean: torch.Tensor) -> Sequence[Frame]:  # noqa: ANN401 -- untyped
            latents = _unpacked(pipe, clean, first)
            frame = latents.shape[2] // 2 if is_first_given else 0
            picture = _decode(pipe.vae, latents[:, :, frame : frame + 1])
            return [clip[0] for clip in to_frames(picture)]

        return PreviewMaker(first.num_inference_steps, TwoPointPrediction(), show)

    @override
    @torch.inference_mode()
    def make_sound(self, pipe: Any, sample: Sample, spec: VideoSpec) -> Audio:
        assert sample.sound is not None  # noqa: S101 -- `call` gives every sample one
        spectrogram = pipe.audio_vae.decode(
            sample.sound.to(pipe.audio_vae.dtype), return_dict=False
        )[0]
        [wave] = pipe.vocoder(spectrogram).float().clamp(-1, 1).cpu().numpy()
        rate = int(pipe.vocoder.config.output_sampling_rate)
        # Latents of sound are coarser than frames, so it comes out a little longer or shorter.
        wanted = round(spec.num_frames * rate / spec.fps)
        wave = wave[:, :wanted]
        return Audio(np.pad(wave, ((0, 0), (0, wanted - wave.shape[1]))), rate)

    @override
    def decode(
        self, pipe: Any, sample: Sample, on_step: StepCallback, *, is_tiled: bool
    ) -> Iterator[Frame]:
        vae = pipe.vae
        if is_tiled:
            bring(vae)
            return decode_in_time_tiles(vae, sample.video, on_step)
        return decode_whole(lambda: _decode(vae, sample.video), on_step)


def _pipe_for(pipe: Any, arguments: dict[str, Any]) -> Any:  # noqa: ANN401 -- untyped
    """`pipe`, or what takes given frames on its weights: a text may come with keyframes."""
    if "conditions" not in arguments or isinstance(pipe, LTX2ConditionPipeline):
        return pipe
    taking = LTX2ConditionPipeline(**pipe.components)
    taking.progress_bar = pipe.progress_bar
    return taking


def _given_frames(spec: VideoSpec, ratio: int) -> list[Any]:
    """The pictures of `spec`, each exactly at its frame.

    The pipeline asks for a latent frame: 0 is the first frame of the clip, k begins with frame
    `ratio` * (k - 1) + 1. Only at 0 does it replace one; elsewhere a picture becomes tokens of its
    own, whose time is computed from the index. So a fraction stands for a frame in between, as the
    authors of the model place it (`VideoConditionByKeyframeIndex` of ltx-core).
    """
    given = [(keyframe.frame, keyframe.image, "keyframes") for keyframe in spec.keyframes]
    if spec.last_image is not None:
        given.append((spec.num_frames - 1, spec.last_image, "last_image"))
    conditions = [
        LTX2VideoCondition(
            frames=load_image(path, spec.width, spec.height, param),
            index=1 + (frame - 1) / ratio,
        )
        for frame, path, param in given
    ]
    if spec.kind is Kind.IMAGE_TO_VIDEO:
        first = load_image(spec.image, spec.width, spec.height)
        conditions.insert(0, LTX2VideoCondition(frames=first, index=0))
    return conditions


def _call_once(pipe: Any, arguments: dict[str, Any]) -> list[Sample]:  # noqa: ANN401 -- untyped
    made = _pipe_for(pipe, arguments)(**arguments, output_type="latent")
    rows = range(len(made.frames))
    return [Sample(made.frames[row : row + 1], made.audio[row : row + 1]) for row in rows]


def _decode(vae: Any, latents: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 -- untyped
    bring(vae)
    # Of autoencoders that also denoise: nothing is left to do for them.
    timestep = None
    if vae.config.timestep_conditioning:
        timestep = torch.zeros(len(latents), device=latents.device, dtype=vae.dtype)
    pixels: torch.Tensor = vae.decode(latents.to(vae.dtype), timestep, return_dict=False)[0]
    return pixels


def _unpacked(pipe: Any, packed: torch.Tensor, spec: VideoSpec) -> torch.Tensor:  # noqa: ANN401
    """Latents as the pipeline samples them, [N, tokens, D], to those of the autoencoder."""
    frames = (spec.num_frames - 1) // pipe.vae_temporal_compression_ratio + 1
    height = spec.height // pipe.vae_spatial_compression_ratio
    width = spec.width // pipe.vae_spatial_compression_ratio
    patch, patch_t = pipe.transformer_spatial_patch_size, pipe.transformer_temporal_patch_size
    # Given frames beyond the first are more tokens at the end.
    tokens = packed[:, : (frames // patch_t) * (height // patch) * (width // patch)]
    latents = pipe._unpack_latents(  # noqa: SLF001 -- there is no other
        tokens, frames // patch_t, height // patch, width // patch, patch, patch_t
    )
    unpacked: torch.Tensor = pipe._denormalize_latents(  # noqa: SLF001 -- as above
        latents, pipe.vae.latents_mean, pipe.vae.latents_std, pipe.vae.config.scaling_factor
    )
    return unpacked
