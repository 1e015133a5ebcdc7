"""Starts a text encoder from a trained one whose tokenizer knew other words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from models.tiny.config import build_text_encoder
from models.tiny.phrases import translate

if TYPE_CHECKING:
    from models.tiny.untyped import TextEncoder, Tokenizer


@torch.no_grad()
def renew_words(trained: TextEncoder, old: Tokenizer, new: Tokenizer) -> TextEncoder:
    """Builds a text encoder that reads the tokens of another vocabulary as a trained one would.

    Args:
        trained: A text encoder of the same widths.
        old: The tokenizer it was trained with.
        new: The tokenizer that the new one is for.

    Returns:
        A float32 text encoder. Tokens that both know keep their embedding; a new Chinese word
        begins as the mean of what it means in English, any other token as an unknown one.
    """
    meanings, known = translate(), old.get_vocab()
    weights = trained.state_dict()
    table = weights["shared.weight"]
    rows = []
    for token in new.convert_ids_to_tokens(range(len(new))):
        meaning = meanings.get(token, old.unk_token)
        ids = old(meaning, add_special_tokens=False).input_ids
        rows.append(table[known[token]] if token in known else table[ids].mean(0))
    renewed = build_text_encoder(len(rows))
    tables = ("shared.weight", "encoder.embed_tokens.weight")
    renewed.load_state_dict(weights | dict.fromkeys(tables, torch.stack(rows)))
    return renewed
