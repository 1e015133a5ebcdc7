"""The one interface a renderer implements. Torch-free.

A renderer is loaded once and then renders batch after batch. Frames leave it as an iterator, so
a minute of 1080p, 18 GB raw, passes through in bounded memory.

    PipelineError
    +- Canceled        the step callback asked to stop
    +- OutOfMemory     the device had too little room for this batch
    +- InputRefused    picture, sound or text of the job cannot be rendered; no retry helps
    +- CheckFailed     the finished video is not what it should be
    +- EngineFailed    an engine outside this process did not render; another attempt may
    +- LoadFailed      the weights are missing, broken or do not fit the card; the engine is away
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from models.card import ModelCard
from models.refusal import Refusal
from models.spec import Stage, VideoSpec

Frame = npt.NDArray[np.uint8]


class PipelineError(Exception):
    """Something a renderer reports on purpose."""


class Canceled(PipelineError):
    """Raised by a step callback to stop a batch within one step."""


class OutOfMemory(PipelineError):
    """The device ran out of memory; the renderer is still usable."""


class InputRefused(PipelineError):
    """The client's input is at fault. `message` is safe to show and says what to do."""

    def __init__(self, code: Refusal, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class CheckFailed(PipelineError):
    """What was measured on the finished video misses its limits; safe to show, with the numbers."""


class EngineFailed(PipelineError):
    """An engine outside this process took the job and did not render it. For logs."""


class LoadFailed(PipelineError):
    """The model cannot be loaded on this machine; no job is to blame.

    Out of `generate`, it says that what was loaded is gone: an engine that went away.
    """


@dataclass(frozen=True)
class Audio:
    """Sound of a clip. `samples`: float32 [C, T] in [-1, 1]; `sample_rate`: Hz."""

    samples: npt.NDArray[np.float32]
    sample_rate: int


@dataclass(frozen=True)
class Clip:
    """A rendered video.

    Attributes:
        frames: uint8 [H, W, 3], RGB, made as they are read, once; none is changed afterwards, for
            the encoder may be some frames behind.
        num_frames: how many, where the spec only names the most; else None.
        stage: what progress calls the reading of a frame. `ENCODING` where the work is done by
            then; `RENDERING` where a frame is only then drawn.
        check: measures the finished file, which holds so many frames at such a rate, for the
            job's metadata; raises `CheckFailed`.
    """

    frames: Iterator[Frame]
    fps: Fraction
    audio: Audio | None = None
    num_frames: int | None = None
    stage: Stage = Stage.ENCODING
    check: Callable[[Path, int, Fraction], dict[str, float]] | None = None


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
            SpecError: a spec does not fit the card (`models.card`).
        """


@runtime_checkable
class NamedRenderer(Protocol):
    """A `VideoPipeline` that hands jobs on, and has to name them there.

    By its name a job that is rendered again finds what the attempt before has begun.
    """

    def generate_named(
        self, names: Sequence[str], specs: Sequence[VideoSpec], on_step: StepCallback
    ) -> Sequence[Clip]:
        """As `generate`; `names` are unique and stay with a job over all its attempts."""
