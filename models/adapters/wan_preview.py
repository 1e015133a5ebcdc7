"""Pictures of what a Wan clip becomes, made while it is denoised.

The scheduler predicts the clean latents at every step and keeps that prediction; one latent frame
of it, decoded, already looks like the video when the latents themselves are still mostly noise.
"""

from collections.abc import Sequence
from typing import Any

import torch

from models.adapters.wan_decode import decode_pictures
from models.pipeline import Frame, OutOfMemory
from models.spec import Kind

MAX_PREVIEWS = 4
MIN_EVERY = 12
"""Steps for each preview, at least: one costs about as much as a third of a step of the small
model, so all of them stay near 3 % of a render."""


class PreviewMaker:
    """Decodes one latent frame of every clip a few times in `num_steps` steps; for one batch.

    The first frame, which is exact; of image-to-video, where that one is given, the middle one.
    """

    def __init__(self, kind: Kind, num_steps: int) -> None:
        self._is_first_given = kind is Kind.IMAGE_TO_VIDEO
        self._every = max(MIN_EVERY, -(-num_steps // MAX_PREVIEWS))
        self._made: Sequence[Frame] = ()

    def watch(
        self,
        pipe: Any,  # noqa: ANN401 -- untyped
        index: int,
        _timestep: object,
        _tensors: object,
    ) -> dict[str, torch.Tensor]:
        """A `callback_on_step_end` of diffusers; changes nothing."""
        # Two thirds into each stretch: late enough to be recognised, early enough to be of use.
        if (index + 1) % self._every == self._every * 2 // 3:
            clean = find_prediction(pipe.scheduler)
            if clean is not None:
                self._made = self._decode(pipe, clean)
        return {}

    def take(self) -> Sequence[Frame]:
        """What was made since the last call."""
        made, self._made = self._made, ()
        return made

    def _decode(self, pipe: Any, clean: torch.Tensor) -> Sequence[Frame]:  # noqa: ANN401 -- untyped
        frame = clean.shape[2] // 2 if self._is_first_given else 0
        try:
            return decode_pictures(pipe.vae, clean, frame)
        except OutOfMemory:
            # The clip itself may well fit, once the denoising is over.
            return ()


def find_prediction(scheduler: Any) -> torch.Tensor | None:  # noqa: ANN401 -- diffusers is untyped
    """The clean latents [N, C, F, h, w] as the newest step predicts them.

    Of UniPC, which all checkpoints of Wan come with; None of a scheduler that keeps none.
    """
    if not getattr(scheduler.config, "predict_x0", False):
        return None
    found: torch.Tensor | None = scheduler.model_outputs[-1]
    return found
