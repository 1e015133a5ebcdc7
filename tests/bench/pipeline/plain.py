"""The other side: diffusers alone, from a prompt to a video file, as a script does it.

`python -m tests.bench.pipeline.plain STEPS FILE` renders one clip in a process of its own.
"""

import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers import WanPipeline
from diffusers.utils.export_utils import encode_video
from diffusers.utils.logging import disable_progress_bar

from models.tiny.samplers import CHECKPOINT, arguments_for
from models.tiny.tracks import USUAL_STAGE

PROMPT = "a red circle moving right on a black background"
FPS = 8


def load_pipeline() -> Any:
    """The stock pipeline of the shipped model, float32, from its folder."""
    disable_progress_bar()
    transformers.logging.disable_progress_bar()
    pipeline = WanPipeline.from_pretrained(CHECKPOINT, dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def render(pipeline: Any, *, steps: int, seed: int, path: Path) -> None:
    """One clip into `path`."""
    generator = torch.Generator().manual_seed(seed)
    arguments = arguments_for(USUAL_STAGE, num_inference_steps=steps)
    clip = pipeline(prompt=PROMPT, generator=generator, **arguments).frames[0]
    encode_video(clip, fps=FPS, output_path=str(path))


if __name__ == "__main__":
    render(load_pipeline(), steps=int(sys.argv[1]), seed=1, path=Path(sys.argv[2]))
