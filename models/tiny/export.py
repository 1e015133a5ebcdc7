"""Writes a pipeline folder that the stock classes load, in half precision."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import torch

from models.tiny.config import build_fast_scheduler, build_scheduler
from models.tiny.tokenizer import build_tokenizer
from models.tiny.untyped import (
    AutoencoderKLWan,
    UMT5EncoderModel,
    Vae,
    WanPipeline,
    WanTransformer3DModel,
)

if TYPE_CHECKING:
    from pathlib import Path

FAST = "fast"
"""Folder of the distilled transformer, its scheduler and its autoencoder inside a pipeline's."""


def export(parts: Path, folder: Path) -> None:
    """Writes the pipeline in float16, about a ten-thousandth off the float32 output.

    Args:
        parts: Folder with trained `vae`, `transformer` and `text_encoder`, maybe `fast`, and the
            `latents.json` that holds the latents' statistics.
        folder: Gets `model_index.json` and one folder per part. It says `WanPipeline`;
            `WanImageToVideoPipeline.from_pretrained` loads it as well. `fast` holds the distilled
            transformer with its scheduler, and the autoencoder with the smaller decoder.
    """
    statistics = json.loads((parts / "latents.json").read_text())
    pipeline = WanPipeline(
        tokenizer=build_tokenizer(),
        text_encoder=UMT5EncoderModel.from_pretrained(parts / "text_encoder"),
        vae=_read_vae(parts / "vae", statistics),
        scheduler=build_scheduler(),
        transformer=WanTransformer3DModel.from_pretrained(parts / "transformer"),
        expand_timesteps=True,
    )
    pipeline.to(torch.float16).save_pretrained(folder)
    if (parts / FAST / "transformer").exists():
        fast = WanTransformer3DModel.from_pretrained(parts / FAST / "transformer")
        fast.to(torch.float16).save_pretrained(folder / FAST / "transformer")
        build_fast_scheduler().save_pretrained(folder / FAST / "scheduler")
    if (parts / FAST / "vae").exists():
        vae = _read_vae(parts / FAST / "vae", statistics)
        vae.to(torch.float16).save_pretrained(folder / FAST / "vae")
    for path in folder.rglob("*.safetensors"):
        # They are written readable by their owner alone.
        path.chmod(0o644)
    for path in folder.rglob("*.json"):
        _strip_origin(path)


def digest(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each weight file, by its path inside the folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.safetensors"))
    }


def _read_vae(folder: Path, statistics: dict[str, list[float]]) -> Vae:
    vae = AutoencoderKLWan.from_pretrained(folder)
    vae.register_to_config(**statistics)
    return vae


def _strip_origin(path: Path) -> None:
    """Removes the path that a part was loaded from: it says where it was trained, no more."""
    content = json.loads(path.read_text())
    if content.pop("_name_or_path", None) is not None:
        path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
