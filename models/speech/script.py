"""A text before anybody speaks it: whether it can be spoken, and how long that may take. Pure.

The rates are bounds from above, slower than a voice reads: a hold on them is never too small.
"""

import unicodedata

from models.refusal import InputUnusable, Refusal

HAN_S = 0.36
"""One Chinese character."""

LETTER_S = 0.11
"""One letter of an alphabet, the space behind a word counted as one."""

DIGIT_S = 0.45
PAUSE_S = 0.5
"""At a punctuation mark or a new line."""

LEAD_S = 0.4
"""Silence before the first and after the last sound together."""


def check_text(text: str, language: str) -> None:
    """Make sure that a voice of `language` (`zh`, `en`, `auto`) finds something to say in `text`.

    Raises:
        InputUnusable: nothing in it is spoken, or some of it is in another script.
    """
    if not any(_is_spoken(char) for char in text):
        raise InputUnusable(Refusal.TEXT_UNSPEAKABLE, "the text holds nothing to be spoken")
    strange = next((char for char in text if _is_strange(char, language)), None)
    if strange is not None:
        raise InputUnusable(
            Refusal.TEXT_UNSPEAKABLE,
            f"no voice of language {language} says {strange!r}; Chinese and English are spoken",
        )


def estimate_seconds(text: str, language: str, speed: float) -> float:  # noqa: ARG001 -- scripts tell
    """Seconds that speaking `text` takes at most; `speed` 2 is twice as fast."""
    return (LEAD_S + sum(_seconds_of(char) for char in text.strip())) / speed


def _seconds_of(char: str) -> float:
    if _is_han(char):
        return HAN_S
    if char.isdigit():
        return DIGIT_S
    if char.isalpha() or char == " ":
        return LETTER_S
    return PAUSE_S if unicodedata.category(char)[0] in "PSC" else 0.0


def _is_spoken(char: str) -> bool:
    return char.isalnum()


def _is_strange(char: str, language: str) -> bool:
    """A letter of neither script, or Chinese where English is to be spoken."""
    if unicodedata.category(char) in ("Cc", "Cs", "Co", "Cn") and char not in "\n\r\t":
        return True
    if _is_han(char):
        return language == "en"
    return char.isalpha() and not unicodedata.name(char, "").startswith(
        ("LATIN", "FULLWIDTH LATIN")
    )


def _is_han(char: str) -> bool:
    return unicodedata.name(char, "").startswith("CJK UNIFIED IDEOGRAPH")
