"""One piece of a talking video through LTX-2: half size, twice the latents, full size.

The sound is given and stays as it is in every pass; the picture follows it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    LTX2DFRPipeline,
    LTX2LatentUpsamplePipeline,
)
from diffusers.pipelines.ltx2 import LTX2LatentUpsamplerModel, LTX2VideoCondition
from diffusers.pipelines.ltx2.utils import (
    DISTILLED_SIGMA_VALUES,
    STAGE_2_DISTILLED_SIGMA_VALUES,
    trim_canvas,
)
from torch import Tensor

from models.adapters.common import weight_bytes
from models.adapters.folder import read_pipeline
from models.adapters.ltx2 import LTX2Adapter
from models.adapters.placement import Offload, arrange, bring, device_bytes, place
from models.adapters.prompts import PromptCache
from models.card import ModelCard

UPSAMPLER_FOLDER = "latent_upsampler"
PIXELS = 32
"""Sides of a pass are multiples of this."""

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ChunkRequest:
    """What one piece is made from.

    Attributes:
        given: uint8 [F, height, width, 3], RGB: the portrait, or the last frames before.
        sound: float32 [1, C, L, M]: latents of what is heard.
        prompt: embeddings and their mask.
        num_frames: a multiple of 8, plus 1.
    """

    given: Frames
    sound: Tensor
    prompt: tuple[Tensor, Tensor]
    num_frames: int
    width: int
    height: int
    fps: int
    seed: int


class Stages:
    """The pipelines of one checkpoint on a device; `upsample` is None where it has no upsampler."""

    def __init__(self, pipe: Any, upsample: Any, device: str, offload: Offload) -> None:  # noqa: ANN401
        self.pipe = pipe
        self.upsample = upsample
        self.device = device
        self._offload = offload
        self._prompts = PromptCache(LTX2Adapter.prompt_cache_bytes)

    @property
    def memory_bytes(self) -> int:
        """The weights that lie on the device at a time; of a CPU, prompts that are kept too."""
        weights = device_bytes(self.pipe, self._offload)
        if self.upsample:
            weights += weight_bytes([self.upsample.latent_upsampler])
        is_on_cpu = torch.device(self.device).type == "cpu"
        return weights + (self._prompts.num_bytes if is_on_cpu else 0)

    @property
    def num_steps(self) -> int:
        """Denoising steps of a piece."""
        second = len(STAGE_2_DISTILLED_SIGMA_VALUES) if self.upsample else 0
        return len(DISTILLED_SIGMA_VALUES) + second

    @property
    def size_multiple(self) -> int:
        """What both sides of a piece are multiples of."""
        return PIXELS * (2 if self.upsample else 1)

    @torch.inference_mode()
    def encode_prompt(self, prompt: str, max_length: int) -> tuple[Tensor, Tensor]:
        """Embeddings and their mask; once for all pieces, and for jobs that say the same."""
        embeddings, mask = self._prompts.find_or_make(
            (max_length, prompt),
            lambda: self.pipe.encode_prompt(prompt, max_sequence_length=max_length),
        )
        return embeddings.to(self.device), mask.to(self.device)

    @torch.inference_mode()
    def sample(self, request: ChunkRequest, on_step: Callable[[], None]) -> Tensor:
        """Latents of a piece, [1, C, F, h, w]; whatever `on_step` raises ends it at that step."""
        self.pipe.progress_bar = lambda **_: _Bar(on_step)
        try:
            if not self.upsample:
                made = self._run(request, DISTILLED_SIGMA_VALUES)
            else:
                half = replace(request, width=request.width // 2, height=request.height // 2)
                made = self._run(request, STAGE_2_DISTILLED_SIGMA_VALUES, self._run(half))
        finally:
            # Also after a cancel, or weights of this call stay where the next one needs room.
            self.pipe.maybe_free_model_hooks()
        ratio = self.pipe.vae_temporal_compression_ratio
        latents: Tensor = trim_canvas(made.frames, request.num_frames, ratio)
        return latents

    def _run(
        self,
        request: ChunkRequest,
        sigmas: list[float] = DISTILLED_SIGMA_VALUES,
        smaller: Any = None,  # noqa: ANN401 -- untyped
    ) -> Any:  # noqa: ANN401 -- as above
        """One pass; `smaller`: the one at half the size that it refines."""
        embeddings, mask = request.prompt
        refined = {}
        if smaller is not None:
            refined["latents"] = self._enlarged(smaller.frames)
            if smaller.keyframes is not None:
                refined["keyframes_latents"] = self._enlarged(smaller.keyframes)
                refined["keyframe_positions"] = smaller.keyframe_positions
        return self.pipe(
            prompt_embeds=embeddings,
            prompt_attention_mask=mask,
            conditions=[LTX2VideoCondition(frames=request.given, index=0, strength=1.0)],
            height=request.height,
            width=request.width,
            num_frames=request.num_frames,
            frame_rate=float(request.fps),
            audio_latents=request.sound.to(self.device),
            freeze_audio=True,
            generate_slots=bool(self.pipe.transformer.config.use_keyframes_abs_pos_embedding),
            sigmas=list(sigmas),
            generator=torch.Generator(self.device).manual_seed(request.seed),
            output_type="latent",
            **refined,
        )

    def _enlarged(self, latents: Tensor) -> Tensor:
        enlarged: Tensor = self.upsample(latents=latents, output_type="latent", return_dict=False)[
            0
        ]
        return enlarged

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Frames:
        """Frames of a piece: uint8 [F, H, W, 3], RGB, in host memory."""
        vae = self.pipe.vae
        bring(vae)
        on_device = latents.to(self.device, vae.dtype)
        timestep = None
        if vae.config.timestep_conditioning:
            timestep = torch.zeros(1, device=self.device, dtype=vae.dtype)
        [pixels] = vae.decode(on_device, timestep, return_dict=False)[0]
        result = np.empty((pixels.shape[1], *pixels.shape[2:], 3), np.uint8)
        for index in range(len(result)):
            levels = (pixels[:, index].float().clamp(-1, 1) + 1) * 127.5
            result[index] = levels.round().byte().permute(1, 2, 0).cpu().numpy()
        return result


def load_stages(card: ModelCard, folder: Path, upsampler: Path | None, device: str) -> Stages:
    """Read the pipeline in `folder`, and the upsampler beside it or in `upsampler`.

    Raises:
        LoadFailed: there is too little room on the device.
        Exception: whatever diffusers has against the files or the device.
    """
    dtype = torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16
    pipe = read_pipeline(LTX2DFRPipeline, folder, {"default": dtype})
    # The distilled schedule is given as it is to be walked.
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=False, shift_terminal=None
    )
    upsample = None
    found = upsampler or folder / UPSAMPLER_FOLDER
    if found.exists():
        network = LTX2LatentUpsamplerModel.from_pretrained(
            found, dtype=dtype, local_files_only=True, use_safetensors=True
        )
        upsample = LTX2LatentUpsamplePipeline(vae=pipe.vae, latent_upsampler=network.eval())
        upsample.latent_upsampler.to(device)
    offload = place(pipe, card, device, str(card.options.get("offload", "auto")))
    arrange(pipe, device, offload)
    return Stages(pipe, upsample, device, offload)


class _Bar:
    """Stands in for the progress bar of diffusers, which every step passes."""

    def __init__(self, on_step: Callable[[], None]) -> None:
        self._on_step = on_step

    def update(self) -> None:
        self._on_step()

    def close(self) -> None:
        """A pass is over."""
