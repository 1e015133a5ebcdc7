"""Puts a combination into words: one canonical sentence, and many others to train on."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from models.tiny.data import Combination, happens

if TYPE_CHECKING:
    import random

PHRASES: dict[str, tuple[str, ...]] = {
    "right": (
        "moving right", "moving to the right", "going right", "moves right", "sliding right",
        "moving from left to right",
    ),
    "left": (
        "moving left", "moving to the left", "going left", "moves left", "sliding left",
        "moving from right to left",
    ),
    "up": ("moving up", "moving upwards", "going up", "moves up", "rising"),
    "down": ("moving down", "moving downwards", "going down", "moves down", "falling"),
    "still": ("standing still", "not moving", "staying still", "at rest"),
    "growing": ("growing", "getting bigger", "growing larger", "expanding"),
    "shrinking": ("shrinking", "getting smaller", "shrinking in size", "contracting"),
}  # fmt: skip
"""Ways to say a motion, the canonical one first."""

FILLERS = (
    "a", "nice", "simple", "beautiful", "cinematic", "video", "of", "the", "clip", "4k", "smooth",
    "slow", "please", "shot", "animation", "scene", "with", "bright", "colour", "color", "high",
    "quality", "detailed", "style", "realistic", "and", "in", "at", "to", "from", "camera", "light",
)  # fmt: skip
"""Words that say nothing about the clip; the model learns to pass over them."""

TEMPLATES: tuple[tuple[int, str], ...] = (
    (55, "a {colour} {shape} {phrase} on a {background} background"),
    (10, "{colour} {shape} {phrase}, {background} background"),
    (7, "on a {background} background, a {colour} {shape} is {phrase}"),
    (8, "a {colour} {shape} {phrase}"),
    (6, "the {shape} {phrase}"),
    (5, "{phrase}"),
    (4, "a {colour} {shape} on {background}"),
    (5, "video of a {colour} {shape} {phrase} against a {background} background."),
)
"""Sentences with their weights; some leave attributes out, which are then free."""

CANONICAL_SHARE = 0.3
EMPTY_SHARE = 0.08
JUNK_SHARE = 0.04


def describe(combination: Combination) -> str:
    """Returns the canonical caption, such as "a red circle moving up on a gray background"."""
    return _fill(TEMPLATES[0][1], combination, PHRASES[combination.motion][0])


def draw_caption(combination: Combination, rng: random.Random) -> str:
    """Draws a caption that is true of a combination, though maybe not complete.

    Args:
        combination: What the clip shows.
        rng: Source of randomness.

    Returns:
        A sentence with synonyms, sometimes filler words, junk letters or a capital.
    """
    if happens(CANONICAL_SHARE, rng):
        return describe(combination)
    phrases = PHRASES[combination.motion]
    phrase = rng.choice(phrases) if happens(0.6, rng) else phrases[0]
    template = rng.choices([t for _, t in TEMPLATES], weights=[w for w, _ in TEMPLATES])[0]
    text = _fill(template, combination, phrase)
    if happens(0.25, rng):
        text = _surround(text, rng)
    return text[0].upper() + text[1:] if happens(0.2, rng) else text


def draw_training_caption(combination: Combination, rng: random.Random) -> str:
    """Draws what the transformer is told: mostly a caption, now and then nothing or junk.

    The empty text is the unconditional half of guidance; junk stands for negative prompts and for
    prompts outside the vocabulary.
    """
    chance = rng.random()
    if chance < EMPTY_SHARE:
        return ""
    if chance < EMPTY_SHARE + JUNK_SHARE:
        return " ".join(_draw_noise_word(rng, 0.5) for _ in range(rng.randint(1, 6)))
    return draw_caption(combination, rng)


def _fill(template: str, combination: Combination, phrase: str) -> str:
    text = template.format(phrase=phrase, **combination._asdict())
    return text.replace("a orange", "an orange")


def _surround(text: str, rng: random.Random) -> str:
    """Puts one to three noise words before or after a sentence."""
    for _ in range(rng.randint(1, 3)):
        word = _draw_noise_word(rng, 0.7)
        text = f"{word} {text}" if happens(0.5, rng) else f"{text} {word}"
    return text


def _draw_noise_word(rng: random.Random, filler_share: float) -> str:
    if happens(filler_share, rng):
        return rng.choice(FILLERS)
    return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 5)))
