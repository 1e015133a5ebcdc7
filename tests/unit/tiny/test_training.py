"""Training resumes as if it had never stopped, and its arithmetic is what the papers say."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import tokenizers
import torch

from models.tiny import latents
from models.tiny import train_vae as train_vae_module
from models.tiny.config import LATENT_CHANNELS, build_text_encoder
from models.tiny.data import is_held_out
from models.tiny.latents import (
    STAGES,
    Pool,
    encode_pool,
    load_pool,
    measure_pool,
    read_statistics,
    write_statistics,
)
from models.tiny.optimizer import orthogonalize
from models.tiny.tokenizer import build_tokenizer
from models.tiny.tracks import Stage
from models.tiny.train import Job, load_parts, load_text_encoder, run_text
from models.tiny.train_transformer import (
    Batch,
    TransformerSettings,
    draw_batch,
    draw_sample,
    draw_sigmas,
    train_transformer,
    weigh_things,
)
from models.tiny.train_vae import VaeSettings, decode_unclamped, encode_at_once, train_vae
from models.tiny.training import Budget, Draws, cosine_factor
from models.tiny.untyped import PreTrainedTokenizerFast, TextEncoder
from tests.support.tiny import (
    BUDGET,
    SAVING_BUDGET,
    CutError,
    assert_same_weights,
    cut_after,
    saved_parts,
    small_batch,
    small_parts,
    small_pool,
    small_vae,
)

if TYPE_CHECKING:
    from pathlib import Path

# Stock norms keep float32 weights under autocast; torch remarks on it once a process.
pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")

SMALL_BATCHES = VaeSettings(window_batches=((5, 2),) * 3, clip_batches=((5, 1),) * 3)


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


@pytest.mark.parametrize("trains_text", [False, True])
def test_a_resumed_transformer_run_ends_bit_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, trains_text: bool
) -> None:
    straight, cut, resumed = small_parts(), small_parts(), small_parts()
    settings = TransformerSettings(num_tokens=80, trains_text=trains_text)
    torch.manual_seed(0)
    train_transformer(straight, small_pool(), tmp_path / "a" / "run.pt", BUDGET, settings)
    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        cut_after(2, patch)
        with pytest.raises(CutError):
            train_transformer(cut, small_pool(), tmp_path / "b" / "run.pt", SAVING_BUDGET, settings)
    train_transformer(resumed, small_pool(), tmp_path / "b" / "run.pt", BUDGET, settings)
    assert_same_weights(straight.transformer, resumed.transformer)
    assert_same_weights(straight.text_encoder, resumed.text_encoder)
    moved = (straight.text_encoder.shared.weight - small_parts().text_encoder.shared.weight).abs()
    assert (moved.max().item() > 0) is trains_text
    assert straight.transformer.proj_out.weight.abs().max() > 0


def test_clips_with_what_is_hard_to_draw_are_trained_on_more_often() -> None:
    bucket = small_pool().buckets[0]
    is_hard = torch.arange(32) < 8
    weighted = dataclasses.replace(bucket, weights=torch.where(is_hard, 3.0, 1.0))
    rows = Draws(3, 0).rows(weighted.weights, 4000)
    assert (rows < 8).float().mean() == pytest.approx(0.5, abs=0.04)
    batch = draw_batch(Pool([weighted]), 20 * 400, Draws(3, 1))
    hard = weighted.latents[:8].flatten(1)
    is_drawn = [bool((each.flatten() == hard).all(1).any()) for each in batch.latents]
    assert sum(is_drawn) / len(is_drawn) == pytest.approx(0.5, abs=0.1)


def test_training_further_begins_with_the_weights_of_a_checkpoint(tmp_path: Path) -> None:
    saved = saved_parts(tmp_path)
    start = load_parts(tmp_path, build_tokenizer())
    tensors = [*start.transformer.parameters(), *start.text_encoder.parameters()]
    assert {each.dtype for each in tensors} == {torch.float32}
    assert_same_weights(saved.transformer, start.transformer)
    settings = TransformerSettings(num_tokens=40, matrix_rate=1e-5, other_rate=1e-5)
    train_transformer(start, small_pool(), tmp_path / "run.pt", BUDGET, settings)
    moved = (start.transformer.proj_out.weight - saved.transformer.proj_out.weight).abs().max()
    assert 0 < moved < 1e-3, "the first steps go on from the saved weights"


def take_text_encoder(folder: Path, start: Path) -> TextEncoder:
    run_text(
        Job(
            out=folder,
            budget=BUDGET,
            seed=7,
            num_chunks=1,
            start_vae=None,
            start=start,
            is_compiled=False,
        )
    )
    return load_text_encoder(folder, build_tokenizer())


def test_a_pipeline_that_training_starts_from_gives_its_text_encoder(tmp_path: Path) -> None:
    saved = saved_parts(tmp_path / "start")
    taken = take_text_encoder(tmp_path / "out", tmp_path / "start")
    assert_same_weights(saved.text_encoder, taken)


def test_a_text_encoder_of_fewer_words_learns_the_others(tmp_path: Path) -> None:
    start = tmp_path / "start"
    saved_parts(start)
    vocabulary = {"<pad>": 0, "</s>": 1, "<unk>": 2, "red": 3}
    pieces = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=pieces, unk_token="<unk>").save_pretrained(
        start / "tokenizer"
    )
    old = build_text_encoder(len(vocabulary))
    old.save_pretrained(start / "text_encoder")
    taken = take_text_encoder(tmp_path / "out", start)
    known = build_tokenizer().get_vocab()
    red, unknown = old.shared.weight[[3, 2]].unbind()
    assert torch.equal(taken.shared.weight[known["红色"]], red)
    assert torch.equal(taken.shared.weight[known["blinking"]], unknown)


def test_a_checkpoint_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    build_text_encoder(7, num_layers=1).save_pretrained(tmp_path / "text_encoder")
    with pytest.raises(ValueError, match="knows 7 tokens, the tokenizer"):
        load_parts(tmp_path, build_tokenizer())


def test_minutes_become_steps_after_the_warm_up(tmp_path: Path) -> None:
    parts, path = small_parts(), tmp_path / "run.pt"
    budget = Budget(minutes=1e-9, num_warmup_steps=3)
    train_transformer(parts, small_pool(), path, budget, TransformerSettings(num_tokens=40))
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


def test_half_of_the_noise_levels_are_shifted_as_at_inference() -> None:
    sigmas = draw_sigmas(5000, Draws(0, 0))
    assert 0.001 <= sigmas.min() < 0.05
    assert 0.95 < sigmas.max() <= 1
    # Shift 3 moves the middle of 0..1 to 0.75: half of the levels below 0.5, a fifth of the others.
    below = (sigmas < 0.5).float().mean().item()
    assert below == pytest.approx(0.35, abs=0.03)


def test_image_samples_keep_a_clean_first_frame_at_timestep_zero() -> None:
    batch = small_batch()
    clean, sample = batch.latents, draw_sample(batch, Draws(0, 1))
    is_image = sample.weight[:, 0, 0, 0, 0] == 0
    assert 8 < is_image.sum() < 32
    assert is_image[batch.is_picture].all(), "no text names a picture's background"
    torch.testing.assert_close(sample.noised[is_image, :, 0], clean[is_image, :, 0])
    # Four tokens a latent frame: 4x4 latents in patches of two.
    assert (sample.timesteps[is_image, :4] == 0).all()
    assert (sample.timesteps[is_image, 4:] > 0).all()
    assert (sample.timesteps[~is_image] > 0).all()
    assert (sample.weight[~is_image, 0, 0] > 1).all()


def test_nothing_of_a_still_is_given() -> None:
    still = next(each for each in small_pool().buckets if each.is_still)
    batch = Batch(still.latents, [""] * 32, still.is_picture, still.covers, still.slots)
    sample = draw_sample(batch, Draws(0, 1))
    assert (sample.weight > 0).all()
    assert (sample.timesteps > 0).all()


def test_latents_that_show_a_thing_count_for_more() -> None:
    covers = torch.zeros(1, 2, 1, 2, 3)
    covers[0, 1, 0, 1, 2] = 0.2
    weight = weigh_things(covers)
    assert weight.shape == (1, 1, 1, 4, 6)
    assert (weight[..., 2:, 4:] == 3).all()
    assert weight.sum() == 20 + 4 * 3


def test_the_noised_clip_lies_on_the_line_from_data_to_noise() -> None:
    clean, sample = small_batch().latents, draw_sample(small_batch(), Draws(0, 2))
    sigma = sample.timesteps.view(32, 5, 4)[:, 1, 0].view(-1, 1, 1, 1) / 1000
    moved = sample.noised[:, :, 1] - clean[:, :, 1]
    # Timesteps are rounded to integers, sigmas are not.
    torch.testing.assert_close(moved, sigma * sample.target[:, :, 1], atol=6e-3, rtol=0)


@pytest.mark.parametrize("num_frames", [1, 5, 13])
def test_the_trained_autoencoder_is_the_one_that_inference_runs(num_frames: int) -> None:
    vae = small_vae().eval()
    generator = torch.Generator().manual_seed(3)
    clip = torch.rand(1, 3, num_frames, 32, 32, generator=generator) * 2 - 1
    noise = torch.randn(1, LATENT_CHANNELS, num_frames // 4 + 1, 2, 2, generator=generator)
    with torch.no_grad():
        posterior = vae.encode(clip).latent_dist
        mean, log_variance = encode_at_once(vae, clip)
        torch.testing.assert_close(mean, posterior.mean)
        torch.testing.assert_close(log_variance, posterior.logvar)
        decoded = decode_unclamped(vae, noise)
        torch.testing.assert_close(decoded.clamp(-1, 1), vae.decode(noise).sample)
    assert decoded.shape == clip.shape


def test_the_pool_is_normalised_and_encoding_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "CHUNK_SIZE", 6)
    monkeypatch.setattr(latents, "BATCH_SIZE", 3)
    stages = {"clips": (Stage(), Stage(96, 64, 9), Stage()), "stills": (Stage(64, 64, 1),)}
    monkeypatch.setattr(latents, "STAGES", stages)
    vae = small_vae().eval()
    encode_pool(vae, tmp_path, 1, "clips")
    before = (tmp_path / "clips-0000.pt").stat().st_mtime_ns
    encode_pool(vae, tmp_path, 3, "clips")
    encode_pool(vae, tmp_path, 1, "stills")
    assert (tmp_path / "clips-0000.pt").stat().st_mtime_ns == before
    write_statistics(measure_pool(tmp_path), tmp_path / "latents.json")
    pool = load_pool(tmp_path, read_statistics(tmp_path / "latents.json"))
    usual, wide, stills = pool.buckets
    assert usual.latents.shape == (12, LATENT_CHANNELS, 5, 4, 4)
    # A tenth less work a clip, so one clip more.
    assert wide.latents.shape == (7, LATENT_CHANNELS, 3, 4, 6)
    # A still is a fifth of the work of a clip.
    assert stills.latents.shape == (30, LATENT_CHANNELS, 1, 4, 4)
    assert (usual.num_tokens, wide.num_tokens, stills.num_tokens) == (20, 18, 4)
    assert (usual.share, wide.share, stills.share) == pytest.approx((2 / 3, 1 / 3, 1))
    assert [each.is_still for each in pool.buckets] == [False, False, True]
    assert not stills.is_picture.any()
    for bucket in pool.buckets:
        assert not any(is_held_out(each) for each in bucket.combinations)
        assert len(bucket.is_picture) == len(bucket.combinations) == len(bucket.latents)
        is_second = torch.tensor([len(each.things) == 2 for each in bucket.combinations])
        assert torch.equal(bucket.covers[:, 1].flatten(1).amax(1) > 0, is_second)
    values = torch.cat([each.latents.transpose(0, 1).flatten(1) for each in pool.buckets], 1)
    torch.testing.assert_close(values.mean(1), torch.zeros(LATENT_CHANNELS), atol=1e-3, rtol=0)
    # One scale for all channels: some stay louder than others.
    assert values.square().mean().sqrt().item() == pytest.approx(1, abs=1e-2)
    assert values.std(1).max() > 1.1 * values.std(1).min()


def test_batches_are_of_one_size_and_about_as_many_tokens() -> None:
    pool = small_pool()
    sizes = set()
    for step in range(40):
        batch = draw_batch(pool, 180, Draws(3, step))
        sizes.add(tuple(batch.latents.shape))
        assert len(batch.covers) == len(batch.slots) == len(batch.latents)
        assert len(batch.captions) == len(batch.latents) == len(batch.is_picture)
    assert sizes == {(9, LATENT_CHANNELS, 5, 4, 4), (10, LATENT_CHANNELS, 3, 4, 6)}
    shares = [
        draw_batch(pool, 180, Draws(4, step), 0.5).latents.shape[2] == 1 for step in range(40)
    ]
    assert 10 < sum(shares) < 30


def test_training_sees_every_size_the_model_is_meant_for() -> None:
    for stages in STAGES.values():
        sizes = {(each.width, each.height) for each in stages}
        assert sizes == {(64, 64), (96, 64), (64, 96), (96, 96), (160, 96), (96, 160)}
    lengths = {each.num_frames for each in STAGES["clips"]}
    assert lengths == {9, 17, 25, 33, 49}
    assert all(length % 4 == 1 for length in lengths)
