"""Wan as it is, but every frame is also kept as it left the autoencoder, before any encoding."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from typing_extensions import override

from models.adapters.wan import WanAdapter
from models.card import ModelCard
from models.pipeline import Clip, Frame, StepCallback
from models.spec import VideoSpec


class RecordingWan(WanAdapter):
    """Keeps the clip of a seed in `N-SEED.npy`, N being the number of jobs in the call.

    The folder is the card's option `frames`.
    """

    options: ClassVar[frozenset[str]] = WanAdapter.options | {"frames"}

    @override
    def load(self, card: ModelCard, device: str) -> None:
        """As Wan does."""
        super().load(card, device)
        self._folder = Path(str(card.options["frames"]))

    @override
    def generate(
        self, specs: Sequence[VideoSpec], on_step: StepCallback, *, low_memory: bool = False
    ) -> Sequence[Clip]:
        """As Wan does."""
        clips = super().generate(specs, on_step, low_memory=low_memory)
        names = [f"{len(specs)}-{spec.seed}.npy" for spec in specs]
        return [
            Clip(self._record(clip.frames, name), clip.fps)
            for clip, name in zip(clips, names, strict=True)
        ]

    def _record(self, frames: Iterator[Frame], name: str) -> Iterator[Frame]:
        kept = []
        for frame in frames:
            kept.append(frame)
            yield frame
        np.save(self._folder / name, np.stack(kept))
