"""Small models of the tiny model's kind, and what cuts their training off."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from models.tiny.config import (
    LATENT_CHANNELS,
    build_text_encoder,
    build_transformer,
    build_vae,
)
from models.tiny.data import draw_combination
from models.tiny.latents import Bucket, Pool
from models.tiny.slots import fill_slots
from models.tiny.tokenizer import build_tokenizer
from models.tiny.train_transformer import Batch, Parts
from models.tiny.training import Budget, Draws, Run

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from models.tiny.untyped import Vae

BUDGET = Budget(num_steps=4, num_warmup_steps=1)
SAVING_BUDGET = dataclasses.replace(BUDGET, save_every_s=0.0)
SMALL_VAE = {"base_dim": 4, "decoder_base_dim": 4}


class CutError(Exception):
    """Stands for a killed process."""


def small_vae() -> Vae:
    """Builds the same untrained autoencoder every time."""
    torch.manual_seed(0)
    return build_vae(**SMALL_VAE)


def small_parts() -> Parts:
    """Builds the same untrained transformer and text encoder every time."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    transformer = build_transformer(num_layers=1, num_attention_heads=1, ffn_dim=32)
    return Parts(transformer, build_text_encoder(len(tokenizer), num_layers=1), tokenizer)


def small_pool() -> Pool:
    """Returns random latents of two sizes and of stills; every fourth clip is a picture."""
    draws = Draws(1, 0)
    buckets = []
    for (length, height, width), share in (((5, 4, 4), 0.7), ((3, 4, 6), 0.3), ((1, 4, 4), 1.0)):
        combinations = [draw_combination(draws.rng) for _ in range(32)]
        latents = torch.randn(32, LATENT_CHANNELS, length, height, width, generator=draws.generator)
        covers = torch.rand(32, 2, length, height // 2, width // 2, generator=draws.generator)
        buckets.append(
            Bucket(
                combinations,
                (torch.arange(32) % 4 == 0) & (length > 1),
                latents,
                covers / 2,
                torch.tensor([fill_slots(each) for each in combinations]),
                torch.ones(32),
                share,
            )
        )
    return Pool(buckets)


def small_batch() -> Batch:
    """Returns all clips of the default size."""
    bucket = small_pool().buckets[0]
    captions = [""] * len(bucket.latents)
    return Batch(bucket.latents, captions, bucket.is_picture, bucket.covers, bucket.slots)


def saved_parts(folder: Path) -> Parts:
    """Saves the small parts as training does, and returns them."""
    parts = small_parts()
    parts.transformer.save_pretrained(folder / "transformer")
    parts.text_encoder.save_pretrained(folder / "text_encoder")
    parts.tokenizer.save_pretrained(folder / "tokenizer")
    return parts


def assert_same_weights(one: torch.nn.Module, other: torch.nn.Module) -> None:
    """Compares two models bit for bit."""
    others = other.state_dict()
    for name, first in one.state_dict().items():
        second = others[name]
        assert torch.equal(first, second), name


def cut_after(num_steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes training fail instead of taking one more step."""
    advance = Run.advance

    def advance_or_fail(run: Run, loss: torch.Tensor, factor: float) -> None:
        if run.step == num_steps:
            raise CutError
        advance(run, loss, factor)

    monkeypatch.setattr(Run, "advance", advance_or_fail)
