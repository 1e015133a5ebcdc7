"""Makes the tiny checkpoint from nothing: `python -m models.tiny.train --out DIR`.

The stages, in order: `vae` (autoencoder), `text` (text encoder), `latents` (a pool of encoded
stills and clips), `transformer`, `decoder` (the autoencoder's decoder on noisy latents; may run
beside `transformer`), `distil` (a four-step student of the transformer), `fast-decoder` (a smaller
decoder that goes with it) and `export`. Each goes on
where it stopped when the same command runs again; with `--start-vae` and `--start` the autoencoder
and the transformer begin with trained weights. On a CPU, set MALLOC_MMAP_MAX_=0 and
MALLOC_TRIM_THRESHOLD_=100000000000 first: glibc otherwise returns large tensors to the system after
every operation, which makes rendering several times slower.
"""

from __future__ import annotations

import argparse
import logging
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from models.tiny.config import (
    FAST_DECODER_WIDTH,
    build_text_encoder,
    build_transformer,
    build_vae,
)
from models.tiny.deepen import deepen_transformer
from models.tiny.distil import DistilSettings, distil, start_student
from models.tiny.export import FAST, export
from models.tiny.latents import (
    SORTS,
    Pool,
    encode_pool,
    load_pool,
    measure_pool,
    read_statistics,
    write_statistics,
)
from models.tiny.retell import renew_words
from models.tiny.thin import thin_decoder
from models.tiny.tokenizer import build_tokenizer
from models.tiny.train_text import train_text
from models.tiny.train_transformer import (
    LATER_STILL_SHARES,
    Parts,
    TransformerSettings,
    train_transformer,
)
from models.tiny.train_vae import VaeSettings, train_vae
from models.tiny.training import Budget
from models.tiny.untyped import (
    AutoencoderKLWan,
    PreTrainedTokenizerFast,
    TextEncoder,
    Tokenizer,
    Transformer,
    UMT5EncoderModel,
    Vae,
    WanTransformer3DModel,
)
from models.tiny.widen import widen_vae

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STAGE_MINUTES = {
    "vae": 80.0,
    "text": 6.0,
    "transformer": 150.0,
    "decoder": 30.0,
    "distil": 40.0,
    "fast-decoder": 15.0,
}
"""Default length of each training stage on one core; `latents` takes about 20 for its default."""

DEFAULT_CHUNKS = 48

# Gentler rates than from scratch: what is trained on already works.
GENTLE_MATRIX_RATE = 1.5e-3
START_MATRIX_RATE = 2e-3


@dataclass(frozen=True)
class Job:
    """What every stage is told.

    `out` is the folder of states and results, `num_chunks` the size of the latent pool. `start_vae`
    is the folder of an autoencoder and `start` that of a pipeline whose transformer and text
    encoder are trained further, None to begin anew. With `is_compiled` transformers are compiled.
    """

    out: Path
    budget: Budget
    seed: int
    num_chunks: int
    start_vae: Path | None
    start: Path | None
    is_compiled: bool


def run_vae(job: Job) -> None:
    """Trains encoder and decoder; writes `out/vae`."""
    torch.manual_seed(job.seed)
    settings = VaeSettings(seed=job.seed)
    if job.start_vae is None:
        vae = build_vae()
    else:
        vae = _on_device(widen_vae(load_vae(job.start_vae)))
        settings = replace(settings, matrix_rate=START_MATRIX_RATE, other_rate=1e-3, edges_from=0.0)
    train_vae(vae, job.out / "vae.pt", job.budget, settings)


def run_text(job: Job) -> None:
    """Trains the text encoder, or takes that of `start`; writes `out/text_encoder`."""
    torch.manual_seed(job.seed)
    tokenizer = build_tokenizer()
    if job.start is not None:
        text_encoder = _start_text_encoder(job.start, tokenizer)
        text_encoder.save_pretrained(job.out / "text_encoder")
        return
    text_encoder = build_text_encoder(len(tokenizer))
    train_text(text_encoder, tokenizer, job.out / "text.pt", job.budget, job.seed)


def run_latents(job: Job) -> None:
    """Encodes the pool; writes `out/latents` and the statistics in `out/latents.json`."""
    vae = load_vae(job.out / "vae").eval()
    for sort in SORTS:
        encode_pool(vae, job.out / "latents", job.num_chunks, sort, job.seed)
    statistics = measure_pool(job.out / "latents")
    write_statistics(statistics, job.out / "latents.json")


def run_transformer(job: Job) -> None:
    """Trains the transformer; writes `out/transformer`.

    The text encoder in `out` stays as it is, or trains along where the transformer starts trained.
    """
    torch.manual_seed(job.seed)
    tokenizer = build_tokenizer()
    settings = TransformerSettings(seed=job.seed, is_compiled=job.is_compiled)
    if job.start is None:
        transformer = build_transformer()
    else:
        transformer = _on_device(deepen_transformer(load_transformer(job.start)))
        settings = replace(settings, still_shares=LATER_STILL_SHARES, trains_text=True)
    parts = Parts(transformer, load_text_encoder(job.out, tokenizer), tokenizer)
    train_transformer(parts, _load_pool(job), job.out / "transformer.pt", job.budget, settings)


def run_decoder(job: Job) -> None:
    """Trains the decoder alone; updates `out/vae`, whose encoder stays as it is."""
    vae = load_vae(job.out / "vae")
    settings = VaeSettings(
        seed=job.seed + 1, matrix_rate=GENTLE_MATRIX_RATE, other_rate=5e-4, is_decoder_only=True
    )
    train_vae(vae, job.out / "decoder.pt", job.budget, settings)


