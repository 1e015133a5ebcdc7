"""The words of one generation: what to render, in the names that diffusers uses.

Torch-free. The gateway builds a `VideoSpec`, the queue carries it as JSON, an adapter renders it.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_SEED = 2**32 - 1

BatchKey = tuple[str, str, str, int, int, float]
"""Kind, model, size, frames, steps, guidance: what jobs of one pipeline call have in common."""


class Kind(StrEnum):
    """What goes in; a video always comes out."""

    TEXT_TO_VIDEO = "text_to_video"
    IMAGE_TO_VIDEO = "image_to_video"


class Stage(StrEnum):
    """Where a running job stands, in the order a job passes through."""

    LOADING = "loading"
    DENOISING = "denoising"
    DECODING = "decoding"
    ENHANCING = "enhancing"
    ENCODING = "encoding"
    UPLOADING = "uploading"


class VideoSpec(BaseModel):
    """Validated parameters of one video; nothing in it is left for a renderer to choose.

    Attributes:
        model: the model card's id.
        width: pixels.
        height: pixels.
        num_frames: frames in the finished clip.
        fps: frames per second of the finished clip.
        mode: the card's name for how much work goes in; priced.
        guidance_scale: classifier-free guidance; 1 and below turn it off.
        seed: of the initial noise; the same spec on the same model gives the same frames.
        image: the first frame, a local file; set where the kind needs one, by whoever renders.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    model: str
    prompt: str
    negative_prompt: str = ""
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]
    num_frames: Annotated[int, Field(gt=0)]
    fps: Annotated[int, Field(gt=0)]
    mode: str = "standard"
    num_inference_steps: Annotated[int, Field(gt=0)]
    guidance_scale: Annotated[float, Field(ge=0)]
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)]
    image: Path | None = None

    @property
    def size(self) -> str:
        """Width and height as the API writes them: `"64x96"` is 64 wide and 96 high."""
        return f"{self.width}x{self.height}"

    @property
    def batch_key(self) -> BatchKey:
        """Specs with equal keys can be rendered in one call; prompt, seed and image are free."""
        return (
            str(self.kind),
            self.model,
            self.size,
            self.num_frames,
            self.num_inference_steps,
            self.guidance_scale,
        )
