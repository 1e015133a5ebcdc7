"""What a model card is made of: sizes, frame counts, ranges, voices, enhancement."""

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import override

from models.spec import Language

_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})", re.ASCII)


def parse_size(size: str) -> tuple[int, int]:
    """`"64x96"` to (64, 96): width and height in pixels.

    Raises:
        ValueError: it is not written so.
    """
    match = _SIZE.fullmatch(size)
    if match is None:
        raise ValueError(f"size must look like 64x96 (width x height), not {size!r}")
    return int(match[1]), int(match[2])


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


LastFrame = Literal["refused", "taken", "needed"]
"""What a model does with a last frame beside a first one."""

MAX_REFERENCES = 4
MAX_KEYFRAMES = 8


class Pictures(_Strict):
    """Pictures that clips can be made with, beside the first frame.

    Attributes:
        last_image: whether a clip that begins with a given frame can, or must, end with another.
        reference_images: the most of what appears in the clip.
        keyframes: the most pictures at other frames than the first.
    """

    last_image: LastFrame = "refused"
    reference_images: Annotated[int, Field(ge=0, le=MAX_REFERENCES)] = 0
    keyframes: Annotated[int, Field(ge=0, le=MAX_KEYFRAMES)] = 0


class FrameRule(_Strict):
    """Frame counts that a model can make: `num_frames = multiple * k + offset`.

    `offset` is 1 for video autoencoders, whose first frame stands before any motion, and 0 for
    digital humans, whose every frame is heard.
    """

    multiple: Annotated[int, Field(ge=1)] = 1
    offset: Annotated[int, Field(ge=0)] = 1
    min: Annotated[int, Field(ge=1)]
    max: Annotated[int, Field(ge=1)]

    def allows(self, num_frames: int) -> bool:
        """Whether a clip of `num_frames` frames can be made exactly."""
        fits = (num_frames - self.offset) % self.multiple == 0
        return fits and self.min <= num_frames <= self.max

    def raised(self, ratio: Fraction) -> "FrameRule":
        """What this becomes at `ratio` times the rate; clips of any length keep any length."""
        return FrameRule(
            multiple=1 if self.multiple == 1 else (self.multiple * ratio).numerator,
            offset=self.offset,
            min=self.offset + math.ceil((self.min - self.offset) * ratio),
            max=self.offset + math.floor((self.max - self.offset) * ratio),
        )

    def before(self, num_frames: int, ratio: Fraction) -> int:
        """How many frames are rendered for `num_frames` at `ratio` times the rate."""
        return self.offset + math.ceil((num_frames - self.offset) / ratio)

    @override
    def __str__(self) -> str:
        return f"{self.multiple}k+{self.offset} from {self.min} to {self.max}"


class IntRange(_Strict):
    """An allowed range, both ends in it, and what a request that says nothing gets."""

    min: int
    max: int
    default: int

    @model_validator(mode="after")
    def _ordered(self) -> "IntRange":
        if not self.min <= self.default <= self.max:
            raise ValueError(
                f"need min <= default <= max, got {self.min} {self.default} {self.max}"
            )
        return self


class FloatRange(_Strict):
    """As `IntRange`, for real numbers."""

    min: float
    max: float
    default: float

    @model_validator(mode="after")
    def _ordered(self) -> "FloatRange":
        if not self.min <= self.default <= self.max:
            raise ValueError(
                f"need min <= default <= max, got {self.min} {self.default} {self.max}"
            )
        return self


class Voice(_Strict):
    """Who speaks. `languages`: which it can; the first voice of a card that can is the default."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    title: str
    languages: Annotated[list[Language], Field(min_length=1)]


class Enhancement(_Strict):
    """What finished frames can be raised to, beyond what the model itself makes.

    Attributes:
        fps: rates in frames per second, reached by interpolation.
        upscale: how many times as large a video may become.
        network: that upscales; `compact` for video, on any device, `dense` for photos, on a GPU.
    """

    fps: list[Annotated[int, Field(gt=0)]] = Field(default_factory=list)
    upscale: list[Literal[2, 3, 4]] = Field(default_factory=list)
    network: Literal["compact", "dense"] = "compact"

    def raised_sizes(self, sizes: Sequence[str]) -> dict[str, str]:
        """What upscaling adds to `sizes`: each size and the one it is made of."""
        found: dict[str, str] = {}
        for factor in sorted(self.upscale):
            for size in sizes:
                width, height = parse_size(size)
                found.setdefault(f"{width * factor}x{height * factor}", size)
        return {raised: size for raised, size in found.items() if raised not in sizes}

    def raised_rates(self, rates: Sequence[int]) -> dict[int, int]:
        """What interpolation adds to `rates`: each rate and the one it is made of.

        Raises:
            ValueError: a rate is below all of `rates`.
        """
        for rate in self.fps:
            if rate < min(rates):
                raise ValueError(f"enhance.fps {rate} is below the model's own {min(rates)}")
        return {
            rate: max(own for own in rates if own < rate) for rate in self.fps if rate not in rates
        }
