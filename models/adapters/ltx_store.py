"""Finished pieces of a job on disk, so that another attempt on this machine goes on from them.

Every file appears whole or not at all and names the job it was made for: what another spec, other
pictures or another card left is never taken up.
"""

import contextlib
import hashlib
import os
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from models.card import ModelCard
from models.pipeline import Audio
from models.spec import SpokenAudio, VideoSpec

_KEY = "made_for"


def fingerprint(spec: VideoSpec, card: ModelCard) -> str:
    """What the pieces of a job depend on, as a hash; reads the job's files."""
    files = [spec.image]
    if spec.performance is not None and isinstance(spec.performance.speech, SpokenAudio):
        files.append(spec.performance.speech.path)
        # Where a file lies changes with the attempt; what it holds does not.
        said = spec.performance.model_copy(update={"speech": SpokenAudio()})
        spec = spec.model_copy(update={"performance": said})
    words = spec.model_dump_json(exclude={"image", "workspace"})
    digest = hashlib.sha256(f"{words} {card.id} {card.checkpoint} {card.options}".encode())
    for path in files:
        if path is not None:
            digest.update(path.read_bytes())
    return digest.hexdigest()


class ChunkStore:
    """The pieces and the speech of one job in `folder`; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, made_for: str) -> None:
        self._folder = folder
        self._made_for = made_for

    def find_speech(self) -> Audio | None:
        """The speech that the pieces were made to; a voice may say it another way next time."""
        found = self._find("speech")
        if found is None:
            return None
        samples = np.asarray(found["samples"].numpy(), np.float32)
        return Audio(samples, int(found["sample_rate"].item()))

    def keep_speech(self, audio: Audio) -> None:
        """Keep what is said."""
        self._keep(
            "speech",
            {
                "samples": torch.from_numpy(np.ascontiguousarray(audio.samples)),
                "sample_rate": torch.tensor(audio.sample_rate),
            },
        )

    def find_chunk(self, number: int) -> Tensor | None:
        """The latents of a piece, or None where it has not been finished."""
        found = self._find(f"chunk-{number:03}")
        return None if found is None else found["latents"]

    def keep_chunk(self, number: int, latents: Tensor) -> None:
        """Keep a finished piece; when this returns it survives a crash."""
        self._keep(f"chunk-{number:03}", {"latents": latents.cpu().contiguous()})

    def _find(self, name: str) -> dict[str, Tensor] | None:
        if self._folder is None:
            return None
        try:
            with safe_open(self._folder / f"{name}.safetensors", "pt") as file:
                if (file.metadata() or {}).get(_KEY) != self._made_for:
                    return None
                return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 -- no dict
        except (OSError, SafetensorError):
            return None

    def _keep(self, name: str, tensors: dict[str, Tensor]) -> None:
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{name}.safetensors"
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            # Not `save_file`, whose error hides that the disk is full.
            file.write(save(tensors, metadata={_KEY: self._made_for}))
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
        with contextlib.suppress(OSError):
            folder = os.open(self._folder, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
