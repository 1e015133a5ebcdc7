"""Asks the middle of the transformer, while it trains, what will be where.

How a shape's name changes a clip is a small part of the loss: noise, places and colours fill it. So
a linear layer on the hidden states of one block has to name shape, colour and motion of the thing
that covers each token, and the background, at every noise level. Features that answer it are what
the later blocks draw from; the layer is left behind. Representation alignment (Yu et al., 2024,
arXiv:2410.06940) does the same with features of another network where scenes have no names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from models.tiny.data import BACKGROUNDS
from models.tiny.slots import THING_WORDS

if TYPE_CHECKING:
    from torch import Tensor

    from models.tiny.untyped import Transformer

NUM_NAMES = tuple(len(words) + 1 for words in THING_WORDS)
"""Names of a token's colour, shape and motion, the last of each for no thing."""

BACKGROUND_SLOT = 2 * len(THING_WORDS)
EMPTY_WEIGHT = 0.1
"""Weight of a token without a thing, beside the share (0..1) that things cover of others."""


class SceneHead(nn.Module):
    """Names what covers each token; listens to a transformer from the moment it is made.

    Args:
        transformer: Whose middle block is asked: half of the blocks are left to draw.
    """

    def __init__(self, transformer: Transformer) -> None:
        super().__init__()
        config = transformer.config
        width = config.num_attention_heads * config.attention_head_dim
        self.norm = nn.LayerNorm(width)
        self.names = nn.ModuleList(nn.Linear(width, count) for count in NUM_NAMES)
        self.background = nn.Linear(width, len(BACKGROUNDS))
        self._heard: Tensor | None = None
        middle = transformer.blocks[(len(transformer.blocks) - 1) // 2]
        self._hook = middle.register_forward_hook(self._listen)

    def close(self) -> None:
        """Stops listening."""
        self._hook.remove()

    def loss(self, covers: Tensor, slots: Tensor, is_picture: Tensor) -> Tensor:
        """Returns the mean cross-entropy of the last forward pass.

        Args:
            covers: Where things are, `[N, 2, T, h, w]` in 0..1, as of `draw_covers`.
            slots: What they are, `[N, 8]`, as of `fill_slots`.
            is_picture: Which clips lie over a texture that has no name, `[N]`.

        Raises:
            RuntimeError: There was no forward pass since the last loss.
        """
        if self._heard is None:
            raise RuntimeError("the transformer has not run: there is nothing to name")
        hidden, self._heard = self.norm(self._heard.float()), None
        shares = covers.flatten(2).transpose(1, 2)
        covered = shares.sum(2)
        weight = EMPTY_WEIGHT + covered
        losses = []
        for slot, (name, count) in enumerate(zip(self.names, NUM_NAMES, strict=True)):
            target = torch.zeros(*covered.shape, count)
            target[..., -1] = 1 - covered
            for thing in range(shares.shape[2]):
                word = slots[:, slot + thing * len(THING_WORDS)].view(-1, 1, 1)
                target.scatter_add_(
                    2, word.expand(-1, covered.shape[1], 1), shares[..., thing : thing + 1]
                )
            error = -(target * name(hidden).log_softmax(2)).sum(2)
            losses.append((error * weight).sum() / weight.sum())
        behind = self.background(hidden[~is_picture]).transpose(1, 2)
        named = slots[~is_picture, BACKGROUND_SLOT, None].expand(-1, covered.shape[1])
        if len(named):
            losses.append(nn.functional.cross_entropy(behind, named))
        return torch.stack(losses).mean()

    def _listen(self, _block: nn.Module, _given: object, hidden: Tensor) -> None:
        if self.training and torch.is_grad_enabled():
            self._heard = hidden
