"""What a model card is made of: frame counts, ranges, voices."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import override

from models.spec import Language


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
