"""Starts networks that take less time from trained ones: of fewer blocks, or narrower."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch.nn import ModuleList

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from models.tiny.untyped import Transformer, Vae


@torch.no_grad()
def thin_transformer(
    trained: Transformer, num_blocks: int, predict: Callable[[Transformer], Tensor]
) -> Transformer:
    """Builds a transformer out of some of the blocks of a trained one.

    One block after the other goes, always that without which predictions change least in squares.

    Args:
        trained: Stays as it is.
        num_blocks: How many are left, at most those of `trained`.
        predict: What a transformer says, of any shape, about inputs that are always the same.

    Returns:
        A transformer with copies of the weights.
    """
    thin = copy.deepcopy(trained)
    wanted = predict(thin)

    def change_without(number: int) -> float:
        blocks = thin.blocks
        thin.blocks = ModuleList([*blocks[:number], *blocks[number + 1 :]])
        change = (predict(thin) - wanted).square().mean().item()
        thin.blocks = blocks
        return change

    while len(thin.blocks) > num_blocks:
        least = min(range(len(thin.blocks)), key=change_without)
        del thin.blocks[least]
    thin.register_to_config(num_layers=num_blocks)
    return thin


def thin_decoder(trained: Vae, width: int) -> Vae:
    """Builds an autoencoder of the same latents whose decoder is narrower and untrained.

    Args:
        trained: Stays as it is.
        width: Channels of the decoder where it is narrowest, `decoder_base_dim` of the config.
    """
    thin = type(trained).from_config({**trained.config, "decoder_base_dim": width})
    kept = {
        name: weight
        for name, weight in trained.state_dict().items()
        if not name.startswith("decoder.")
    }
    thin.load_state_dict(kept, strict=False)
    return thin
