"""Makes the tiny checkpoint from nothing: `python -m models.tiny.train --out DIR`.

The stages, in order: `vae` (autoencoder), `latents` (a pool of encoded clips), `transformer` (with
the text encoder), `decoder` (the autoencoder's decoder on noisy latents; may run beside
`transformer`) and `export`. Each goes on where it stopped. On a CPU, set MALLOC_MMAP_MAX_=0 and
MALLOC_TRIM_THRESHOLD_=100000000000 first: glibc otherwise returns large tensors to the system after
every operation, which makes rendering several times slower.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from models.tiny.config import build_text_encoder, build_transformer, build_vae
from models.tiny.export import export
from models.tiny.latents import encode_pool, load_pool
from models.tiny.tokenizer import build_tokenizer
from models.tiny.train_transformer import Parts, TransformerSettings, train_transformer
from models.tiny.train_vae import VaeSettings, train_vae
from models.tiny.training import Budget
from models.tiny.untyped import AutoencoderKLWan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEFAULT_MINUTES = 35.0
DEFAULT_CLIPS = 12_000


def run_vae(out: Path, budget: Budget, seed: int, _num_clips: int) -> None:
    """Trains encoder and decoder; writes `out/vae`."""
    torch.manual_seed(seed)
    vae = build_vae()
    train_vae(vae, out / "vae.pt", budget, VaeSettings(seed=seed))


def run_latents(out: Path, _budget: Budget, seed: int, num_clips: int) -> None:
    """Encodes the pool; writes `out/latents` and the statistics in `out/latents.json`."""
    vae = AutoencoderKLWan.from_pretrained(out / "vae").eval()
    encode_pool(vae, out / "latents", num_clips, seed)
    pool = load_pool(out / "latents")
    statistics = {"latents_mean": pool.mean, "latents_std": pool.std}
    (out / "latents.json").write_text(json.dumps(statistics))


def run_transformer(out: Path, budget: Budget, seed: int, _num_clips: int) -> None:
    """Trains transformer and text encoder; writes `out/transformer` and `out/text_encoder`."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    parts = Parts(build_transformer(), build_text_encoder(len(tokenizer)), tokenizer)
    pool = load_pool(out / "latents")
    train_transformer(parts, pool, out / "transformer.pt", budget, TransformerSettings(seed=seed))


def run_decoder(out: Path, budget: Budget, seed: int, _num_clips: int) -> None:
    """Trains the decoder alone; updates `out/vae`, whose encoder stays as it is."""
    vae = AutoencoderKLWan.from_pretrained(out / "vae")
    # Gentler rates than from scratch: the decoder already works.
    settings = VaeSettings(seed=seed + 1, matrix_rate=1.5e-3, other_rate=5e-4, is_decoder_only=True)
    train_vae(vae, out / "decoder.pt", budget, settings)


def run_export(out: Path, _budget: Budget, _seed: int, _num_clips: int) -> None:
    """Writes the pipeline folder `out/checkpoint`."""
    export(out, out / "checkpoint")


STAGES: dict[str, Callable[[Path, Budget, int, int], None]] = {
    "vae": run_vae,
    "latents": run_latents,
    "transformer": run_transformer,
    "decoder": run_decoder,
    "export": run_export,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one stage, or all of them in order."""
    parser = argparse.ArgumentParser(description="Train the tiny checkpoint.")
    parser.add_argument("--out", type=Path, required=True, help="folder of states and results")
    parser.add_argument("--stage", choices=[*STAGES, "all"], default="all")
    parser.add_argument("--minutes", type=float, default=DEFAULT_MINUTES, help="of each stage")
    parser.add_argument("--steps", type=int, help="of each stage; in place of minutes")
    parser.add_argument("--clips", type=int, default=DEFAULT_CLIPS, help="size of the latent pool")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    budget = Budget(minutes=options.minutes, num_steps=options.steps)
    for name, stage in STAGES.items():
        if options.stage in (name, "all"):
            stage(options.out, budget, options.seed, options.clips)


if __name__ == "__main__":
    main()
