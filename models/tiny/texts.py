"""Captions as the pipelines feed them: tokens, then embeddings that are zero on the padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.tiny.precision import half_precision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from models.tiny.untyped import TextEncoder, Tokenizer

MAX_TEXT_TOKENS = 48
"""Text tokens per caption in training; the longest template with noise words fits."""


@dataclass(frozen=True)
class Tokens:
    """Token ids and 1 for text, 0 for padding; int64 `[N, S]` both."""

    ids: Tensor
    attention_mask: Tensor


def tokenize(captions: Sequence[str], tokenizer: Tokenizer) -> Tokens:
    """Splits captions into tokens, with at least one of padding behind each.

    `padding_bias` lets that one stand for as many as a pipeline pads with.
    """
    pieces = tokenizer(list(captions), truncation=True, max_length=MAX_TEXT_TOKENS)
    length = 1 + max(len(each) for each in pieces.input_ids)
    padded = tokenizer.pad(pieces, padding="max_length", max_length=length, return_tensors="pt")
    return Tokens(padded.input_ids, padded.attention_mask)


def embed(tokens: Tokens, text_encoder: TextEncoder) -> Tensor:
    """Embeds tokens as the pipelines do.

    Returns:
        `[N, S, 128]`, zero after the end of each text.
    """
    mask = tokens.attention_mask
    with half_precision(mask):
        embedded = text_encoder(input_ids=tokens.ids, attention_mask=mask)
    hidden: Tensor = embedded.last_hidden_state * mask.unsqueeze(-1)
    return hidden
