"""Pictures of what a clip becomes, made while it is denoised.

At every step the clean latents can be predicted; one latent frame of that prediction, decoded,
already looks like the video when the latents themselves are still mostly noise.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from models.pipeline import Frame, OutOfMemory

MAX_PREVIEWS = 4
MIN_EVERY = 12
"""Steps for each preview, at least: one costs about as much as a third of a step of the small
model, so all of them stay near 3 % of a render."""

Predict = Callable[[Any, int, torch.Tensor], torch.Tensor | None]
"""Pipeline, number of the step, latents after it: the clean latents, [N, ...]; None if unknown."""

Show = Callable[[Any, torch.Tensor], Sequence[Frame]]
"""Pipeline and clean latents: a picture of each clip."""


class PreviewMaker:
    """Shows every clip a few times in `num_steps` steps; for one batch."""

    def __init__(self, num_steps: int, predict: Predict, show: Show) -> None:
        self._every = max(MIN_EVERY, -(-num_steps // MAX_PREVIEWS))
        self._num_steps = num_steps
        self._predict = predict
        self._show = show
        self._made: Sequence[Frame] = ()

    def watch(
        self,
        pipe: Any,  # noqa: ANN401 -- untyped
        index: int,
        _timestep: object,
        tensors: dict[str, torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """A `callback_on_step_end` of diffusers; changes nothing."""
        clean = self._predict(pipe, index, tensors["latents"])
        # Two thirds into each stretch: late enough to be recognised, early enough to be of use.
        if clean is not None and (index + 1) % self._every == self._every * 2 // 3:
            try:
                self._made = self._show(pipe, clean)
            except OutOfMemory:
                # The clip itself may well fit, once the denoising is over.
                self._made = ()
        return {}

    def take(self) -> Sequence[Frame]:
        """What was made since the last call."""
        made, self._made = self._made, ()
        return made


def find_prediction(pipe: Any, _index: int, _latents: torch.Tensor) -> torch.Tensor | None:  # noqa: ANN401
    """The clean latents as the newest step of UniPC predicts them; None of other schedulers."""
    scheduler = pipe.scheduler
    if not getattr(scheduler.config, "predict_x0", False):
        return None
    found: torch.Tensor | None = scheduler.model_outputs[-1]
    return found


class TwoPointPrediction:
    """Clean latents from the latents before and after a step; for one batch.

    Latents are `signal x clean + noise x (the same noise)`, so two of them are two equations. Exact
    for steps of first order; near enough to look at for others.
    """

    def __init__(self) -> None:
        self._before: tuple[torch.Tensor, float, float] | None = None

    def __call__(self, pipe: Any, index: int, latents: torch.Tensor) -> torch.Tensor | None:  # noqa: ANN401
        """The prediction after step `index`; None after the first, before which nothing is seen."""
        signal, noise = levels_after(pipe.scheduler, index)
        # Some pipelines step in place; some begin anew with the next stretch of a clip.
        before, self._before = self._before, (latents.clone(), signal, noise)
        if before is None or index == 0:
            return None
        older, signal_before, noise_before = before
        scale = signal * noise_before - signal_before * noise
        return (latents * noise_before - older * noise) / scale if scale else None


def levels_after(scheduler: Any, index: int) -> tuple[float, float]:  # noqa: ANN401 -- untyped
    """How much of the latents is signal and how much noise after step `index`."""
    if hasattr(scheduler, "sigmas"):
        noise = float(scheduler.sigmas[index + 1])
        return 1 - noise, noise
    timesteps = scheduler.timesteps
    if index + 1 >= len(timesteps):
        return 1.0, 0.0
    kept = float(scheduler.alphas_cumprod[int(timesteps[index + 1])])
    return kept**0.5, (1 - kept) ** 0.5
