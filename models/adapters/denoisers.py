"""The denoisers of a pipeline."""

from typing import Any

import torch

RECOMPILE_LIMIT = 64
"""Graphs of one block; guidance and shapes of LTX-2 alone need more than the 8 of PyTorch."""


def transformers_of(pipe: Any) -> list[Any]:  # noqa: ANN401 -- diffusers is untyped
    """One, or two experts."""
    names = ("transformer", "transformer_2")
    return [part for name in names if (part := getattr(pipe, name, None)) is not None]


def last_block(transformer: torch.nn.Module) -> torch.nn.Module:
    """The last of its main blocks."""
    lists = [part for part in transformer.children() if isinstance(part, torch.nn.ModuleList)]
    return max(lists, key=lambda part: sum(p.numel() for p in part.parameters()))[-1]


def compile_blocks(pipe: Any) -> None:  # noqa: ANN401 -- diffusers is untyped
    """Have the blocks of its transformers compiled at their next call, for good."""
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT  # noqa: SLF001 -- its only name
    for transformer in transformers_of(pipe):
        transformer.compile_repeated_blocks(fullgraph=True, dynamic=True)
