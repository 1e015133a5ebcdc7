"""The denoisers of a pipeline."""

from typing import Any

import torch


def transformers_of(pipe: Any) -> list[Any]:  # noqa: ANN401 -- diffusers is untyped
    """One, or two experts."""
    names = ("transformer", "transformer_2")
    return [part for name in names if (part := getattr(pipe, name, None)) is not None]


def last_block(transformer: torch.nn.Module) -> torch.nn.Module:
    """The last of its main blocks."""
    lists = [part for part in transformer.children() if isinstance(part, torch.nn.ModuleList)]
    return max(lists, key=lambda part: sum(p.numel() for p in part.parameters()))[-1]
