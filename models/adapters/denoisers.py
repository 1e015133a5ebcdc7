"""The denoisers of a pipeline, and their blocks, compiled for as long as a mode wants them so."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from models.modes import Compilation

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


def store_in_float8(transformer: Any) -> None:  # noqa: ANN401 -- diffusers is untyped
    """Keep its weights in one byte each, for good; a layer has them as they were while it works.

    Those that lose too much stay as they are: norms, embeddings of patches and time, LoRAs.
    """
    transformer.enable_layerwise_casting(
        storage_dtype=torch.float8_e4m3fn, compute_dtype=transformer.dtype
    )


def repeated_blocks(transformer: Any) -> list[Any]:  # noqa: ANN401 -- diffusers is untyped
    """Its modules of the classes that diffusers calls repeated; none of some families."""
    names = getattr(transformer, "_repeated_blocks", None) or ()
    return [part for part in transformer.modules() if type(part).__name__ in names]


@contextmanager
def blocks_compiled(transformer: Any, how: Compilation) -> Iterator[None]:  # noqa: ANN401
    """Have the repeated blocks of `transformer` compiled inside the block, at their first call.

    As its `compile_repeated_blocks`, which is for good. What was compiled is found again by PyTorch
    the next time: it belongs to the code, the settings and what the weights are like.
    """
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT  # noqa: SLF001 -- its only name
    blocks = repeated_blocks(transformer)
    for block in blocks:
        block.compile(fullgraph=True, mode=how.mode, dynamic=how.dynamic)
    try:
        yield
    finally:
        for block in blocks:
            # What `compile` of a module sets, and its call looks at.
            block._compiled_call_impl = None  # noqa: SLF001 -- there is no way back otherwise
