"""Trains the autoencoder, then its decoder alone on noisy latents.

Most steps see windows of 32x32 or 48x48 pixels and a few frames round the object: the network is
convolutional and causal in time, so what it learns there carries over to whole clips at a quarter
of the cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import max_pool3d

from models.tiny.data import draw_combination, happens
from models.tiny.optimizer import MuonAdamW
from models.tiny.precision import half_precision
from models.tiny.render import draw_backdrops, render
from models.tiny.scenes import draw_autoencoder_scene, draw_scene, draw_window
from models.tiny.tracks import Stage
from models.tiny.training import Budget, Draws, Run, train
from models.tiny.untyped import Vae, patchify, unpatchify

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from torch import Tensor

KL_WEIGHT = 1e-4
FOREGROUND_WEIGHT = 6.0
FIRST_FRAME_WEIGHT = 3.0
"""Weight of the first frame beside 1 of the others: it has a latent frame to itself, they share."""

SQUARE_WEIGHT = 30.0
"""Weight of squared errors beside 1 of absolute ones: pictures are judged by squares."""

EDGE_WEIGHT = 2.0
MAX_LATENT_NOISE = 0.5
"""Largest noise on the latents, in units of their own deviation.

Sampled latents are never quite right; the decoder learns to draw a clean shape all the same. And
what a clip shows has to be loud in latents that are noisy, which is to help the transformer hear it
(Yang et al., 2025, arXiv:2507.15856).
"""

FOREGROUND_DIFFERENCE = 0.08
"""Difference (of 2) to the background from which a pixel is foreground."""

RIM = 2
"""Pixels beyond an outline that weigh as much as what is inside: a blurred edge reaches there."""

NUM_PROBES = 24
"""Held-out clips whose reconstruction is measured whenever weights are saved."""

NUM_KERNEL_AXES, MIN_HIDDEN = 4, 2000
"""Axes and values from which a parameter is a convolution worth orthogonalising."""

WHOLE_CLIP_SHARES = ((0.5, 0.1), (0.8, 0.3), (1.0, 0.5))
"""Until which share of the run which share of batches are whole clips, not windows."""

CROP = 32
"""Side of a window in pixels; half as much again where frames, and what they show, are larger."""

WHOLE_SIZES = ((96, 96), (64, 64), (160, 96), (96, 96), (96, 64), (160, 96), (64, 96), (96, 160))
"""Widths and heights of whole clips; of large ones fewer make a batch."""


@dataclass(frozen=True)
class Batch:
    """Clips `[N, 3, T, H, W]` in [-1, 1] and the weight of their pixels, `[N, 1, T, H, W]`."""

    clips: Tensor
    weight: Tensor


@dataclass(frozen=True)
class VaeSettings:
    """Peak learning rates and batch sizes, as (number of frames, clips).

    `edges_from` is the share of the run after which edges count: in a fresh network they only slow
    the colours down.
    """

    seed: int = 0
    matrix_rate: float = 3e-3
    other_rate: float = 1e-3
    average_decay: float = 0.998
    window_batches: tuple[tuple[int, int], ...] = ((5, 32), (9, 20), (17, 10))
    clip_batches: tuple[tuple[int, int], ...] = ((5, 12), (9, 8), (17, 4))
    is_decoder_only: bool = False
    edges_from: float = 0.5


def train_vae(vae: Vae, state: Path, budget: Budget, settings: VaeSettings) -> None:
    """Trains an autoencoder in place and leaves the averaged weights in it.

    Args:
        vae: The autoencoder, float32 on the CPU.
        state: File to resume from and save to; the weights go to the folder `vae` beside it.
        budget: How long to train.
        settings: Seed, rates and batches. With `is_decoder_only` the encoder stays as it is, so
            latents that were made with it stay valid.
    """
    if settings.is_decoder_only:
        vae.encoder.requires_grad_(requires_grad=False)
        vae.quant_conv.requires_grad_(requires_grad=False)
    named = [(name, each) for name, each in vae.named_parameters() if each.requires_grad]
    matrices = [each for name, each in named if _is_hidden(name, each)]
    taken = {id(each) for each in matrices}
    others = [each for _, each in named if id(each) not in taken]
    optimizer = MuonAdamW(matrices, others, settings.matrix_rate, settings.other_rate)
    run = Run([each for _, each in named], optimizer, state, settings.average_decay)
    probe = _draw_probe()

    def save_weights() -> str:
        vae.save_pretrained(state.parent / "vae")
        return f"psnr_db={measure_psnr(vae, probe):.2f}"

    def loss_at(draws: Draws, done: float) -> Tensor:
        batch = _draw_batch(draws.rng, done, settings)
        with_edges = settings.is_decoder_only or done >= settings.edges_from
        rebuilt, divergence = _rebuild(vae, batch.clips, draws)
        return _distance(rebuilt, batch, with_edges=with_edges) + KL_WEIGHT * divergence

    train(run, budget, settings.seed, loss_at, save_weights)
    run.use_average()


def encode_at_once(vae: Vae, clips: Tensor) -> tuple[Tensor, Tensor]:
    """Encodes all frames after the first in one go, as `vae.encode` does four by four.

    Args:
        vae: The autoencoder.
        clips: float32 `[N, 3, 4k+1, 16h, 16w]` in [-1, 1].

    Returns:
        Mean and log variance of the posterior, each `[N, 24, k+1, h, w]`.
    """
    vae.clear_cache()
    patches = patchify(clips, vae.config.patch_size)
    chunks = []
    for part in _split_first(patches):
        vae._enc_conv_idx = [0]  # noqa: SLF001 - as `vae.encode` itself does
        chunk = vae.encoder(
            part,
            feat_cache=vae._enc_feat_map,  # noqa: SLF001
            feat_idx=vae._enc_conv_idx,  # noqa: SLF001
        )
        chunks.append(chunk)
    vae.clear_cache()
    mean, log_variance = vae.quant_conv(torch.cat(chunks, 2)).chunk(2, 1)
    return mean, log_variance


def decode_unclamped(vae: Vae, latents: Tensor) -> Tensor:
    """Decodes with gradients: `vae.decode` clamps its output, which stops them.

    Args:
        vae: The autoencoder.
        latents: float32 `[N, 24, k+1, h, w]`, not normalised.

    Returns:
        Video `[N, 3, 4k+1, 16h, 16w]`, about [-1, 1].
    """
    vae.clear_cache()
    chunks = []
    for number, part in enumerate(_split_first(vae.post_quant_conv(latents))):
        position: list[Any] = [0]
        chunk = vae.decoder(
            part,
            feat_cache=vae._feat_map,  # noqa: SLF001 - what `vae.decode` itself passes
            feat_idx=position,
            first_chunk=number == 0,
        )
        chunks.append(chunk)
    vae.clear_cache()
    video: Tensor = unpatchify(torch.cat(chunks, 2), vae.config.patch_size)
    return video


def _split_first(frames: Tensor) -> list[Tensor]:
    """Splits off the first frame: it differs, and with the cache all others can go together.

    Without the cache time is not resampled.
    """
    return [part for part in (frames[:, :, :1], frames[:, :, 1:]) if part.shape[2]]


@torch.no_grad()
def measure_psnr(vae: Vae, clips: Tensor) -> float:
    """Returns the mean peak signal-to-noise ratio of reconstructions, in dB.

    Args:
        vae: The autoencoder.
        clips: float32 `[N, 3, T, H, W]` in [-1, 1].
    """
    rebuilt = vae.decode(vae.encode(clips).latent_dist.mode()).sample
    error = ((rebuilt - clips) / 2).square().mean((1, 2, 3, 4))
    return float((-10 * error.log10()).mean())


def _is_hidden(name: str, parameter: Tensor) -> bool:
    is_outer = "conv_in" in name or "decoder.conv_out" in name
    is_kernel = parameter.ndim >= NUM_KERNEL_AXES and parameter.numel() > MIN_HIDDEN
    return is_kernel and not is_outer


def _draw_probe() -> Tensor:
    rng = Draws(seed=99, step=0).rng
    held_out = [draw_combination(rng, held_out=True) for _ in range(NUM_PROBES)]
    return render([draw_scene(each, Stage(), rng) for each in held_out])


def _draw_batch(rng: random.Random, done: float, settings: VaeSettings) -> Batch:
    # Attention inside the network is over whole frames, so these take over towards the end.
    is_whole = happens(next(share for until, share in WHOLE_CLIP_SHARES if done < until), rng)
    batches = settings.clip_batches if is_whole else settings.window_batches
    (num_frames, num_clips) = rng.choices(batches, weights=(5, 4, 1))[0]
    width, height = rng.choice(WHOLE_SIZES)
    whole = Stage(width, height, num_frames)
    stage = whole if is_whole else Stage(width, height)
    side = CROP if stage.unit == 1 else CROP * 3 // 2
    part = whole if is_whole else Stage(side, side, num_frames)
    usual = Stage().width * Stage().height if is_whole else CROP * CROP
    num_clips = max(1, num_clips * usual // (part.width * part.height))
    scenes = [draw_autoencoder_scene(stage, rng) for _ in range(num_clips)]
    windows = [draw_window(scene, part, rng) for scene in scenes]
    clips = render(scenes, windows, part)
    backdrops = draw_backdrops(scenes, windows, part) * 2 - 1
    is_foreground = (clips - backdrops).abs().amax(1, keepdim=True) > FOREGROUND_DIFFERENCE
    is_near = max_pool3d(is_foreground.float(), (1, 2 * RIM + 1, 2 * RIM + 1), 1, (0, RIM, RIM))
    weight = 1 + FOREGROUND_WEIGHT * is_near
    weight[:, :, 0] *= FIRST_FRAME_WEIGHT
    return Batch(clips, weight)


def _rebuild(vae: Vae, clips: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """Returns what the decoder makes of noisy latents, and the posterior's divergence."""
    with half_precision(clips):
        mean, log_variance = (each.float() for each in encode_at_once(vae, clips))
        log_variance = log_variance.clamp(-12, 4)
        # With gradients through the deviation, louder latents do not escape the noise.
        noise = MAX_LATENT_NOISE * draws.uniform(len(mean)).square().view(-1, 1, 1, 1, 1)
        deviation = (log_variance.exp() + (noise * mean.std()).square()).sqrt()
        rebuilt: Tensor = decode_unclamped(vae, mean + deviation * draws.normal(mean))
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    return rebuilt.float(), divergence


def _distance(rebuilt: Tensor, batch: Batch, *, with_edges: bool) -> Tensor:
    error = rebuilt - batch.clips
    distance = error.abs() + SQUARE_WEIGHT * error.square()
    loss = (distance * batch.weight).mean()
    if with_edges:
        slopes = sum(error.diff(dim=axis).abs().mean() for axis in (3, 4))
        loss = loss + EDGE_WEIGHT * slopes
    return loss
