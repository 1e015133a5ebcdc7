"""Makes the clips of an evaluation with the stock pipelines and measures them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from models.tiny.captions import describe
from models.tiny.outcomes import Outcome
from models.tiny.phrases import LANGUAGES
from models.tiny.render import Scene, draw_backdrops, render
from models.tiny.samplers import arguments_for, load_fast, load_pipelines
from models.tiny.scenes import draw_picture_scene, draw_scene
from models.tiny.times import Times, measure_times
from models.tiny.tracks import USUAL_STAGE, Stage
from models.tiny.training import Draws
from models.tiny.untyped import Pipeline

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from models.tiny.data import Combination
    from models.tiny.outcomes import Clip

BATCH_SIZE = 16
PEAK = 255


@dataclass(frozen=True)
class Task:
    """What is generated: the prompts of `wanted`, the size, and the seed of the first clip.

    With `over_pictures` the rendered clips lie over random textures instead of their backgrounds.
    """

    wanted: list[Combination]
    stage: Stage = USUAL_STAGE
    seed: int = 1000
    over_pictures: bool = False

    def prompts(self) -> list[str]:
        """Returns a canonical caption per clip; the languages take turns."""
        languages = cycle(LANGUAGES)
        return [describe(each, next(languages)) for each in self.wanted]


@dataclass(frozen=True)
class Results:
    """The clips of an evaluation, as many of each sort.

    `from_image` begins with frames of rendered clips, `from_picture` with things over textures
    that no caption names. `psnr_db` and `picture_psnr_db` are the first-frame PSNRs of these;
    `times` and `fast_times` are those of a text-to-video clip of either profile.
    """

    from_text: list[Outcome]
    fast: list[Outcome]
    from_image: list[Outcome]
    from_picture: list[Outcome]
    rebuilt: list[Outcome]
    psnr_db: list[float]
    picture_psnr_db: list[float]
    times: Times
    fast_times: Times


def generate(checkpoint: Path, task: Task, **sampling: object) -> Results:
    """Makes and measures the clips of an evaluation.

    Args:
        checkpoint: Folder of a saved pipeline.
        task: What to generate.
        **sampling: Entries of `SAMPLING` to replace; the four-step clips have their own.
    """
    text_to_video, image_to_video = load_pipelines(checkpoint)
    from_text = run_text_to_video(text_to_video, task, **sampling)
    fast_pipeline, fast_sampling = load_fast(checkpoint, text_to_video)
    fast = run_text_to_video(fast_pipeline, task, **fast_sampling)
    from_image, psnr_db = run_image_to_video(image_to_video, task, **sampling)
    from_picture, picture_psnr_db = run_image_to_video(
        image_to_video, dataclasses.replace(task, over_pictures=True), **sampling
    )
    times, fast_times = (
        measure_times(pipeline, task.prompts()[0], arguments_for(task.stage, **arguments))
        for pipeline, arguments in ((text_to_video, sampling), (fast_pipeline, fast_sampling))
    )
    return Results(
        from_text=from_text,
        fast=fast,
        from_image=from_image,
        rebuilt=run_autoencoder(text_to_video, task),
        from_picture=from_picture,
        psnr_db=psnr_db,
        picture_psnr_db=picture_psnr_db,
        times=times,
        fast_times=fast_times,
    )


def run_text_to_video(pipeline: Pipeline, task: Task, **sampling: object) -> list[Outcome]:
    """Generates one clip per combination from its canonical caption and measures it."""
    arguments = arguments_for(task.stage, **sampling)
    outcomes = []
    prompts = task.prompts()
    for first in range(0, len(prompts), BATCH_SIZE):
        batch = slice(first, first + BATCH_SIZE)
        generators = [_generator(task.seed + row) for row in range(len(prompts))[batch]]
        clips = pipeline(prompt=prompts[batch], generator=generators, **arguments).frames
        outcomes += [
            Outcome.read(each, clip) for each, clip in zip(task.wanted[batch], clips, strict=True)
        ]
    return outcomes


def run_image_to_video(
    pipeline: Pipeline, task: Task, **sampling: object
) -> tuple[list[Outcome], list[float]]:
    """Animates the first frame of a rendered clip that no training saw.

    Returns:
        The outcomes, and the PSNR of each clip's first frame to the given image, in dB.
    """
    arguments = arguments_for(task.stage, **sampling)
    outcomes, psnr_db = [], []
    for row, (each, prompt) in enumerate(zip(task.wanted, task.prompts(), strict=True)):
        image = draw_clip(task, row)[0]
        given = Image.fromarray((image * PEAK).round().astype(np.uint8))
        generator = _generator(task.seed + row)
        clip = pipeline(image=given, prompt=prompt, generator=generator, **arguments).frames[0]
        outcomes.append(Outcome.read(each, clip, _draw_picture(task, row)))
        psnr_db.append(float(-10 * np.log10(np.mean((clip[0] - image) ** 2))))
    return outcomes, psnr_db


@torch.no_grad()
def run_autoencoder(pipeline: Pipeline, task: Task) -> list[Outcome]:
    """Encodes and decodes rendered clips that no training saw: the best sampling could reach."""
    outcomes = []
    for row, each in enumerate(task.wanted):
        latents = pipeline.vae.encode(_draw_video(task, row)).latent_dist.mode()
        clip = _as_frames(pipeline.vae.decode(latents).sample[0])
        outcomes.append(Outcome.read(each, clip))
    return outcomes


def draw_clip(task: Task, row: int) -> Clip:
    """Renders a clip of one of the task's combinations: float32 `[T, H, W, 3]` in 0..1."""
    return _as_frames(_draw_video(task, row)[0])


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _draw_one_scene(task: Task, row: int) -> Scene:
    # A stream of its own: the training pools use small seeds.
    rng = Draws(seed=424_242, step=task.seed + row).rng
    draw = draw_picture_scene if task.over_pictures else draw_scene
    return draw(task.wanted[row], task.stage, rng)


def _draw_video(task: Task, row: int) -> Tensor:
    return render([_draw_one_scene(task, row)])


def _draw_picture(task: Task, row: int) -> Clip | None:
    """Returns what lies behind the things, `[H, W, 3]` in 0..1, where no word names it."""
    if not task.over_pictures:
        return None
    picture: Clip = draw_backdrops([_draw_one_scene(task, row)])[0, :, 0].permute(1, 2, 0).numpy()
    return picture


def _as_frames(video: Tensor) -> Clip:
    """Turns `[3, T, H, W]` in -1..1 into frames `[T, H, W, 3]` in 0..1."""
    frames: Clip = ((video + 1) / 2).clamp(0, 1).permute(1, 2, 3, 0).numpy()
    return frames
