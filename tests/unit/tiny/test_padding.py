"""A few biased pads act exactly like hundreds of plain ones."""

from __future__ import annotations

import pytest
import torch

from models.tiny.config import LATENT_CHANNELS, TEXT_WIDTH, build_transformer
from models.tiny.padding import padding_bias, training_attention
from models.tiny.untyped import WanAttnProcessor

NUM_KEPT = 12


def make_transformer() -> torch.nn.Module:
    """Builds a small transformer whose output depends on everything that goes in."""
    torch.manual_seed(3)
    transformer: torch.nn.Module = build_transformer(
        num_layers=2, num_attention_heads=2, ffn_dim=64
    )
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return transformer.eval()


def make_text(lengths: list[int], padded_to: int) -> torch.Tensor:
    """Returns text embeddings followed by zeros, as the pipelines feed them."""
    text = torch.randn(
        len(lengths), NUM_KEPT, TEXT_WIDTH, generator=torch.Generator().manual_seed(4)
    )
    text = torch.nn.functional.pad(text, (0, 0, 0, padded_to - NUM_KEPT))
    for row, length in enumerate(lengths):
        text[row, length:] = 0
    return text


@torch.no_grad()
@pytest.mark.parametrize("padded_to", [512, 226, 64, NUM_KEPT])
def test_biased_pads_equal_real_padding(padded_to: int) -> None:
    lengths = [1, 5, 9, 11]
    transformer = make_transformer()
    inputs = {
        "hidden_states": torch.randn(4, LATENT_CHANNELS, 2, 4, 4),
        "timestep": torch.rand(4, 8) * 1000,
        "return_dict": False,
    }
    (padded,) = transformer(encoder_hidden_states=make_text(lengths, padded_to), **inputs)
    short = make_text(lengths, NUM_KEPT)
    (unbiased,) = transformer(encoder_hidden_states=short, **inputs)
    mask = (torch.arange(NUM_KEPT) < torch.tensor(lengths)[:, None]).long()
    with training_attention(transformer) as attention:
        attention.bias = padding_bias(mask, torch.full((4,), padded_to))
        (biased,) = transformer(encoder_hidden_states=short, **inputs)
    torch.testing.assert_close(biased, padded, atol=1e-5, rtol=1e-4)
    if padded_to > NUM_KEPT:
        assert (unbiased - padded).abs().max() > 1e-2, "the padding makes no difference here"


def test_the_bias_is_zero_on_text_and_the_log_ratio_on_pads() -> None:
    bias = padding_bias(torch.tensor([[1, 1, 0, 0]]), torch.tensor([10]))
    assert bias.shape == (1, 1, 1, 4)
    torch.testing.assert_close(bias.flatten(), torch.tensor([0.0, 0.0, 4.0, 4.0]).clamp(1).log())


def test_a_text_without_pads_has_no_bias() -> None:
    assert padding_bias(torch.ones(1, 3), torch.tensor([3])).eq(0).all()


def test_the_stock_attention_comes_back_after_an_error() -> None:
    transformer = make_transformer()
    with pytest.raises(RuntimeError, match="stop"), training_attention(transformer):
        raise RuntimeError("stop")
    assert type(transformer.blocks[0].attn2.processor) is WanAttnProcessor  # type: ignore[index, union-attr]
