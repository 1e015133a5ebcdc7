"""Trained networks that grow do at first what they did before; shrunk ones, nearly."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import tokenizers
import torch

from models.tiny.config import (
    LATENT_CHANNELS,
    build_text_encoder,
    build_transformer,
    build_vae,
)
from models.tiny.deepen import deepen_transformer
from models.tiny.retell import renew_words
from models.tiny.thin import thin_decoder, thin_transformer
from models.tiny.tokenizer import build_tokenizer
from models.tiny.untyped import PreTrainedTokenizerFast
from models.tiny.widen import widen_vae
from tests.support.tiny import SMALL_VAE, assert_same_weights

SMALL = {"num_attention_heads": 1, "ffn_dim": 32}


def draw_inputs() -> dict[str, Any]:
    """What a transformer is called with, two small clips."""
    return {
        "hidden_states": torch.randn(2, LATENT_CHANNELS, 3, 4, 4),
        "timestep": torch.rand(2, 12) * 1000,
        "encoder_hidden_states": torch.randn(2, 7, 128),
        "return_dict": False,
    }


def test_more_latent_channels_change_nothing_at_first() -> None:
    few = {"z_dim": 8, "latents_mean": [0.0] * 8, "latents_std": [1.0] * 8}
    torch.manual_seed(0)
    trained = build_vae(**SMALL_VAE, **few).eval()
    wide = widen_vae(trained, **SMALL_VAE).eval()
    clip = torch.rand(1, 3, 5, 32, 32, generator=torch.Generator().manual_seed(4)) * 2 - 1
    with torch.no_grad():
        before, after = (each.encode(clip).latent_dist for each in (trained, wide))
        assert after.mean.shape[1] == LATENT_CHANNELS
        torch.testing.assert_close(after.mean[:, :8], before.mean)
        torch.testing.assert_close(after.logvar[:, :8], before.logvar)
        assert after.mean[:, 8:].abs().max() > 0, "the new channels can learn"
        quiet = after.mean.clone()
        quiet[:, 8:] = 0
        torch.testing.assert_close(wide.decode(quiet).sample, trained.decode(before.mean).sample)


def test_an_autoencoder_of_other_widths_is_refused() -> None:
    with pytest.raises(ValueError, match="start from an autoencoder of the same widths"):
        widen_vae(build_vae(base_dim=4, decoder_base_dim=8), **SMALL_VAE)


def test_more_blocks_change_nothing_at_first_and_can_learn() -> None:
    torch.manual_seed(0)
    trained = build_transformer(num_layers=2, **SMALL)
    # Untrained it predicts zero, whatever its blocks do.
    torch.nn.init.normal_(trained.proj_out.weight)
    deep = deepen_transformer(trained, num_layers=3, **SMALL)
    asked = draw_inputs()
    (before,), (after,) = trained(**asked), deep(**asked)
    assert len(deep.blocks) == 3
    assert before.std() > 0.1
    torch.testing.assert_close(after, before)
    after.square().mean().backward()
    free = deep.blocks[1]
    for branch in (free.attn1.to_out[0], free.attn2.to_out[0], free.ffn.net[2]):
        assert not branch.weight.any()
        assert branch.weight.grad.abs().max() > 0


def test_a_transformer_of_more_blocks_or_other_widths_is_refused() -> None:
    with pytest.raises(ValueError, match="has 2 blocks, at most 1 fit"):
        deepen_transformer(build_transformer(num_layers=2, **SMALL), num_layers=1, **SMALL)
    with pytest.raises(RuntimeError, match="size mismatch"):
        deepen_transformer(build_transformer(num_layers=1, **SMALL), num_layers=1)


def test_a_narrower_decoder_is_for_the_same_latents() -> None:
    torch.manual_seed(0)
    trained = build_vae(**SMALL_VAE).eval()
    thin = thin_decoder(trained, 3).eval()
    clip = torch.rand(1, 3, 5, 32, 32, generator=torch.Generator().manual_seed(4)) * 2 - 1
    with torch.no_grad():
        before, after = (each.encode(clip).latent_dist.mode() for each in (trained, thin))
        torch.testing.assert_close(after, before)
        torch.testing.assert_close(thin.post_quant_conv(after), trained.post_quant_conv(before))
        assert thin.decode(after).sample.shape == clip.shape
    few, many = (sum(each.numel() for each in vae.decoder.parameters()) for vae in (thin, trained))
    assert few < 0.7 * many


def test_the_blocks_that_do_least_are_left_out() -> None:
    torch.manual_seed(0)
    trained = build_transformer(num_layers=2, **SMALL)
    torch.nn.init.normal_(trained.proj_out.weight)
    deep = deepen_transformer(trained, num_layers=4, **SMALL)
    asked = draw_inputs()
    before = copy.deepcopy(deep)
    thin = thin_transformer(deep, 2, lambda each: each(**asked)[0])
    assert_same_weights(thin, trained)
    assert_same_weights(deep, before)
    assert thin.config.num_layers == 2
    torch.testing.assert_close(thin(**asked), trained(**asked))


def test_a_text_encoder_keeps_the_words_it_knew_and_begins_others_with_their_meaning() -> None:
    torch.manual_seed(0)
    vocabulary = {"<pad>": 0, "</s>": 1, "<unk>": 2, "moving": 3, "right": 4, "red": 5}
    pieces = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="<unk>"))
    pieces.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    old = PreTrainedTokenizerFast(tokenizer_object=pieces, pad_token="<pad>", unk_token="<unk>")
    new = build_tokenizer()
    trained = build_text_encoder(len(vocabulary)).eval()
    renewed = renew_words(trained, old, new).eval()
    before = trained(torch.tensor([[5, 3, 4, 2]])).last_hidden_state
    english = new("red moving right 可", add_special_tokens=False, return_tensors="pt")
    torch.testing.assert_close(renewed(english.input_ids).last_hidden_state, before)
    chinese = new("红色移动向右爱", add_special_tokens=False, return_tensors="pt")
    torch.testing.assert_close(renewed(chinese.input_ids).last_hidden_state, before)
