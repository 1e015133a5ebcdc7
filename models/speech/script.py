"""A text before anybody speaks it: whether it can be, who speaks which part, how long it takes.

Pure: the gateway asks before a point is held. Text is words and nothing else; markup is refused,
so what stands in brackets can never act on a voice.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from models.refusal import InputUnusable, Refusal
from models.spec import Emotion
from models.speech import numbers_en, numbers_zh
from models.speech.prosody import prosody_of

MAX_SPEECH_S = 60.0
"""What a digital human may say at a stretch."""

Language = Literal["zh", "en"]

_MARKUP = re.compile(r"</?[A-Za-z!?][^<>]*>|&(?:[A-Za-z]{2,8}|#\d{1,7}|#x[0-9A-Fa-f]{1,6});")
_ALLOWED_CONTROLS = "\t\n\r"
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SENTENCE_ENDS = ".!?。！？…\n"
_CLAUSE_ENDS = ",;:，；：、—"
_MARKS = re.compile(f"[{_SENTENCE_ENDS}{_CLAUSE_ENDS}]+")
_CAPITALS = re.compile(r"\b[A-Z]{2,5}\b")
# Addresses, versions, formulas: what a voice spells in part, and whose marks it reads out.
_SPELLED = re.compile(r"\w[./:@_\\]\w|[a-z][A-Z]")
_VOWELLESS = re.compile(r"\b[b-df-hj-np-tv-xz]{2,}\b", re.IGNORECASE)
_SENTENCE = re.compile(rf"(?<=[{_SENTENCE_ENDS}])\s+(?=\S)")
_READ_OUT = re.compile(r"[/@:_\\&*#%~^|+=]")
_WORD = re.compile(r"[^\W\d_]+")

# Seconds, fitted to what the two voices took for 46 sentences (relative least squares); then
# everything is taken `_SAFETY` times. What is spelled, read out or short was added by hand: of 62
# further texts, most of them such, none took more than 1.13 times as long as estimated.
_SYLLABLE_S, _LETTER_S, _WORD_S, _CAPITAL_S = 0.178, 0.05, 0.044, 0.20
_SLOWER_S, _READ_OUT_S, _SHORTEST_S = 0.045, 0.2, 0.42
_CLAUSE_S = {"zh": 0.62, "en": 0.58}
_SENTENCE_S = {"zh": 0.60, "en": 0.53}
_START_S = {"zh": 0.34, "en": 0.74}
_RIMS_S = 0.24
_SAFETY = 1.13


@dataclass(frozen=True)
class Run:
    """A stretch of text that one voice speaks."""

    language: Language
    text: str


def check_text(text: str, language: str) -> None:
    """Make sure that voices of `language` (`zh`, `en`, `auto`) can say all of `text`.

    Raises:
        InputUnusable: `text_unspeakable`: nothing to say, markup, control characters, or a letter
            of another script; the message names the first of them.
    """
    markup = _MARKUP.search(text)
    if markup:
        raise _unspeakable(
            f"the text is plain text; markup such as {markup[0][:40]!r} is not spoken"
        )
    for char in unicodedata.normalize("NFKC", text):
        why = _why_unspeakable(char, language)
        if why:
            raise _unspeakable(f"the text holds {_named(char)}; {why}")
    if not any(char.isalnum() for char in text):
        raise _unspeakable("the text holds nothing to be spoken: no word and no number")


def split_runs(text: str, language: str) -> list[Run]:
    """`text` by who speaks it. Digits and marks go with the words before them.

    With language `auto`, numbers before the first word go with that word, and a text of numbers
    alone is English.
    """
    cleaned = clean(text)
    if language == "en":
        return [Run("en", cleaned)]
    fallback: Language = "zh" if language == "zh" else "en"
    current = next((tongue for char in cleaned if (tongue := _tongue(char))), fallback)
    runs: list[Run] = []
    start = 0
    for at, char in enumerate(cleaned):
        tongue = _tongue(char)
        if tongue and tongue != current and not _is_unit(cleaned, at, current):
            runs.append(Run(current, cleaned[start:at]))
            start, current = at, tongue
    runs.append(Run(current, cleaned[start:]))
    return [run for run in runs if any(char.isalnum() for char in run.text)]


def clean(text: str) -> str:
    """`text` in one form of each letter, without what has no sound."""
    kept = (
        char
        for char in _fold_width(text)
        if char in "\n°²㎡℃" or unicodedata.category(char)[0] not in "CM"
    )
    return "".join(kept)


def spoken_words(run: Run) -> str:
    """The text of `run` with its numbers as words."""
    speak = numbers_zh.speak_numbers if run.language == "zh" else numbers_en.speak_numbers
    return speak(run.text)


def estimate_seconds(
    text: str, language: str, speed: float, emotion: Emotion | None = None
) -> float:
    """Seconds that speaking `text` takes, rather too many than too few.

    `speed` 2 is twice as fast; a sad voice is slower, so `emotion` counts too.
    """
    prosody = prosody_of(emotion or Emotion())
    said = sum(_seconds_of(run, prosody.pause) for run in split_runs(text, language))
    return _RIMS_S + said * _SAFETY / (speed * prosody.pace)


def _seconds_of(run: Run, pause: float) -> float:
    words = spoken_words(run)
    marks = _MARKS.findall(words.strip().rstrip(_SENTENCE_ENDS + _CLAUSE_ENDS))
    pauses = sum(
        (_SENTENCE_S if set(mark) & set(_SENTENCE_ENDS) else _CLAUSE_S)[run.language]
        for mark in marks
    )
    seconds = (_START_S[run.language] + pauses) * pause
    if run.language == "zh":
        return seconds + _SYLLABLE_S * sum(map(_is_han, words))
    return seconds + sum(max(_english_s(each), _SHORTEST_S) for each in _SENTENCE.split(words))


def _english_s(words: str) -> float:
    spelled = sum(map(len, _CAPITALS.findall(words)))
    letters = sum(map(str.isalpha, words)) - spelled
    num_words = len(_WORD.findall(words))
    slow = sum(map(str.isalpha, "".join(filter(_SPELLED.search, words.split()))))
    slow += 3 * sum(map(len, _VOWELLESS.findall(words)))
    return (
        _LETTER_S * letters
        + _WORD_S * num_words
        + _CAPITAL_S * spelled
        + _SLOWER_S * slow
        + _READ_OUT_S * len(_READ_OUT.findall(words))
    )


def _why_unspeakable(char: str, language: str) -> str | None:
    category = unicodedata.category(char)
    if char in _BIDI or (category in ("Cc", "Cs", "Co", "Cn") and char not in _ALLOWED_CONTROLS):
        return "control characters are not allowed"
    if not char.isalpha() and category != "Lo":
        return None
    tongue = _tongue(char)
    if tongue is None:
        return "only Chinese characters and Latin letters can be spoken"
    if tongue == "zh" and language == "en":
        return "a voice of language en cannot say it; send language auto or zh"
    return None


def _named(char: str) -> str:
    name = unicodedata.name(char, "")
    point = f"U+{ord(char):04X}"
    return f"{char!r} ({point} {name})" if char.isprintable() and name else f"the character {point}"


def _tongue(char: str) -> Language | None:
    if _is_han(char):
        return "zh"
    if char.isalpha() and unicodedata.name(char, "").startswith("LATIN"):
        return "en"
    return None


def _is_han(char: str) -> bool:
    return unicodedata.name(char, "").startswith("CJK ") and unicodedata.category(char) == "Lo"


def _is_unit(text: str, at: int, current: Language) -> bool:
    """Whether the Latin letter at `at` belongs to a unit in Chinese text: the `kg` of 5kg."""
    if current != "zh":
        return False
    before = re.search(r"\d\s*[A-Za-z/]*$", text[:at])
    word = re.match(r"[A-Za-z/²]*", text[at:])
    letters = (before[0].lstrip("0123456789 ") if before else "") + (word[0] if word else "")
    return before is not None and numbers_zh.is_unit(letters)


def _fold_width(text: str) -> str:
    """Full-width letters and digits as plain ones; Chinese punctuation stays, it tells pauses."""
    return "".join(
        unicodedata.normalize("NFKC", char) if char.isalnum() and ord(char) > 0xFF00 else char  # noqa: PLR2004
        for char in unicodedata.normalize("NFC", text)
    )


def _unspeakable(message: str) -> InputUnusable:
    return InputUnusable(Refusal.TEXT_UNSPEAKABLE, message)
