"""The one interface a renderer implements. Torch-free.

A renderer is loaded once and then renders batch after batch. Frames leave it as an iterator, so
a minute of 1080p, 18 GB raw, passes through in bounded memory.

    PipelineError
    +- Canceled        the step callback asked to stop
    +- OutOfMemory     the device had too little room for this batch
    +- LoadFailed      the weights are missing, broken or do not fit the card
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.catalog import ModelCard
from models.spec import Stage, VideoSpec

Frame = npt.NDArray[np.uint8]


class PipelineError(Exception):
    """Something a renderer reports on purpose."""


class Canceled(PipelineError):
    """Raised by a step callback to stop a batch within one step."""


class OutOfMemory(PipelineError):
    """The device ran out of memory; the renderer is still usable."""


class LoadFailed(PipelineError):
    """The model cannot be loaded on this machine; no job is to blame."""


@dataclass(frozen=True)
class Audio:
    """Sound of a clip. `samples`: float32 [C, T] in [-1, 1]; `sample_rate`: Hz."""

    samples: npt.NDArray[np.float32]
    sample_rate: int


@dataclass(frozen=True)
class Clip:
    """A rendered video. `frames`: uint8 [H, W, 3], RGB, made as they are read, once."""

    frames: Iterator[Frame]
    fps: Fraction
    audio: Audio | None = None


class StepCallback(Protocol):
    """Called after every step; raises `Canceled` to stop."""

    def __call__(
        self, stage: Stage, done: int, total: int, /, previews: Sequence[Frame] = ()
    ) -> None:
        """`done` of `total` steps of `stage` are done.

        `previews`: now and then a picture of what becomes of every clip that is being worked on,
        in order, uint8 [H, W, 3], RGB, of any size; a few of a clip, for people to look at.
        """


class VideoPipeline(Protocol):
    """Renders the jobs of one model on one device; one batch at a time, never concurrently.

    Dropping the last reference frees the device memory it holds.
    """

    @property
    def memory_bytes(self) -> int:
        """What the loaded weights take on the device."""

    def load(self, card: ModelCard, device: str) -> None:
        """Bring the weights onto `device` (`"cpu"`, `"cuda:0"`).

        Raises:
            LoadFailed: the instance is of no use any more.
        """

    def generate(
        self, specs: Sequence[VideoSpec], on_step: StepCallback, *, low_memory: bool = False
    ) -> Sequence[Clip]:
        """Render `specs`, which share one `batch_key`; one clip each, in order.

        The frames of the clips must be read in order before the next call; any clip may be left
        unread. With `low_memory` the card's preset of that name holds for this call and its
        clips; only asked for where the card has one.

        Raises:
            Canceled: from `on_step`; the renderer is ready for the next batch.
            OutOfMemory: nothing was rendered.
            SpecError: a spec does not fit the card (`models.catalog`).
        """
