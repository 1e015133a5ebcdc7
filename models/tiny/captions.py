"""Puts a combination into words: one canonical sentence, and many others to train on.

Two languages speak over one vocabulary; what differs between them is in `phrases.py`.
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING

from models.tiny.data import Combination, Thing, happens
from models.tiny.phrases import CHINESE, ENGLISH, LANGUAGES, Language

if TYPE_CHECKING:
    import random

CHINESE_SHARE = 0.5
CANONICAL_SHARE = 0.3
FIRST_PHRASE_SHARE = 0.4
SHORT_NAME_SHARE = 0.1
NOISE_SHARE = 0.25
EMPTY_SHARE = 0.08
JUNK_SHARE = 0.04

HAN = (0x4E00, 0x9FA5)
"""First and last of the common Chinese characters in Unicode."""


def describe(combination: Combination, language: str = "en") -> str:
    """Returns the canonical caption, such as "a red circle moving up on a gray background".

    Args:
        combination: What the clip shows.
        language: "en" or "zh".
    """
    words = LANGUAGES[language]
    motions = [words.motions[thing.motion][0] for thing in combination.things]
    return _fill(_templates(words, combination)[0][1], combination, words, motions)


def draw_caption(combination: Combination, rng: random.Random) -> str:
    """Draws a caption that is true of a combination, though maybe not complete.

    Args:
        combination: What the clip shows.
        rng: Source of randomness.

    Returns:
        An English or Chinese sentence with synonyms, sometimes short names, noise words or a
        capital.
    """
    language = "zh" if happens(CHINESE_SHARE, rng) else "en"
    if happens(CANONICAL_SHARE, rng):
        return describe(combination, language)
    words = LANGUAGES[language]
    if happens(SHORT_NAME_SHARE, rng):
        words = words.shortened()
    weights, templates = zip(*_templates(words, combination), strict=True)
    motions = [_draw_motion(words, thing, rng) for thing in combination.things]
    text = _fill(rng.choices(templates, weights)[0], combination, words, motions)
    if happens(NOISE_SHARE, rng):
        text = _surround(text, words, rng)
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
        words = rng.choice((ENGLISH, CHINESE))
        return " ".join(_draw_noise_word(words, rng, 0.5) for _ in range(rng.randint(1, 6)))
    return draw_caption(combination, rng)


def draw_picture_caption(combination: Combination, rng: random.Random) -> str:
    """Draws a caption for a clip over a background that has no name: it is left out."""
    words = LANGUAGES["zh" if happens(CHINESE_SHARE, rng) else "en"]
    template = rng.choice(
        [text for _, text in _templates(words, combination) if "{place}" not in text]
    )
    motions = [_draw_motion(words, thing, rng) for thing in combination.things]
    return _fill(template, combination, words, motions)


def _templates(words: Language, combination: Combination) -> tuple[tuple[int, str], ...]:
    return words.single if combination.relation is None else words.pair


def _draw_motion(words: Language, thing: Thing, rng: random.Random) -> str:
    phrases = words.motions[thing.motion]
    return phrases[0] if happens(FIRST_PHRASE_SHARE, rng) else rng.choice(phrases)


def _fill(template: str, combination: Combination, words: Language, motions: list[str]) -> str:
    first = combination.things[0]
    values = {
        "colour": words.colours[first.colour],
        "shape": words.shapes[first.shape],
        "motion": motions[0],
        "place": words.backgrounds[combination.background],
    }
    if combination.relation is not None:
        values["relation"] = words.relations[combination.relation]
        values["other"] = _name_other(combination.things[1], words, motions[1])
    text = template.format(**values)
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


def _name_other(thing: Thing, words: Language, motion: str) -> str:
    colour, shape = words.colours[thing.colour], words.shapes[thing.shape]
    if thing.motion in words.adjectives:
        return words.qualified.format(
            adjective=words.adjectives[thing.motion], colour=colour, shape=shape
        )
    return words.moving.format(motion=motion, colour=colour, shape=shape)


def _surround(text: str, words: Language, rng: random.Random) -> str:
    """Puts one to three noise words before or after a sentence."""
    for _ in range(rng.randint(1, 3)):
        word = _draw_noise_word(words, rng, 0.7)
        text = f"{word} {text}" if happens(0.5, rng) else f"{text} {word}"
    return text


def _draw_noise_word(words: Language, rng: random.Random, filler_share: float) -> str:
    if happens(filler_share, rng):
        return rng.choice(words.fillers)
    if words is CHINESE:
        # Nearly all of them are unknown, so the model hears what to make of unknown words.
        return "".join(chr(rng.randint(*HAN)) for _ in range(rng.randint(1, 3)))
    return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 5)))