def run_distil(job: Job) -> None:
    """Distils `out/transformer` into a four-step student; writes `out/fast`."""
    teacher = load_parts(job.out, build_tokenizer())
    pool = _load_pool(job)
    settings = DistilSettings(seed=job.seed, is_compiled=job.is_compiled)
    student = start_student(teacher, pool, settings)
    state = job.out / "distil.pt"
    distil(teacher, student, pool, state=state, budget=job.budget, settings=settings)


def run_fast_decoder(job: Job) -> None:
    """Trains a smaller decoder for the latents of `out/vae`; writes `out/fast/vae`."""
    torch.manual_seed(job.seed)
    vae = _on_device(thin_decoder(load_vae(job.out / "vae"), FAST_DECODER_WIDTH))
    settings = VaeSettings(seed=job.seed + 2, is_decoder_only=True)
    train_vae(vae, job.out / FAST / "decoder.pt", job.budget, settings)


def run_export(job: Job) -> None:
    """Writes the pipeline folder `out/checkpoint`."""
    export(job.out, job.out / "checkpoint")


def load_parts(folder: Path, tokenizer: Tokenizer) -> Parts:
    """Loads transformer and text encoder from a pipeline folder, in float32.

    Args:
        folder: A saved pipeline whose text encoder was made for `tokenizer`.
        tokenizer: The tokenizer of the captions.

    Raises:
        ValueError: The text encoder has another number of tokens.
    """
    text_encoder = load_text_encoder(folder, tokenizer)
    return Parts(load_transformer(folder), text_encoder, tokenizer)


def load_vae(folder: Path) -> Vae:
    """Loads an autoencoder from its own folder, in float32."""
    vae = AutoencoderKLWan.from_pretrained(folder, torch_dtype=torch.float32, local_files_only=True)
    return _on_device(vae)


def load_transformer(folder: Path) -> Transformer:
    """Loads the transformer of a pipeline folder, in float32 and ready to train."""
    transformer = WanTransformer3DModel.from_pretrained(
        folder / "transformer", torch_dtype=torch.float32, local_files_only=True
    )
    return _on_device(transformer.train())


def load_text_encoder(folder: Path, tokenizer: Tokenizer) -> TextEncoder:
    """Loads the text encoder of a pipeline folder; arguments and errors as of `load_parts`."""
    text_encoder = UMT5EncoderModel.from_pretrained(
        folder / "text_encoder", dtype=torch.float32, local_files_only=True
    )
    num_tokens = text_encoder.config.vocab_size
    if num_tokens != len(tokenizer):
        raise ValueError(
            f"{folder} knows {num_tokens} tokens, the tokenizer {len(tokenizer)}: "
            "start from a checkpoint of the same vocabulary"
        )
    return _on_device(text_encoder)


def _start_text_encoder(folder: Path, tokenizer: Tokenizer) -> TextEncoder:
    """Loads the text encoder of a pipeline folder and teaches it the words of a tokenizer."""
    old = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer", local_files_only=True)
    trained = load_text_encoder(folder, old)
    is_same = old.get_vocab() == tokenizer.get_vocab()
    return trained if is_same else _on_device(renew_words(trained, old, tokenizer))


def _load_pool(job: Job) -> Pool:
    return load_pool(job.out / "latents", read_statistics(job.out / "latents.json"))


STAGES: dict[str, Callable[[Job], None]] = {
    "vae": run_vae,
    "text": run_text,
    "latents": run_latents,
    "transformer": run_transformer,
    "decoder": run_decoder,
    "distil": run_distil,
    "fast-decoder": run_fast_decoder,
    "export": run_export,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one stage, or all of them in order."""
    parser = argparse.ArgumentParser(description="Train the tiny checkpoint.")
    parser.add_argument("--out", type=Path, required=True, help="folder of states and results")
    parser.add_argument("--stage", choices=[*STAGES, "all"], default="all")
    parser.add_argument("--minutes", type=float, help=f"of each stage; else {STAGE_MINUTES}")
    parser.add_argument("--steps", type=int, help="of each stage; in place of minutes")
    parser.add_argument(
        "--chunks",
        type=int,
        default=DEFAULT_CHUNKS,
        help="files of each sort in the latent pool, each the work of 500 clips of 64x64",
    )
    parser.add_argument("--start-vae", type=Path, help="autoencoder to train further from")
    parser.add_argument("--start", type=Path, help="pipeline folder whose transformer goes on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--compile", action="store_true", help="compile transformers; needs a C++ compiler"
    )
    parser.add_argument("--device", default="cpu", help="where torch trains, such as cuda")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    # Being inside such a context costs a little on every operation, so not for the default.
    where = nullcontext() if options.device == "cpu" else torch.device(options.device)
    with where:
        for name, stage in STAGES.items():
            if options.stage in (name, "all"):
                stage(_plan(options, name))


def _plan(options: argparse.Namespace, stage: str) -> Job:
    minutes = options.minutes or STAGE_MINUTES.get(stage)
    return Job(
        out=options.out,
        budget=Budget(minutes=minutes, num_steps=options.steps),
        seed=options.seed,
        num_chunks=options.chunks,
        start_vae=options.start_vae,
        start=options.start,
        is_compiled=options.compile,
    )


def _on_device(model: Any) -> Any:  # noqa: ANN401 - what `untyped` lets through
    """Moves a loaded model to torch's default device, where built ones are already."""
    return model.to(torch.get_default_device())


if __name__ == "__main__":
    main()
