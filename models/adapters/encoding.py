"""Prompts as a call takes them: encoded each by itself, kept, and then left out as texts."""

import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from models.adapters.quirks import Family, Loaded
from models.card import ModelCard


def with_embeddings(
    family: Family,
    loaded: Loaded,
    pipe: Any,  # noqa: ANN401 -- diffusers is untyped
    arguments: dict[str, Any],
) -> dict[str, Any]:
    """`arguments` with the prompts encoded; negative ones only where they are of use."""
    encoded = _encode(family, loaded, pipe, arguments["prompt"])
    if arguments["guidance_scale"] > 1:
        unwanted = _encode(family, loaded, pipe, arguments["negative_prompt"])
        encoded |= {f"negative_{name}": part for name, part in unwanted.items()}
    return arguments | {"prompt": None, "negative_prompt": None} | encoded


def _encode(
    family: Family,
    loaded: Loaded,
    pipe: Any,  # noqa: ANN401 -- diffusers is untyped
    prompts: Sequence[str],
) -> dict[str, Any]:
    """Every prompt by itself: it has the same bits in every batch, kept or not."""
    num_tokens = _num_tokens(loaded.card, pipe)
    rows = [
        loaded.prompts.find_or_make(
            (num_tokens, prompt), partial(family.encode_prompt, pipe, prompt, num_tokens)
        )
        for prompt in prompts
    ]
    columns = zip(family.embeddings, zip(*rows, strict=True), strict=True)
    return {name: torch.cat(parts).to(loaded.device) for name, parts in columns}


def _num_tokens(card: ModelCard, pipe: Any) -> int | None:  # noqa: ANN401 -- diffusers is untyped
    """The length of an encoded prompt: the card's, or that of a call that names none."""
    stock = inspect.signature(pipe.__call__).parameters.get("max_sequence_length")
    if stock is None:
        return None
    return int(card.options.get("max_sequence_length", stock.default))
