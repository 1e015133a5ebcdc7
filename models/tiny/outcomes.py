"""Compares what clips show with what was asked of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

from models.tiny.ruler import Reading, Seen, measure, name_relation

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from models.tiny.data import Combination

    Clip = NDArray[np.float32]

ATTRIBUTES = ("colour", "motion", "background", "shape", "count", "relation")


@dataclass(frozen=True)
class Outcome:
    """One clip, float32 `[T, H, W, 3]` in 0..1, and what was asked of it.

    `things` are those of the reading in the order of the wanted ones, empty where their number
    differs.
    """

    wanted: Combination
    clip: Clip
    reading: Reading
    things: tuple[Seen, ...]

    @classmethod
    def read(cls, wanted: Combination, clip: Clip, picture: Clip | None = None) -> Outcome:
        """Measures a clip, over a known picture (`[H, W, 3]` in 0..1) if given."""
        reading = measure(clip, picture)
        return cls(wanted, clip, reading, _in_order(wanted, reading))

    @property
    def is_blank(self) -> bool:
        """Whether a frame is broken or lacks a thing; then nothing counts as right."""
        return self.reading.num_blank_frames > 0

    @property
    def is_right(self) -> bool:
        """Whether all that was asked is there."""
        return all(self.has(name) for name in ATTRIBUTES)

    def has(self, attribute: str) -> bool:
        """Tells whether the clip shows one of `ATTRIBUTES` as asked, of both things if two."""
        if self.is_blank:
            return False
        if attribute == "background":
            return self.reading.background == self.wanted.background
        if attribute == "count":
            return self.reading.count == len(self.wanted.things)
        if not self.things:
            return False
        if attribute == "relation":
            return self.wanted.relation is None or (
                name_relation(self.things[0], self.things[1]) == self.wanted.relation
            )
        return all(
            getattr(seen, attribute) == getattr(thing, attribute)
            for seen, thing in zip(self.things, self.wanted.things, strict=True)
        )


def share(outcomes: Sequence[Outcome], attribute: str) -> float | None:
    """Returns the share of clips (0..1) that show an attribute; None where none was asked for."""
    asked = [each for each in outcomes if attribute != "relation" or each.wanted.relation]
    return sum(each.has(attribute) for each in asked) / len(asked) if asked else None


def _in_order(wanted: Combination, reading: Reading) -> tuple[Seen, ...]:
    """Returns the things as they fit the wanted ones best, their colours before all else."""
    if len(reading.things) != len(wanted.things):
        return ()

    def likeness(order: tuple[Seen, ...]) -> int:
        pairs = zip(order, wanted.things, strict=True)
        return sum(
            4 * (seen.colour == thing.colour) + (seen.shape == thing.shape) for seen, thing in pairs
        )

    return max(permutations(reading.things), key=likeness)
