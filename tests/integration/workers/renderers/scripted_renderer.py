"""A renderer that does what the prompt says. Worker children import it by its dotted name."""

import errno
import os
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from models.catalog import ModelCard
from models.pipeline import Clip, Frame, LoadFailed, OutOfMemory, StepCallback
from models.spec import Stage, VideoSpec

STEP_S = 0.05


class ScriptedVideo:
    """Prompts: crash, deaf, oom, disk-full, show-image, or anything else for a plain grey clip.

    Every call of `generate` leaves a line in the file that the card's option `diary` names.
    """

    def __init__(self) -> None:
        self._diary = Path()

    def load(self, card: ModelCard, device: str) -> None:  # noqa: ARG002  # the interface
        """Loads unless the file that the option `broken_while` names exists."""
        if Path(str(card.options["broken_while"])).exists():
            raise LoadFailed("the weights are not there")
        self._diary = Path(str(card.options["diary"]))

    def generate(self, specs: Sequence[VideoSpec], on_step: StepCallback) -> Sequence[Clip]:
        """Play the prompt of the first spec."""
        with self._diary.open("a", encoding="utf-8") as diary:
            diary.write(f"{specs[0].prompt}\n")
        for done in range(1, specs[0].num_inference_steps + 1):
            time.sleep(STEP_S)
            if done == 2:
                _misbehave(specs[0])
            on_step(Stage.DENOISING, done, specs[0].num_inference_steps)
        return [Clip(_frames(spec), Fraction(spec.fps)) for spec in specs]


def _misbehave(spec: VideoSpec) -> None:
    match spec.prompt:
        case "crash":
            os._exit(11)
        case "deaf":
            time.sleep(3600)
        case "oom":
            raise OutOfMemory
        case "disk-full":
            raise OSError(errno.ENOSPC, "No space left on device")
        case "show-image":
            assert spec.image is not None
            assert spec.image.read_bytes() == b"a picture"


def _frames(spec: VideoSpec) -> Iterator[Frame]:
    for index in range(spec.num_frames):
        yield np.full((spec.height, spec.width, 3), index * 10, np.uint8)
