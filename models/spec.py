"""The words of one generation: what to render, in the names that diffusers uses.

Torch-free. The gateway builds a `VideoSpec`, the queue carries it as JSON, an adapter renders it.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_SEED = 2**32 - 1

BatchKey = tuple[str, str, str, int, int, float, int, str]
"""Kind, model, size, frames, steps, guidance, rate, mode: what jobs of one pipeline call share."""


class Kind(StrEnum):
    """What goes in; a video always comes out."""

    TEXT_TO_VIDEO = "text_to_video"
    IMAGE_TO_VIDEO = "image_to_video"
    DIGITAL_HUMAN = "digital_human"


class Stage(StrEnum):
    """Where a running job stands, in the order a job passes through."""

    LOADING = "loading"
    SPEAKING = "speaking"
    DENOISING = "denoising"
    RENDERING = "rendering"
    DECODING = "decoding"
    ENHANCING = "enhancing"
    ENCODING = "encoding"
    UPLOADING = "uploading"


class EmotionName(StrEnum):
    """What a digital human feels."""

    NEUTRAL = "neutral"
    HAPPY = "happy"
    SAD = "sad"
    ANGRY = "angry"
    SURPRISED = "surprised"
    FEARFUL = "fearful"
    DISGUSTED = "disgusted"
    CALM = "calm"


Language = Literal["zh", "en"]


class _Words(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Emotion(_Words):
    """A feeling and how much of it shows: 1 is a hint, 5 all of it."""

    name: EmotionName = EmotionName.NEUTRAL
    intensity: Annotated[int, Field(ge=1, le=5)] = 3


class SpokenText(_Words):
    """Words that a voice of ours speaks.

    Attributes:
        voice_id: one of the card's voices; None for the one that speaks the language.
        speed: 1 is the voice's own pace, 2 twice as fast.
    """

    type: Literal["text"] = "text"
    text: str
    language: Literal["auto", "zh", "en"] = "auto"
    voice_id: str | None = None
    speed: Annotated[float, Field(ge=0.5, le=2.0)] = 1.0


class SpokenAudio(_Words):
    """A recording. `path`: a local file, set by whoever renders."""

    type: Literal["audio"] = "audio"
    path: Path | None = None


class Performance(_Words):
    """What a digital human says, and how.

    Attributes:
        motion: how much head and shoulders move, 0 to 1.
        face: which face of the picture speaks, counted from the left and from 0; None where the
            picture holds just one.
    """

    speech: Annotated[SpokenText | SpokenAudio, Field(discriminator="type")]
    emotion: Emotion = Emotion()
    motion: Annotated[float, Field(ge=0, le=1)] = 0.5
    face: Annotated[int, Field(ge=0)] | None = None


class Keyframe(_Words):
    """A picture that a clip comes by.

    Attributes:
        frame: of the finished clip, counted from 0; the first one is given as `VideoSpec.image`.
        image: a local file, set by whoever renders.
    """

    frame: Annotated[int, Field(ge=1)]
    image: Path | None = None


class VideoSpec(BaseModel):
    """Validated parameters of one video; nothing in it is left for a renderer to choose.

    Attributes:
        model: the model card's id.
        width: pixels.
        height: pixels.
        num_frames: frames in the finished clip; of a digital human that speaks a text the most it
            may have, as only the voice knows how long it takes.
        fps: frames per second of the finished clip.
        mode: the card's name for how much work goes in; priced.
        guidance_scale: classifier-free guidance; 1 and below turn it off.
        seed: of the initial noise; the same spec on the same model gives the same frames.
        generate_audio: whether the clip gets sound that the model makes up.
        image: the first frame or the portrait, a local file; set where the kind needs one, by
            whoever renders.
        last_image: the last frame, a local file; beside `image`, and only for some models.
        keyframes: pictures at frames between, or at the end; only for some models.
        reference_images: what appears in the clip, local files; only for some models.
        performance: of a digital human, and of nothing else.
        workspace: a folder of this job alone that outlives an attempt on this machine, which may
            not exist yet; set by whoever renders, or None for a job that keeps nothing.
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
    generate_audio: bool = False
    image: Path | None = None
    last_image: Path | None = None
    keyframes: tuple[Keyframe, ...] = ()
    reference_images: tuple[Path, ...] = ()
    performance: Performance | None = None
    workspace: Path | None = None

    @property
    def size(self) -> str:
        """Width and height as the API writes them: `"64x96"` is 64 wide and 96 high."""
        return f"{self.width}x{self.height}"

    @property
    def batch_key(self) -> BatchKey:
        """Specs with equal keys can be rendered in one call; prompt, seed and image are free.

        Frames of a digital human count up to the next whole second: hardly two are equally long,
        and measured times are kept by this key.
        """
        num_frames = self.num_frames
        if self.kind == Kind.DIGITAL_HUMAN:
            num_frames = -(-num_frames // self.fps) * self.fps
        return (
            str(self.kind),
            self.model,
            self.size,
            num_frames,
            self.num_inference_steps,
            self.guidance_scale,
            # Where frames are interpolated, as many frames at another rate are another render.
            self.fps,
            self.mode,
        )
