"""Starts a transformer from a trained one that has fewer blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from models.tiny.config import build_transformer

if TYPE_CHECKING:
    from models.tiny.untyped import Transformer


def deepen_transformer(trained: Transformer, **overrides: object) -> Transformer:
    """Builds a transformer that does what a trained one does, with free blocks in between.

    A free block is a copy of the block before it whose branches add nothing yet. Growing by copies
    of blocks is depth-wise stacking (Du et al., 2024, arXiv:2405.15319); there they are not silent.

    Args:
        trained: A transformer of the same width with at most as many blocks.
        **overrides: Entries of `TRANSFORMER_CONFIG` to replace, for a smaller one in a test.

    Returns:
        A float32 transformer.

    Raises:
        ValueError: `trained` has more blocks.
        RuntimeError: A weight has another shape.
    """
    deep = build_transformer(**overrides)
    num_old, num_new = len(trained.blocks), len(deep.blocks)
    if num_old > num_new:
        raise ValueError(f"the trained transformer has {num_old} blocks, at most {num_new} fit")
    rest = {
        name: weight
        for name, weight in trained.state_dict().items()
        if not name.startswith("blocks.")
    }
    missing, unknown = deep.load_state_dict(rest, strict=False)
    if unknown or any(not name.startswith("blocks.") for name in missing):
        raise RuntimeError(f"not a transformer of the same kind: {missing}, {unknown}")
    sources = [number * num_old // num_new for number in range(num_new)]
    for number, (block, source) in enumerate(zip(deep.blocks, sources, strict=True)):
        block.load_state_dict(trained.blocks[source].state_dict())
        if number and sources[number - 1] == source:
            _silence(block)
    return deep


@torch.no_grad()
def _silence(block: Any) -> None:  # noqa: ANN401 - what `untyped` lets through
    """Zeroes what the three branches of a block add to the residual stream."""
    for layer in (block.attn1.to_out[0], block.attn2.to_out[0], block.ffn.net[2]):
        layer.weight.zero_()
        layer.bias.zero_()
