"""Muon for the hidden matrices, AdamW for the rest, behind one `step`.

Muon (Keller Jordan, 2024, https://kellerjordan.github.io/posts/muon/) replaces the update of a
matrix by the nearest orthogonal one. Here it needs less than half the steps that AdamW alone does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from models.tiny.precision import has_bfloat16

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from torch.nn import Parameter

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration, tuned by Muon's author for five rounds."""

MOMENTUM = 0.95
WEIGHT_DECAY = 0.01

SETTLED_SHARE = 0.1
"""Learning rate of settled parameters, as a share of that of others."""


def orthogonalize(matrices: Tensor, num_rounds: int = 5) -> Tensor:
    """Moves all singular values of matrices near 1.

    Args:
        matrices: `[..., rows, columns]`, any float dtype.
        num_rounds: Rounds of the Newton-Schulz iteration.

    Returns:
        The same shape, in bfloat16 where that is fast; singular values lie roughly in 0.7..1.2.
    """
    a, b, c = NEWTON_SCHULZ
    is_fast = has_bfloat16(matrices.device.type)
    x: Tensor = matrices.bfloat16() if is_fast else matrices.float()
    is_tall = x.shape[-2] > x.shape[-1]
    if is_tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(num_rounds):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if is_tall else x


class MuonAdamW:
    """Muon with Nesterov momentum on some parameters and AdamW on the others.

    Args:
        matrices: Parameters with two or more dimensions; all but the first are flattened.
        others: Everything else: biases, norms, embeddings, first and last layers.
        matrix_rate: Peak learning rate of the matrices, in Moonlight's scaling (arXiv:2502.16982).
        other_rate: Peak learning rate of the others.
        betas: AdamW's decay rates.
        settled: Parameters that are nearly right already: AdamW at a tenth of `other_rate`.
    """

    def __init__(
        self,
        matrices: Sequence[Parameter],
        others: Sequence[Parameter],
        matrix_rate: float,
        other_rate: float,
        *,
        betas: tuple[float, float] = (0.9, 0.99),
        settled: Sequence[Parameter] = (),
    ) -> None:
        self.matrices = list(matrices)
        self.matrix_rate = matrix_rate
        self.momenta = [torch.zeros_like(each) for each in self.matrices]
        shapes = [each.shape for each in self.matrices]
        self._alike = [
            [row for row, each in enumerate(shapes) if each == shape]
            for shape in dict.fromkeys(shapes)
        ]
        groups = [(list(others), other_rate), (list(settled), SETTLED_SHARE * other_rate)]
        groups = [(parameters, rate) for parameters, rate in groups if parameters]
        self._rates = [rate for _, rate in groups]
        self.adamw = torch.optim.AdamW(
            [{"params": parameters, "lr": rate} for parameters, rate in groups],
            betas=betas,
            weight_decay=WEIGHT_DECAY,
        )

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for each in self.matrices:
            each.grad = None
        self.adamw.zero_grad(set_to_none=True)

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Moves all parameters that have a gradient.

        Args:
            factor: Share of the peak learning rates to use, 0..1.
        """
        for group, rate in zip(self.adamw.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        self.adamw.step()
        rate = self.matrix_rate * factor
        for alike in self._alike:
            self._move(alike, rate)

    def _move(self, rows: list[int], rate: float) -> None:
        """Moves matrices of one shape together: many small products are slow one by one."""
        moved, ahead = [], []
        for row in rows:
            gradient, momentum = self.matrices[row].grad, self.momenta[row]
            if gradient is not None:
                momentum.lerp_(gradient, 1 - MOMENTUM)
                moved.append(row)
                ahead.append(gradient.lerp(momentum, MOMENTUM).flatten(1))
        if not moved:
            return
        updates = orthogonalize(torch.stack(ahead)).float()
        # An orthogonal update's entries shrink with the matrix; this undoes it.
        scale = 0.2 * max(ahead[0].shape) ** 0.5
        for row, update in zip(moved, updates, strict=True):
            parameter = self.matrices[row]
            parameter.mul_(1 - rate * WEIGHT_DECAY)
            parameter.add_(update.view_as(parameter), alpha=-rate * scale)

    def state_dict(self) -> dict[str, Any]:
        """Returns momenta and AdamW's state, for `load_state_dict`."""
        return {"momenta": self.momenta, "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a state that `state_dict` returned."""
        for momentum, saved in zip(self.momenta, state["momenta"], strict=True):
            momentum.copy_(saved)
        self.adamw.load_state_dict(state["adamw"])
