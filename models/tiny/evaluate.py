"""Scores a checkpoint with the stock pipelines on combinations it never trained on.

Every clip of `./run bench tiny` is 64x64, 17 frames and, unless told otherwise, 12 steps and
guidance 3; a clip with a blank or broken frame counts as wrong in everything.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from models.tiny.captions import describe
from models.tiny.data import NUM_FRAMES, SIZE, Combination, list_held_out
from models.tiny.render import render
from models.tiny.ruler import Reading, measure
from models.tiny.scenes import draw_scene
from models.tiny.sheet import write_sheet
from models.tiny.training import Draws
from models.tiny.untyped import Pipeline, WanImageToVideoPipeline, WanPipeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    Clip = NDArray[np.float32]

CHECKPOINT = Path(__file__).parent / "checkpoint"
"""The folder that both stock pipelines load."""

SAMPLING: dict[str, Any] = {
    "height": SIZE,
    "width": SIZE,
    "num_frames": NUM_FRAMES,
    "num_inference_steps": 12,
    "guidance_scale": 3.0,
    # Five hundred padding embeddings cost more than the video and change nothing.
    "max_sequence_length": 64,
    "output_type": "np",
}
"""Arguments of every pipeline call here, unless told otherwise."""

BATCH_SIZE = 16
PEAK = 255


@dataclass(frozen=True)
class Scores:
    """Shares of clips (0..1) that show what the prompt says.

    The first four are of text-to-video; `image_to_video` is the share with the right motion from
    a given first frame, `first_frame_psnr_db` how well that frame is kept. `num_blank_clips` counts
    text-to-video clips with a blank frame. `rebuilt_shape` is the share of rendered clips whose
    shape survives the autoencoder, so no sampling can do better. `clip_s` is the mean time of a
    text-to-video clip.
    """

    num_clips: int
    colour: float
    motion: float
    background: float
    shape: float
    image_to_video: float
    num_blank_clips: int
    first_frame_psnr_db: float
    image_to_video_shape: float
    rebuilt_shape: float
    clip_s: float

    def summary(self) -> str:
        """Returns the closing line of the benchmark."""
        return (
            f"tiny: colour {_short(self.colour)} motion {_short(self.motion)}"
            f" background {_short(self.background)} shape {_short(self.shape)}"
            f" i2v {_short(self.image_to_video)} blank {self.num_blank_clips}/{self.num_clips}"
        )


@dataclass(frozen=True)
class Outcome:
    """One generated clip, float32 `[17, 64, 64, 3]` in 0..1, and what was asked of it."""

    wanted: Combination
    clip: Clip
    reading: Reading

    @classmethod
    def read(cls, wanted: Combination, clip: Clip) -> Outcome:
        """Measures a clip."""
        return cls(wanted, clip, measure(clip))

    def has(self, attribute: str) -> bool:
        """Tells whether a clip without blank frames shows an attribute as asked."""
        found = getattr(self.reading, attribute)
        return self.reading.num_blank_frames == 0 and found == getattr(self.wanted, attribute)


def load_pipelines(checkpoint: Path) -> tuple[Pipeline, Pipeline]:
    """Loads one folder as both stock pipelines, in float32 on the CPU, from disk only."""
    loaded = [
        kind.from_pretrained(checkpoint, dtype=torch.float32, local_files_only=True)
        for kind in (WanPipeline, WanImageToVideoPipeline)
    ]
    for pipeline in loaded:
        pipeline.set_progress_bar_config(disable=True)
    return loaded[0], loaded[1]


@dataclass(frozen=True)
class Results:
    """The clips of an evaluation, as many of each sort.

    `psnr_db` are the first-frame PSNRs of the image-to-video clips; `clip_s` is the mean time of a
    text-to-video clip.
    """

    from_text: list[Outcome]
    from_image: list[Outcome]
    rebuilt: list[Outcome]
    psnr_db: list[float]
    clip_s: float


def generate(checkpoint: Path, num_clips: int, seed: int, **sampling: object) -> Results:
    """Makes and measures the clips of an evaluation.

    Args:
        checkpoint: Folder of a saved pipeline.
        num_clips: Clips of text-to-video, and as many of image-to-video and of reconstruction.
        seed: Seed of the first clip; each further clip takes the next.
        **sampling: Entries of `SAMPLING` to replace.
    """
    text_to_video, image_to_video = load_pipelines(checkpoint)
    wanted = _repeat(list_held_out(), num_clips)
    started = time.perf_counter()
    from_text = run_text_to_video(text_to_video, wanted, seed, **sampling)
    clip_s = (time.perf_counter() - started) / num_clips
    from_image, psnr_db = run_image_to_video(image_to_video, wanted, seed, **sampling)
    rebuilt = run_autoencoder(text_to_video, wanted, seed)
    return Results(from_text, from_image, rebuilt, psnr_db, clip_s)


def score(results: Results) -> Scores:
    """Sums up what `generate` returned."""
    from_text = results.from_text
    return Scores(
        num_clips=len(from_text),
        colour=_share(from_text, "colour"),
        motion=_share(from_text, "motion"),
        background=_share(from_text, "background"),
        shape=_share(from_text, "shape"),
        image_to_video=_share(results.from_image, "motion"),
        num_blank_clips=sum(each.reading.num_blank_frames > 0 for each in from_text),
        first_frame_psnr_db=float(np.mean(results.psnr_db)),
        image_to_video_shape=_share(results.from_image, "shape"),
        rebuilt_shape=_share(results.rebuilt, "shape"),
        clip_s=results.clip_s,
    )


def run_text_to_video(
    pipeline: Pipeline, wanted: Sequence[Combination], seed: int, **sampling: object
) -> list[Outcome]:
    """Generates one clip per combination from its canonical caption and measures it."""
    arguments = SAMPLING | sampling
    outcomes = []
    for first in range(0, len(wanted), BATCH_SIZE):
        batch = wanted[first : first + BATCH_SIZE]
        generators = [_generator(seed + first + row) for row in range(len(batch))]
        prompts = [describe(each) for each in batch]
        clips = pipeline(prompt=prompts, generator=generators, **arguments).frames
        outcomes += [Outcome.read(each, clip) for each, clip in zip(batch, clips, strict=True)]
    return outcomes


def run_image_to_video(
    pipeline: Pipeline, wanted: Sequence[Combination], seed: int, **sampling: object
) -> tuple[list[Outcome], list[float]]:
    """Animates the first frame of a rendered clip that no training saw.

    Returns:
        The outcomes, and the PSNR of each clip's first frame to the given image, in dB.
    """
    arguments = SAMPLING | sampling
    outcomes, psnr_db = [], []
    for row, each in enumerate(wanted):
        image = draw_first_frame(each, seed + row)
        given = Image.fromarray((image * PEAK).round().astype(np.uint8))
        clip = pipeline(
            image=given, prompt=describe(each), generator=_generator(seed + row), **arguments
        ).frames[0]
        outcomes.append(Outcome.read(each, clip))
        psnr_db.append(float(-10 * np.log10(np.mean((clip[0] - image) ** 2))))
    return outcomes, psnr_db


@torch.no_grad()
def run_autoencoder(pipeline: Pipeline, wanted: Sequence[Combination], seed: int) -> list[Outcome]:
    """Encodes and decodes rendered clips that no training saw: the best sampling could reach."""
    outcomes = []
    for row, each in enumerate(wanted):
        clip = render([draw_scene(each, _draws(seed + row).rng)])
        latents = pipeline.vae.encode(clip).latent_dist.mode()
        outcomes.append(Outcome.read(each, _as_frames(pipeline.vae.decode(latents).sample[0])))
    return outcomes


def draw_first_frame(combination: Combination, seed: int) -> Clip:
    """Renders the first frame of a random clip: float32 `[64, 64, 3]` in 0..1."""
    scene = draw_scene(combination, _draws(seed).rng)
    frame: Clip = _as_frames(render([scene], num_frames=1)[0])[0]
    return frame


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and ends with its one-line summary."""
    parser = argparse.ArgumentParser(description="Score the tiny checkpoint on held-out prompts.")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=SAMPLING["num_inference_steps"])
    parser.add_argument("--guidance", type=float, default=SAMPLING["guidance_scale"])
    parser.add_argument("--sheet", type=Path, help="write a contact sheet (PNG) here")
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON as well")
    options = parser.parse_args(arguments)
    # At this size a second thread gains little, and on a busy machine it costs a lot.
    torch.set_num_threads(1)
    results = generate(
        options.checkpoint,
        options.clips,
        options.seed,
        num_inference_steps=options.steps,
        guidance_scale=options.guidance,
    )
    scores = score(results)
    if options.sheet:
        shown = [*results.from_text[:24], *results.from_image[:12]]
        write_sheet(options.sheet, [(describe(each.wanted), each.clip) for each in shown])
    numbers = dataclasses.asdict(scores)
    lines = [f"{name:20} {value:8.3f}" for name, value in numbers.items()]
    if options.json:
        lines.append(json.dumps(numbers))
    sys.stdout.write("\n".join([*lines, scores.summary(), ""]))


def _share(outcomes: Sequence[Outcome], attribute: str) -> float:
    return sum(each.has(attribute) for each in outcomes) / len(outcomes)


def _repeat(combinations: Sequence[Combination], count: int) -> list[Combination]:
    endless = (each for _ in range(count) for each in combinations)
    return list(islice(endless, count))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _draws(seed: int) -> Draws:
    # A stream of its own: the training pools use small seeds.
    return Draws(seed=424_242, step=seed)


def _as_frames(video: Tensor) -> Clip:
    """Turns `[3, T, H, W]` in -1..1 into frames `[T, H, W, 3]` in 0..1."""
    frames: Clip = ((video + 1) / 2).clamp(0, 1).permute(1, 2, 3, 0).numpy()
    return frames


def _short(share: float) -> str:
    return f"{share:.2f}".removeprefix("0")


if __name__ == "__main__":
    main()
