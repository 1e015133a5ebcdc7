"""Training resumes as if it had never stopped, and its arithmetic is what the papers say."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import torch

from models.tiny import latents
from models.tiny import train_vae as train_vae_module
from models.tiny.config import build_text_encoder, build_transformer, build_vae
from models.tiny.data import list_training
from models.tiny.evaluate import CHECKPOINT
from models.tiny.latents import Pool, encode_pool, load_pool
from models.tiny.optimizer import orthogonalize
from models.tiny.tokenizer import build_tokenizer
from models.tiny.train import load_parts
from models.tiny.train_transformer import (
    Parts,
    TransformerSettings,
    draw_sample,
    draw_sigmas,
    train_transformer,
)
from models.tiny.train_vae import VaeSettings, decode_unclamped, train_vae
from models.tiny.training import Budget, Draws, Run, cosine_factor
from models.tiny.untyped import WanTransformer3DModel

if TYPE_CHECKING:
    from pathlib import Path

    from models.tiny.untyped import Vae

# Stock norms keep float32 weights under autocast; torch remarks on it once a process.
pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")

BUDGET = Budget(num_steps=4, num_warmup_steps=1)
SAVING_BUDGET = dataclasses.replace(BUDGET, save_every_s=0.0)
SMALL_VAE = {"base_dim": 4, "decoder_base_dim": 4}
SMALL_BATCHES = VaeSettings(window_batches=((5, 2),) * 3, clip_batches=((5, 1),) * 3)


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
    """Returns 32 random latents under real combinations."""
    latents = torch.randn(32, 24, 5, 4, 4, generator=torch.Generator().manual_seed(1))
    return Pool(list(list_training()[:32]), latents, [0.0] * 24, [1.0] * 24)


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


@pytest.mark.parametrize("is_decoder_only", [False, True])
def test_a_resumed_autoencoder_run_ends_bit_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_decoder_only: bool
) -> None:
    # Only a note in the log, and slower than the steps themselves.
    monkeypatch.setattr(train_vae_module, "measure_psnr", lambda *_: 0.0)
    settings = dataclasses.replace(SMALL_BATCHES, is_decoder_only=is_decoder_only)
    straight, cut, resumed = small_vae(), small_vae(), small_vae()
    train_vae(straight, tmp_path / "a" / "vae.pt", BUDGET, settings)
    with monkeypatch.context() as patch:
        cut_after(2, patch)
        with pytest.raises(CutError):
            train_vae(cut, tmp_path / "b" / "vae.pt", SAVING_BUDGET, settings)
    train_vae(resumed, tmp_path / "b" / "vae.pt", BUDGET, settings)
    assert_same_weights(straight, resumed)
    assert not torch.equal(straight.decoder.conv_in.bias, small_vae().decoder.conv_in.bias)
    is_encoder_kept = torch.equal(
        straight.encoder.conv_in.weight, small_vae().encoder.conv_in.weight
    )
    assert is_encoder_kept is is_decoder_only


def test_a_resumed_transformer_run_ends_bit_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, cut, resumed = small_parts(), small_parts(), small_parts()
    settings = TransformerSettings(batch_size=4)
    train_transformer(straight, small_pool(), tmp_path / "a" / "run.pt", BUDGET, settings)
    with monkeypatch.context() as patch:
        cut_after(2, patch)
        with pytest.raises(CutError):
            train_transformer(cut, small_pool(), tmp_path / "b" / "run.pt", SAVING_BUDGET, settings)
    train_transformer(resumed, small_pool(), tmp_path / "b" / "run.pt", BUDGET, settings)
    assert_same_weights(straight.transformer, resumed.transformer)
    assert_same_weights(straight.text_encoder, resumed.text_encoder)
    assert straight.transformer.proj_out.weight.abs().max() > 0


def test_training_further_begins_with_the_weights_of_a_checkpoint(tmp_path: Path) -> None:
    start = load_parts(CHECKPOINT, build_tokenizer())
    tensors = [*start.transformer.parameters(), *start.text_encoder.parameters()]
    assert {each.dtype for each in tensors} == {torch.float32}
    shipped = WanTransformer3DModel.from_pretrained(CHECKPOINT / "transformer")
    assert_same_weights(shipped, start.transformer)
    settings = TransformerSettings(batch_size=2, matrix_rate=1e-5, other_rate=1e-5)
    train_transformer(start, small_pool(), tmp_path / "run.pt", BUDGET, settings)
    moved = (start.transformer.proj_out.weight - shipped.proj_out.weight).abs().max()
    assert 0 < moved < 1e-3, "the first steps go on from the shipped weights"


def test_a_checkpoint_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    build_text_encoder(7, num_layers=1).save_pretrained(tmp_path / "text_encoder")
    with pytest.raises(ValueError, match="knows 7 tokens, the tokenizer 218"):
        load_parts(tmp_path, build_tokenizer())


def test_minutes_become_steps_after_the_warm_up(tmp_path: Path) -> None:
    parts, path = small_parts(), tmp_path / "run.pt"
    budget = Budget(minutes=1e-9, num_warmup_steps=3)
    train_transformer(parts, small_pool(), path, budget, TransformerSettings(batch_size=2))
    state = torch.load(path)
    assert state["step"] == state["num_steps"] == 4


def test_the_rate_rises_then_falls_to_a_fiftieth() -> None:
    factors = [cosine_factor(step, 100, 10) for step in range(101)]
    assert factors[:10] == sorted(factors[:10])
    assert factors[10] == max(factors) == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == pytest.approx(0.02)


@pytest.mark.parametrize("shape", [(16, 16), (48, 16), (16, 48)])
def test_orthogonalize_moves_singular_values_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    values = torch.linalg.svdvals(orthogonalize(matrix).float())
    assert values.min() > 0.5
    assert values.max() < 1.4


def test_noise_levels_follow_the_scheduler_range() -> None:
    sigmas = draw_sigmas(5000, Draws(0, 0))
    assert 0.001 <= sigmas.min() < 0.05
    assert 0.95 < sigmas.max() <= 1
    # Shift 3 moves the middle of 0..1 to 0.75.
    assert sigmas.median().item() == pytest.approx(0.75, abs=0.02)


def test_image_samples_keep_a_clean_first_frame_at_timestep_zero() -> None:
    clean = small_pool().latents
    sample = draw_sample(clean, Draws(0, 1))
    is_image = sample.weight[:, 0, 0, 0, 0] == 0
    assert 0 < is_image.sum() < 32
    torch.testing.assert_close(sample.noised[is_image, :, 0], clean[is_image, :, 0])
    # Four tokens a latent frame: 4x4 latents in patches of two.
    assert (sample.timesteps[is_image, :4] == 0).all()
    assert (sample.timesteps[is_image, 4:] > 0).all()
    assert (sample.timesteps[~is_image] > 0).all()
    assert (sample.weight[~is_image, 0, 0] > 1).all()


def test_the_noised_clip_lies_on_the_line_from_data_to_noise() -> None:
    clean = small_pool().latents
    sample = draw_sample(clean, Draws(0, 2))
    sigma = sample.timesteps.view(32, 5, 4)[:, 1, 0].view(-1, 1, 1, 1) / 1000
    moved = sample.noised[:, :, 1] - clean[:, :, 1]
    # Timesteps are rounded to integers, sigmas are not.
    torch.testing.assert_close(moved, sigma * sample.target[:, :, 1], atol=6e-3, rtol=0)


def test_the_trained_decoder_is_the_one_that_inference_runs() -> None:
    vae = small_vae().eval()
    noise = torch.randn(1, 24, 2, 2, 2, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        decoded = decode_unclamped(vae, noise)
        torch.testing.assert_close(decoded.clamp(-1, 1), vae.decode(noise).sample)
    assert decoded.shape == (1, 3, 5, 32, 32)


def test_the_pool_is_normalised_and_encoding_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "CHUNK_SIZE", 4)
    monkeypatch.setattr(latents, "BATCH_SIZE", 2)
    vae = small_vae().eval()
    encode_pool(vae, tmp_path, num_clips=4)
    before = (tmp_path / "0000.pt").stat().st_mtime_ns
    encode_pool(vae, tmp_path, num_clips=8)
    assert (tmp_path / "0000.pt").stat().st_mtime_ns == before
    pool = load_pool(tmp_path)
    assert pool.latents.shape == (8, 24, 5, 4, 4)
    assert set(pool.combinations) <= set(list_training())
    torch.testing.assert_close(pool.latents.mean((0, 2, 3, 4)), torch.zeros(24), atol=1e-3, rtol=0)
    torch.testing.assert_close(pool.latents.std((0, 2, 3, 4)), torch.ones(24), atol=1e-3, rtol=0)
