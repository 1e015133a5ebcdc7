"""LTX-2 in two passes: a clip at half its size, its latents enlarged, and a few steps more.

As the documentation of diffusers puts its parts together. Picture and sound are noised again and
refined together; given frames are given to both passes, each at its size.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.ltx2 import LTX2LatentUpsamplerModel

from models.adapters.folder import read_model
from models.adapters.lora import loras_in_force
from models.adapters.quirks import Sample
from models.adapters.sampling import verbatim
from models.modes import SecondPass

ENLARGED = 2
"""How many times each side is as long in the second pass."""

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Refinement:
    """What the second pass of a call is made with; `unguided`: arguments that guide nothing."""

    second_pass: SecondPass
    upsampler: Any
    unguided: Mapping[str, float]


def read_upsampler(pipe: Any, folder: Path) -> Any:  # noqa: ANN401 -- diffusers is untyped
    """The network in `folder`, in host memory.

    Raises:
        ValueError: it is missing, incomplete, or enlarges something else than latents of `pipe`.
    """
    if not folder.is_dir():
        raise ValueError(f"is not in {folder.parent}")
    model = read_model(LTX2LatentUpsamplerModel, folder, pipe.vae.dtype)
    config = model.config
    scale = config.rational_spatial_scale if config.use_rational_resampler else ENLARGED
    if not config.spatial_upsample or config.temporal_upsample or scale != ENLARGED:
        raise ValueError(f"does not make both sides {ENLARGED} times as long and nothing else")
    if config.in_channels != pipe.transformer.config.in_channels:
        raise ValueError(
            f"is of another model: it enlarges {config.in_channels} channels of latents, "
            f"not {pipe.transformer.config.in_channels}"
        )
    return model


def sample_in_two_passes(
    call: Callable[[Any, Arguments], list[Sample]],
    pipe: Any,  # noqa: ANN401 -- diffusers is untyped
    arguments: Arguments,
    refinement: Refinement,
) -> list[Sample]:
    """A sample for each prompt; noise of both passes comes from the same generators.

    Args:
        call: one pass.
        pipe: of diffusers.
        arguments: of a call at full size.
        refinement: what follows the first pass, which alone is guided and shows previews.
    """
    half = {name: arguments[name] // ENLARGED for name in ("width", "height")}
    smaller = call(pipe, {**arguments, **half})
    second = refinement.second_pass
    again = {
        **arguments,
        **refinement.unguided,
        "guidance_scale": 1.0,
        "sigmas": second.sigmas,
        "num_inference_steps": len(second.sigmas),
        "noise_scale": second.sigmas[0],
        "latents": torch.cat([enlarge(refinement.upsampler, each.video) for each in smaller]),
        "audio_latents": torch.cat([each.sound for each in smaller if each.sound is not None]),
    }
    again.pop("callback_on_step_end", None)
    with _second_pass_in_force(pipe, second):
        return call(pipe, again)


def enlarge(upsampler: Any, latents: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 -- untyped
    """Latents of one clip, [1, C, F, h, w], as the autoencoder reads them, to [1, C, F, 2h, 2w]."""
    enlarged: torch.Tensor = upsampler(latents.to(upsampler.dtype)).to(latents.dtype)
    return enlarged


@contextmanager
def _second_pass_in_force(pipe: Any, second_pass: SecondPass) -> Iterator[None]:  # noqa: ANN401
    with ExitStack() as stack:
        stack.callback(setattr, pipe, "scheduler", pipe.scheduler)
        pipe.scheduler = verbatim(pipe.scheduler)
        stack.enter_context(loras_in_force(pipe, second_pass))
        yield
