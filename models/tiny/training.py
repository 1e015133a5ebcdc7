"""What both training loops share: the schedule, the averaged weights and resuming.

Every random draw of a step follows from the seed and the step's number, so a run that was cut off
and resumed ends with the same weights, bit for bit, as one that was not.
"""

from __future__ import annotations

import logging
import math
import os
import random
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from torch import Tensor
    from torch.nn import Parameter

    from models.tiny.optimizer import MuonAdamW

logger = logging.getLogger(__name__)

FINAL_FACTOR = 0.02
"""Share of the learning rate that is left at the end of the cosine."""


@dataclass(frozen=True)
class Budget:
    """How long a stage trains.

    With `num_steps` a run is reproducible. With `minutes` the number of steps is worked out once,
    from the time of the warm-up steps, whose learning rate does not depend on it.
    """

    minutes: float | None = None
    num_steps: int | None = None
    num_warmup_steps: int = 60
    save_every_s: float = 120.0


class Draws:
    """The randomness of one training step, a function of seed and step alone.

    Numbers are drawn on the CPU and moved to torch's default device, so every device sees the same.
    """

    def __init__(self, seed: int, step: int) -> None:
        mixed = seed * 1_000_003 + step
        # Reproducible training data, nothing to keep secret.
        self.rng = random.Random(mixed)  # noqa: S311
        self.generator = torch.Generator("cpu").manual_seed(mixed)

    def normal(self, like: Tensor) -> Tensor:
        """Returns standard normal noise, float32, in the shape of a tensor."""
        noise = torch.randn(like.shape, generator=self.generator, device="cpu")
        return noise.to(torch.get_default_device())

    def uniform(self, num_values: int) -> Tensor:
        """Returns `[num_values]` float32, uniform in 0..1."""
        values = torch.rand(num_values, generator=self.generator, device="cpu")
        return values.to(torch.get_default_device())

    def integers(self, end: int, num_values: int) -> Tensor:
        """Returns `[num_values]` int64 in 0..end-1."""
        values = torch.randint(end, (num_values,), generator=self.generator, device="cpu")
        return values.to(torch.get_default_device())

    def rows(self, weights: Tensor, num_values: int) -> Tensor:
        """Returns `[num_values]` int64 in 0..N-1, as often as each weighs in `[N]` (CPU)."""
        values = torch.multinomial(weights, num_values, replacement=True, generator=self.generator)
        return values.to(torch.get_default_device())


def cosine_factor(step: int, num_steps: int | None, num_warmup_steps: int) -> float:
    """Returns the share of the peak learning rate at a step: linear warm-up, then one cosine.

    Args:
        step: Number of the step, from 0.
        num_steps: Length of the schedule; not needed during the warm-up.
        num_warmup_steps: Length of the warm-up.

    Returns:
        A share in 0..1.
    """
    if step < num_warmup_steps or num_steps is None:
        return min(1.0, (step + 1) / num_warmup_steps)
    done = min(1.0, (step - num_warmup_steps) / max(1, num_steps - num_warmup_steps))
    return FINAL_FACTOR + (1 - FINAL_FACTOR) * 0.5 * (1 + math.cos(math.pi * done))


class Run:
    """Parameters in training with their optimizer, their running average and their progress.

    Args:
        parameters: All trained parameters, in a stable order.
        optimizer: The optimizer over the same parameters.
        path: File that holds the state; a run goes on from it if it exists.
        decay: Weight of the past in the running average, once it has warmed up.
    """

    def __init__(
        self, parameters: Sequence[Parameter], optimizer: MuonAdamW, path: Path, decay: float
    ) -> None:
        self.parameters = list(parameters)
        self.optimizer = optimizer
        self.path = path
        self.decay = decay
        self.average = [each.detach().clone() for each in self.parameters]
        self.step = 0
        self.num_steps: int | None = None
        if path.exists():
            self._load()

    def advance(self, loss: Tensor, factor: float) -> None:
        """Does one optimizer step on a loss and updates the average.

        Args:
            loss: A scalar with a graph.
            factor: Share of the peak learning rate, 0..1.
        """
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step(factor)
        self.step += 1
        decay = min(self.decay, self.step / (self.step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(
                self.average, [each.detach() for each in self.parameters], 1 - decay
            )

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Puts the averaged weights in place for the length of a `with` block."""
        trained = [each.detach().clone() for each in self.parameters]
        self._put(self.average)
        try:
            yield
        finally:
            self._put(trained)

    def use_average(self) -> None:
        """Leaves the averaged weights in place for good."""
        self._put(self.average)

    def save(self) -> None:
        """Writes the state so that a kill at any moment leaves a whole file."""
        state: dict[str, Any] = {
            "step": self.step,
            "num_steps": self.num_steps,
            "parameters": [each.detach() for each in self.parameters],
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.path)

    def _load(self) -> None:
        state = torch.load(self.path, map_location="cpu")
        self.step, self.num_steps = state["step"], state["num_steps"]
        self._put(state["parameters"])
        for average, saved in zip(self.average, state["average"], strict=True):
            average.copy_(saved)
        self.optimizer.load_state_dict(state["optimizer"])
        logger.info("training_resumed path=%s step=%d", self.path.name, self.step)

    @torch.no_grad()
    def _put(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)


def train(
    run: Run,
    budget: Budget,
    seed: int,
    loss_at: Callable[[Draws, float], Tensor],
    on_save: Callable[[], str] = str,
) -> None:
    """Trains until the budget is spent; saves as it goes and at the end.

    Args:
        run: What is trained; goes on from its step.
        budget: How long.
        seed: Seed of all draws.
        loss_at: Returns the loss of one batch, given its draws and the share of the run done.
        on_save: Called with the averaged weights in place; returns a note for the log.
    """
    started = saved = reported = time.monotonic()
    first_step, total = run.step, 0.0
    run.num_steps = budget.num_steps or run.num_steps
    while run.num_steps is None or run.step < run.num_steps:
        done = run.step / run.num_steps if run.num_steps else 0.0
        factor = cosine_factor(run.step, run.num_steps, budget.num_warmup_steps)
        loss = loss_at(Draws(seed, run.step), done)
        run.advance(loss, factor)
        total += loss.item()
        now = time.monotonic()
        if run.num_steps is None and run.step >= budget.num_warmup_steps:
            step_s = (now - started) / (run.step - first_step)
            run.num_steps = max(run.step + 1, int((budget.minutes or 0.0) * 60 / step_s))
        if run.step % 100 == 0:
            step_s, reported = (now - reported) / 100, now
            _report(run, total / 100, step_s, factor)
            total = 0.0
        if now - saved > budget.save_every_s:
            saved = now
            _save(run, on_save)
    _save(run, on_save)


def _report(run: Run, loss: float, step_s: float, factor: float) -> None:
    logger.info(
        "training_progress step=%d/%s loss=%.4f factor=%.3f step_s=%.3f load=%.1f",
        run.step, run.num_steps, loss, factor, step_s, os.getloadavg()[0],
    )  # fmt: skip


def _save(run: Run, on_save: Callable[[], str]) -> None:
    run.save()
    with run.averaged():
        note = on_save()
    logger.info("training_saved step=%d %s", run.step, note)
