"""What a model card is made of: frame counts, ranges, where weights come from."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import override


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FrameRule(_Strict):
    """Frame counts that a video autoencoder can make: `num_frames = multiple * k + offset`."""

    multiple: Annotated[int, Field(ge=1)] = 1
    offset: Annotated[int, Field(ge=0)] = 0
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


class Source(_Strict):
    """Where weights come from. `revision`: a commit that the operator has looked at; None: any."""

    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
