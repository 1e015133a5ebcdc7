"""Scores a checkpoint with the stock pipelines on combinations it never trained on.

Every clip of `./run bench tiny` is 64x64, 17 frames and, unless told otherwise, 12 steps and
guidance 3, once more with 4 steps; a clip with a blank or broken frame is wrong in everything.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from models.tiny.captions import describe
from models.tiny.outcomes import Outcome, share
from models.tiny.render import render
from models.tiny.samplers import CHECKPOINT, SAMPLING, load_fast, load_pipelines
from models.tiny.scenes import draw_scene
from models.tiny.sheet import write_sheet
from models.tiny.tracks import Stage
from models.tiny.training import Draws
from models.tiny.untyped import Pipeline
from models.tiny.worlds import World, read_world

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from models.tiny.data import Combination
    from models.tiny.outcomes import Clip

BATCH_SIZE = 16
PEAK = 255


@dataclass(frozen=True)
class Scores:
    """Shares of clips (0..1) that show what the prompt says.

    Those from `colour` to `right` (everything at once) are of text-to-video; `relation` is None
    where no prompt named one. `fast_right` is `right` with four steps. `image_to_video` is the share
    with the right motion from a given first frame, `first_frame_psnr_db` how well that frame is
    kept. `num_blank_clips` counts text-to-video clips with a blank frame. `rebuilt_shape` and
    `rebuilt_right` are the shares of rendered clips that survive the autoencoder: no sampling can
    do better. `clip_s` and `fast_clip_s` are the mean times of a text-to-video clip.
    """

    num_clips: int
    colour: float | None
    motion: float | None
    background: float | None
    shape: float | None
    count: float | None
    relation: float | None
    right: float
    fast_right: float
    image_to_video: float | None
    num_blank_clips: int
    first_frame_psnr_db: float
    image_to_video_shape: float | None
    rebuilt_shape: float | None
    rebuilt_right: float
    clip_s: float
    fast_clip_s: float

    def summary(self) -> str:
        """Returns the closing line of the benchmark."""
        return (
            f"tiny: colour {_short(self.colour)} motion {_short(self.motion)}"
            f" background {_short(self.background)} shape {_short(self.shape)}"
            f" relation {_short(self.relation)} i2v {_short(self.image_to_video)}"
            f" all {_short(self.right)} 4-step {_short(self.fast_right)}"
            f" blank {self.num_blank_clips}/{self.num_clips}"
        )


@dataclass(frozen=True)
class Results:
    """The clips of an evaluation, as many of each sort.

    `psnr_db` are the first-frame PSNRs of the image-to-video clips; `clip_s` and `fast_clip_s` are
    mean times of a text-to-video clip.
    """

    from_text: list[Outcome]
    fast: list[Outcome]
    from_image: list[Outcome]
    rebuilt: list[Outcome]
    psnr_db: list[float]
    clip_s: float
    fast_clip_s: float


@dataclass(frozen=True)
class Task:
    """What is generated: the prompts of `wanted`, the size, and the seed of the first clip."""

    wanted: list[Combination]
    world: World
    stage: Stage = Stage()
    seed: int = 1000

    def prompts(self) -> list[str]:
        """Returns a canonical caption per clip; the languages of the world take turns."""
        languages = self.world.languages
        return [
            describe(each, languages[row % len(languages)]) for row, each in enumerate(self.wanted)
        ]

    def arguments(self, sampling: dict[str, Any]) -> dict[str, Any]:
        """Returns what a pipeline is called with, besides prompt and generator."""
        stage = self.stage
        size = {"width": stage.width, "height": stage.height, "num_frames": stage.num_frames}
        return SAMPLING | size | sampling


def generate(checkpoint: Path, task: Task, **sampling: object) -> Results:
    """Makes and measures the clips of an evaluation.

    Args:
        checkpoint: Folder of a saved pipeline.
        task: What to generate.
        **sampling: Entries of `SAMPLING` to replace; the four-step clips have their own.
    """
    text_to_video, image_to_video = load_pipelines(checkpoint)
    started = time.perf_counter()
    from_text = run_text_to_video(text_to_video, task, **sampling)
    middle = time.perf_counter()
    fast_pipeline, fast_sampling = load_fast(checkpoint, text_to_video)
    fast = run_text_to_video(fast_pipeline, task, **fast_sampling)
    ended = time.perf_counter()
    from_image, psnr_db = run_image_to_video(image_to_video, task, **sampling)
    num_clips = len(task.wanted)
    return Results(
        from_text=from_text,
        fast=fast,
        from_image=from_image,
        rebuilt=run_autoencoder(text_to_video, task),
        psnr_db=psnr_db,
        clip_s=(middle - started) / num_clips,
        fast_clip_s=(ended - middle) / num_clips,
    )


def score(results: Results) -> Scores:
    """Sums up what `generate` returned."""
    from_text = results.from_text
    return Scores(
        num_clips=len(from_text),
        colour=share(from_text, "colour"),
        motion=share(from_text, "motion"),
        background=share(from_text, "background"),
        shape=share(from_text, "shape"),
        count=share(from_text, "count"),
        relation=share(from_text, "relation"),
        right=_share_right(from_text),
        fast_right=_share_right(results.fast),
        image_to_video=share(results.from_image, "motion"),
        num_blank_clips=sum(each.is_blank for each in from_text),
        first_frame_psnr_db=float(np.mean(results.psnr_db)),
        image_to_video_shape=share(results.from_image, "shape"),
        rebuilt_shape=share(results.rebuilt, "shape"),
        rebuilt_right=_share_right(results.rebuilt),
        clip_s=results.clip_s,
        fast_clip_s=results.fast_clip_s,
    )


def run_text_to_video(pipeline: Pipeline, task: Task, **sampling: object) -> list[Outcome]:
    """Generates one clip per combination from its canonical caption and measures it."""
    arguments = task.arguments(sampling)
    outcomes = []
    prompts = task.prompts()
    for first in range(0, len(prompts), BATCH_SIZE):
        batch = slice(first, first + BATCH_SIZE)
        generators = [_generator(task.seed + row) for row in range(len(prompts))[batch]]
        clips = pipeline(prompt=prompts[batch], generator=generators, **arguments).frames
        outcomes += [
            Outcome.read(each, clip, task.world)
            for each, clip in zip(task.wanted[batch], clips, strict=True)
        ]
    return outcomes


def run_image_to_video(
    pipeline: Pipeline, task: Task, **sampling: object
) -> tuple[list[Outcome], list[float]]:
    """Animates the first frame of a rendered clip that no training saw.

    Returns:
        The outcomes, and the PSNR of each clip's first frame to the given image, in dB.
    """
    arguments = task.arguments(sampling)
    outcomes, psnr_db = [], []
    for row, (each, prompt) in enumerate(zip(task.wanted, task.prompts(), strict=True)):
        image = draw_clip(task, row)[0]
        given = Image.fromarray((image * PEAK).round().astype(np.uint8))
        generator = _generator(task.seed + row)
        clip = pipeline(image=given, prompt=prompt, generator=generator, **arguments).frames[0]
        outcomes.append(Outcome.read(each, clip, task.world))
        psnr_db.append(float(-10 * np.log10(np.mean((clip[0] - image) ** 2))))
    return outcomes, psnr_db


@torch.no_grad()
def run_autoencoder(pipeline: Pipeline, task: Task) -> list[Outcome]:
    """Encodes and decodes rendered clips that no training saw: the best sampling could reach."""
    outcomes = []
    for row, each in enumerate(task.wanted):
        latents = pipeline.vae.encode(_draw_video(task, row)).latent_dist.mode()
        clip = _as_frames(pipeline.vae.decode(latents).sample[0])
        outcomes.append(Outcome.read(each, clip, task.world))
    return outcomes


def draw_clip(task: Task, row: int) -> Clip:
    """Renders a clip of one of the task's combinations: float32 `[T, H, W, 3]` in 0..1."""
    return _as_frames(_draw_video(task, row)[0])


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and ends with its one-line summary."""
    parser = argparse.ArgumentParser(description="Score the tiny checkpoint on held-out prompts.")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--steps", type=int, default=SAMPLING["num_inference_steps"])
    parser.add_argument("--guidance", type=float, default=SAMPLING["guidance_scale"])
    parser.add_argument("--sheet", type=Path, help="write a contact sheet (PNG) here")
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON as well")
    options = parser.parse_args(arguments)
    # At this size a second thread gains little, and on a busy machine it costs a lot.
    torch.set_num_threads(1)
    world = read_world(options.checkpoint)
    stage = Stage(options.width, options.height, options.frames)
    task = Task(world.list_held_out(options.clips), world, stage, options.seed)
    results = generate(
        options.checkpoint,
        task,
        num_inference_steps=options.steps,
        guidance_scale=options.guidance,
    )
    scores = score(results)
    if options.sheet:
        shown = [*results.from_text[:24], *results.fast[:6], *results.from_image[:12]]
        write_sheet(options.sheet, [(describe(each.wanted), each.clip) for each in shown])
    numbers = dataclasses.asdict(scores)
    lines = [
        f"{name:20} {'-' if value is None else format(value, '8.3f')}"
        for name, value in numbers.items()
    ]
    if options.json:
        lines.append(json.dumps(numbers))
    sys.stdout.write("\n".join([*lines, scores.summary(), ""]))


def _share_right(outcomes: Sequence[Outcome]) -> float:
    return sum(each.is_right for each in outcomes) / len(outcomes)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _draw_video(task: Task, row: int) -> Tensor:
    # A stream of its own: the training pools use small seeds.
    rng = Draws(seed=424_242, step=task.seed + row).rng
    return render([draw_scene(task.wanted[row], task.stage, rng)])


def _as_frames(video: Tensor) -> Clip:
    """Turns `[3, T, H, W]` in -1..1 into frames `[T, H, W, 3]` in 0..1."""
    frames: Clip = ((video + 1) / 2).clamp(0, 1).permute(1, 2, 3, 0).numpy()
    return frames


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}".removeprefix("0")


if __name__ == "__main__":
    main()
