"""Scores a checkpoint with the stock pipelines on combinations it never trained on.

Every clip of `./run bench tiny` is, unless told otherwise, of the usual size and length with 12
steps and guidance 2.5, once more with the 4 steps of the fast mode; a clip with a blank or broken
frame is wrong in everything.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from models.tiny.captions import describe
from models.tiny.data import list_held_out
from models.tiny.generate import Results, Task, generate
from models.tiny.outcomes import ATTRIBUTES, Outcome, share
from models.tiny.samplers import CHECKPOINT, SAMPLING
from models.tiny.sheet import write_sheet
from models.tiny.tracks import USUAL_STAGE, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Scores:
    """Shares of clips (0..1) that show what the prompt says.

    Those from `colour` to `right` (everything at once) are of text-to-video; `relation` is None
    where no prompt named one. `fast_right` is `right` with four steps. `image_to_video` is the
    share with the right motion from a given first frame, `first_frame_psnr_db` how well that frame
    is kept; `picture_motion` and `picture_psnr_db` are the same over textures without a name.
    `num_blank_clips` counts text-to-video clips with a blank frame. `rebuilt_shape` and
    `rebuilt_right` are the shares of rendered clips that survive the autoencoder: no sampling can
    do better. `clip_s` and `fast_clip_s` are the times of one text-to-video clip, `denoise_s` and
    `fast_denoise_s` what of them is not decoding.
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
    picture_motion: float | None
    picture_psnr_db: float
    rebuilt_shape: float | None
    rebuilt_right: float
    clip_s: float
    denoise_s: float
    fast_clip_s: float
    fast_denoise_s: float

    def summary(self) -> str:
        """Returns the closing line of the benchmark."""
        return (
            f"tiny: colour {_short(self.colour)} motion {_short(self.motion)}"
            f" background {_short(self.background)} shape {_short(self.shape)}"
            f" relation {_short(self.relation)} i2v {_short(self.image_to_video)}"
            f" all {_short(self.right)} 4-step {_short(self.fast_right)}"
            f" blank {self.num_blank_clips}/{self.num_clips}"
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
        picture_motion=share(results.from_picture, "motion"),
        picture_psnr_db=float(np.mean(results.picture_psnr_db)),
        rebuilt_shape=share(results.rebuilt, "shape"),
        rebuilt_right=_share_right(results.rebuilt),
        clip_s=results.times.clip_s,
        denoise_s=results.times.denoise_s,
        fast_clip_s=results.fast_times.clip_s,
        fast_denoise_s=results.fast_times.denoise_s,
    )


def break_down(results: Results) -> list[str]:
    """Returns a table: the shares of `Scores` for text-to-video of one thing and of two.

    `placed` is the share with all colours and the relation right.
    """
    heads = (*ATTRIBUTES, "placed", "all")
    lines = [f"{'':20} {'clips':>5} {'blank':>5} " + " ".join(f"{head:>10}" for head in heads)]
    for title, outcomes in (("standard", results.from_text), ("4 steps", results.fast)):
        for number, things in ((1, "one thing"), (2, "two things")):
            asked = [each for each in outcomes if len(each.wanted.things) == number]
            if not asked:
                continue
            placed = sum(each.has("colour") and each.has("relation") for each in asked) / len(asked)
            shares = [share(asked, name) for name in ATTRIBUTES]
            values = [*shares, placed, _share_right(asked)]
            num_blank = sum(each.is_blank for each in asked)
            head = f"{title + ', ' + things:20} {len(asked):5} {num_blank:5} "
            lines.append(head + " ".join(f"{_short(value):>10}" for value in values))
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and ends with its one-line summary."""
    parser = argparse.ArgumentParser(description="Score the tiny checkpoint on held-out prompts.")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--width", type=int, default=USUAL_STAGE.width, help="in pixels")
    parser.add_argument("--height", type=int, default=USUAL_STAGE.height, help="in pixels")
    parser.add_argument("--frames", type=int, default=USUAL_STAGE.num_frames)
    parser.add_argument("--steps", type=int, default=SAMPLING["num_inference_steps"])
    parser.add_argument("--guidance", type=float, default=SAMPLING["guidance_scale"])
    parser.add_argument("--sheet", type=Path, help="write a contact sheet (PNG) here")
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON as well")
    options = parser.parse_args(arguments)
    # At this size a second thread gains little, and on a busy machine it costs a lot.
    torch.set_num_threads(1)
    stage = Stage(options.width, options.height, options.frames)
    task = Task(list_held_out(options.clips), stage, options.seed)
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
    lines += ["", *break_down(results), ""]
    if options.json:
        lines.append(json.dumps(numbers))
    sys.stdout.write("\n".join([*lines, scores.summary(), ""]))


def _share_right(outcomes: Sequence[Outcome]) -> float:
    return sum(each.is_right for each in outcomes) / len(outcomes)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}".removeprefix("0")


if __name__ == "__main__":
    main()
