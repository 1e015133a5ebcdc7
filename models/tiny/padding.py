"""Cross-attention over hundreds of padding embeddings at the price of a few.

The Wan pipelines pad the text embeddings with zeros up to `max_sequence_length` and pass no mask,
so the zeros take part in every softmax and a model must train with them. A text of n tokens padded
to L has L - n equal keys; attending to P of them, each logit raised by log((L - n) / P), gives
exactly the same result. Training keeps P small; inference runs the stock processor on all L.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

from models.tiny.untyped import Transformer, WanAttnProcessor, transformer_module

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


def padding_bias(attention_mask: Tensor, padded_lengths: Tensor) -> Tensor:
    """Returns the attention bias that makes short padding act like long padding.

    Args:
        attention_mask: int `[N, S]`, 1 for text tokens and 0 for the S - n pads that are kept.
        padded_lengths: `[N]`, the length L each text is meant to be padded to; a text with no pad
            kept must have L = S = n.

    Returns:
        float32 `[N, 1, 1, S]`, to add to the attention logits: 0 on text and
        log((L - n) / (S - n)) on pads; minus infinity where L = n.
    """
    num_text = attention_mask.sum(1, keepdim=True).float()
    num_kept = attention_mask.shape[1] - num_text
    num_meant = padded_lengths.view(-1, 1).float() - num_text
    on_pads = torch.log(num_meant / num_kept.clamp(min=1))
    bias = torch.where(attention_mask > 0, torch.zeros(()), on_pads)
    return bias[:, None, None, :]


class PaddedAttention(WanAttnProcessor):  # type: ignore[misc] # its base is Any
    """The stock cross-attention with a bias on its logits; set `bias` before each forward pass."""

    bias: Tensor | None = None

    def __call__(
        self,
        attn: object,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Attends as `WanAttnProcessor` does, with `bias` in place of the mask."""
        del attention_mask
        attended: Tensor = super().__call__(
            attn, hidden_states, encoder_hidden_states, self.bias, rotary_emb
        )
        return attended


@contextmanager
def training_attention(transformer: Transformer) -> Iterator[PaddedAttention]:
    """Gives a transformer biased cross-attention and float32 attention for a `with` block.

    The backward pass of bfloat16 attention took half of a training step on a CPU.

    Args:
        transformer: The transformer; it has its stock processors again afterwards.

    Yields:
        The processor that all cross-attentions share.
    """
    shared = PaddedAttention()
    stock = transformer_module.dispatch_attention_fn
    transformer_module.dispatch_attention_fn = _attend
    for block in transformer.blocks:
        block.attn2.set_processor(shared)
    try:
        yield shared
    finally:
        transformer_module.dispatch_attention_fn = stock
        for block in transformer.blocks:
            block.attn2.set_processor(WanAttnProcessor())


def _attend(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **_: object
) -> Tensor:
    """Attends in float32, whatever autocast says; tensors are `[N, length, heads, width]`."""
    with torch.autocast(query.device.type, enabled=False):
        query, key, value = (each.float().transpose(1, 2) for each in (query, key, value))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=attn_mask)
        return attended.transpose(1, 2)
