"""Guidance at one call a step: what a text asks for and what none would, computed together.

Most pipelines of diffusers call the transformer twice a step, with the same latents and two texts.
One call of twice the batch does the same arithmetic; it pays where a single clip leaves the device
idle, and takes the memory of two. `GuidancePair` finds out by itself which calls belong together.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

Inputs = dict[str, Any]

NOT_PER_CLIP = frozenset({"control_hidden_states_scale"})
"""Tensors that are no batch: how much each block of VACE listens to what is given."""


@contextmanager
def guidance_fused(transformer: Any) -> Iterator[None]:  # noqa: ANN401 -- diffusers is untyped
    """Have pairs of calls of `transformer` computed as one inside the block."""
    forward = transformer.forward
    transformer.forward = GuidancePair(forward)
    try:
        yield
    finally:
        transformer.forward = forward


class GuidancePair:
    """A forward that answers the second call of a pair from the first.

    The first step shows the pair: two calls in a row that share some inputs and differ in others.
    From then on a call that brings the differing inputs of the first is computed with those of the
    second beside them, and the answer to the second waits. Whatever does not fit is computed alone.
    """

    def __init__(self, forward: Callable[..., Any]) -> None:
        self._forward = forward
        self._previous: Inputs | None = None
        # What told two calls apart: (of the first, of the second) by name.
        self._differing: dict[str, tuple[Any, Any]] = {}
        self._waiting: tuple[Inputs, Any] | None = None

    def __call__(self, *args: object, **inputs: Any) -> Any:  # noqa: ANN401 -- as the model's
        """The prediction for `inputs`, as the model itself gives it."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not args and _is_same(waiting[0], inputs):
            return waiting[1]
        if not args and self._begins_pair(inputs):
            return self._compute_both(inputs)
        self._learn(inputs)
        return self._forward(*args, **inputs)

    def _begins_pair(self, inputs: Inputs) -> bool:
        return bool(self._differing) and all(
            inputs.get(name) is first for name, (first, _) in self._differing.items()
        )

    def _compute_both(self, inputs: Inputs) -> Any:  # noqa: ANN401 -- as the model's
        second = inputs | {name: value for name, (_, value) in self._differing.items()}
        both = {
            name: value if name in NOT_PER_CLIP else _side_by_side(value, second[name])
            for name, value in inputs.items()
        }
        parts = [each.chunk(2) for each in self._forward(**both)]
        self._waiting = second, tuple(part[1] for part in parts)
        return tuple(part[0] for part in parts)

    def _learn(self, inputs: Inputs) -> None:
        before, self._previous = self._previous, inputs
        self._differing = {}
        if before is None or before.keys() != inputs.keys() or inputs.get("return_dict", True):
            return
        differing = {
            name: (before[name], value)
            for name, value in inputs.items()
            if before[name] is not value
        }
        # Between steps the latents differ too; only texts do within one.
        if "hidden_states" not in differing and all(map(_can_pair, differing.values())):
            self._differing = differing


def _is_same(one: Inputs, other: Inputs) -> bool:
    return one.keys() == other.keys() and all(one[name] is other[name] for name in one)


def _can_pair(values: tuple[Any, Any]) -> bool:
    one, other = values
    both = isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)
    return both and one.shape == other.shape and one.dtype == other.dtype


def _side_by_side(one: Any, other: Any) -> Any:  # noqa: ANN401 -- any input of a model
    """Batches one after the other; what is no tensor is the same for both."""
    return torch.cat([one, other]) if isinstance(one, torch.Tensor) else one
