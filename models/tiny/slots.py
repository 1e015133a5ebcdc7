"""What a combination says, as numbers: one word, or none, in each of eight slots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.tiny.data import BACKGROUNDS, COLOURS, MOTIONS, RELATIONS, SHAPES

if TYPE_CHECKING:
    from models.tiny.data import Combination

THING_WORDS = (tuple(COLOURS), SHAPES, MOTIONS)
SLOTS = (*THING_WORDS, *THING_WORDS, tuple(BACKGROUNDS), RELATIONS)
"""What can be said: of the first thing, of the second, where they are. A slot may stay empty."""


def fill_slots(combination: Combination) -> list[int]:
    """Returns the number of the word in each of `SLOTS`, one past the last for none."""
    words: list[str | None] = []
    for each in combination.things:
        words += each
    words += [None] * (2 * len(THING_WORDS) - len(words))
    words += [combination.background, combination.relation]
    return [
        len(known) if word is None else known.index(word)
        for word, known in zip(words, SLOTS, strict=True)
    ]
