"""A renderer that does what the prompt says. Worker children import it by its dotted name."""

import errno
import os
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from models.card import ModelCard, SpecError
from models.pipeline import Clip, Frame, LoadFailed, OutOfMemory, StepCallback
from models.spec import Stage, VideoSpec

STEP_S = 0.05


class ScriptedVideo:
    """Prompts: crash, resume, deaf, oom, heavy, disk-full, bad-image, show-image, or a grey clip.

    `noise` is drawn at once and takes long to encode.

    `resume` leaves a file in its workspace and crashes, unless it finds one there.

    Every call of `generate` leaves a line with its prompts in the file that the card's option
    `diary` names, marked where it was to spare memory. While the file that `crash_while` names
    exists, every render crashes.
    """

    memory_bytes = 1000

    def __init__(self) -> None:
        self._diary = Path()
        self._crash_while = Path()

    def load(self, card: ModelCard, device: str) -> None:  # noqa: ARG002  # the interface
        """Loads unless the file that the option `broken_while` names exists."""
        if Path(str(card.options["broken_while"])).exists():
            raise LoadFailed("the weights are not there")
        self._diary = Path(str(card.options["diary"]))
        self._crash_while = Path(str(card.options["crash_while"]))

    def generate(
        self, specs: Sequence[VideoSpec], on_step: StepCallback, *, low_memory: bool = False
    ) -> Sequence[Clip]:
        """Play the prompts."""
        with self._diary.open("a", encoding="utf-8") as diary:
            prompts = "+".join(spec.prompt for spec in specs)
            diary.write(f"{prompts}{' in low memory' if low_memory else ''}\n")
        if self._crash_while.exists():
            os._exit(11)
        for done in range(1, specs[0].num_inference_steps + 1):
            time.sleep(STEP_S)
            if done == 2:
                for spec in specs:
                    _misbehave(spec, low_memory=low_memory)
            on_step(Stage.DENOISING, done, specs[0].num_inference_steps)
        return [Clip(_frames(spec), Fraction(spec.fps)) for spec in specs]


def _misbehave(spec: VideoSpec, *, low_memory: bool) -> None:
    match spec.prompt:
        case "crash":
            os._exit(11)
        case "resume":
            assert spec.workspace is not None
            spec.workspace.mkdir(parents=True, exist_ok=True)
            if not (spec.workspace / "half").exists():
                (spec.workspace / "half").touch()
                os._exit(11)
        case "deaf":
            time.sleep(3600)
        case "oom":
            raise OutOfMemory
        case "heavy" if not low_memory:
            raise OutOfMemory
        case "bad-image":
            raise SpecError("image", "not an image", limit="an image", value="x")
        case "disk-full":
            raise OSError(errno.ENOSPC, "No space left on device")
        case "show-image":
            assert spec.image is not None
            assert spec.image.read_bytes() == b"a picture"


def _frames(spec: VideoSpec) -> Iterator[Frame]:
    if spec.prompt == "noise":
        values = np.random.default_rng(spec.seed)
        noise = values.integers(256, size=(spec.height, spec.width, 3), dtype=np.uint8)
        for index in range(spec.num_frames):
            yield np.roll(noise, index * 7, axis=0)
        return
    for index in range(spec.num_frames):
        yield np.full((spec.height, spec.width, 3), spec.seed + index * 10, np.uint8)
