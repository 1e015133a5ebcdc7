"""English words to phones: a dictionary, its plurals and tenses, spelling for the rest.

The dictionary and the spelling network are those that the English voice was trained with.
"""

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from models.assets import asset_path

_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|[;:,.!?—…\"“”()]")
_SPELLED_LETTERS = 5
_SHORT_WORD = 3
_PRIMARY, _SECONDARY = "ˈ", "ˌ"
_VOWELS = frozenset("AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻɐ")
_SIBILANTS, _VOICELESS = "szʃʒʧʤ", "ptkfθ"
_DOUBLED = re.compile(r"([bdgklmnprtvz])\1$")

Spell = Callable[[str], str]
Entries = dict[str, Any]


@dataclass(frozen=True)
class Pronunciation:
    """`entries`: word to phones, or to phones by part of speech; `spell`: for unknown words."""

    entries: Entries
    spell: Spell

    def phones_of(self, sentence: str) -> str:
        """The phones of a sentence: words apart by spaces, punctuation at the word before it."""
        said = ""
        following = ""
        for token in reversed(_TOKEN.findall(sentence)):
            if token[0].isalpha():
                phones = self._word(token.replace("’", "'"), following)
                said = f"{phones} {said}" if said[:1] not in tuple(";:,.!?—…”)") else phones + said
                following = phones.lstrip(_PRIMARY + _SECONDARY)
            else:
                said, following = f"{token} {said}", ""
        return said.strip()

    def _word(self, word: str, following: str) -> str:
        """`following`: the phones of the next word, empty at a pause."""
        small = word.lower()
        before_vowel = following[:1] in _VOWELS if following else False
        if small == "the":
            return "ði" if before_vowel else "ðə"
        if small == "a" and word != "A":
            return "ɐ"
        if small == "an":
            return "ɐn"
        if small == "to" and following:
            return "tʊ" if before_vowel else "tə"
        return self._find(word) or self._inflected(word) or self._unknown(word)

    def _find(self, word: str) -> str | None:
        forms = (word, word.lower(), word.capitalize())
        found = next((self.entries[form] for form in forms if form in self.entries), None)
        if isinstance(found, dict):
            found = found["DEFAULT"]
        return found if isinstance(found, str) else None

    def _inflected(self, word: str) -> str | None:
        small = word.lower()
        if small.endswith("'s") or (small.endswith("s") and not small.endswith("ss")):
            stem = self._stem(small, "'s" if small.endswith("'s") else "s", ("", "es", "ies"))
            return stem and stem + _plural(stem)
        if small.endswith("ed"):
            stem = self._stem(small, "ed", ("", "e"))
            return stem and stem + _past(stem)
        if small.endswith("ing"):
            stem = self._stem(small, "ing", ("", "e"))
            return stem and stem + "ɪŋ"
        return None

    def _stem(self, word: str, ending: str, others: tuple[str, ...]) -> str | None:
        """Phones of the word that `ending` was put to: baked is of bake, planned of plan."""
        bare = word.removesuffix(ending)
        if len(bare) < _SHORT_WORD:
            return None
        tries = [bare]
        if "e" in others:
            tries = [bare, bare + "e", *([bare[:-1]] if _DOUBLED.search(bare) else [])]
        elif word.endswith("ies"):
            tries = [word.removesuffix("ies") + "y", bare]
        elif word.endswith("es"):
            tries = [bare, word.removesuffix("es")]
        return next((found for each in tries if (found := self._find(each))), None)

    def _unknown(self, word: str) -> str:
        if word.isupper() and len(word) <= _SPELLED_LETTERS:
            return self._letters(word)
        if word.endswith("'s"):
            stem = self._word(word.removesuffix("'s"), "x")
            return stem + _plural(stem)
        if "'" in word:
            return "".join(self._word(part, "x") for part in word.split("'") if part)
        return self.spell(word)

    def _letters(self, word: str) -> str:
        """Letter by letter, the last one stressed."""
        names = [self._find(letter) or self.spell(letter) for letter in word]
        return "".join(name.replace(_PRIMARY, _SECONDARY) for name in names[:-1]) + names[-1]


def load_pronunciation() -> Pronunciation:
    """Dictionary and speller from the assets.

    Raises:
        AssetMissing: they are not on this machine.
    """
    rare = _load_entries(asset_path("speech/en/lexicon-silver.json.gz"))
    common = _load_entries(asset_path("speech/en/lexicon-gold.json.gz"))
    return Pronunciation({**rare, **common}, load_speller())


def load_speller() -> Spell:
    """A network that reads any word; its answer may repeat phones and has blanks (CTC)."""
    alphabet = json.loads(asset_path("speech/en/spelling.json").read_text(encoding="utf-8"))
    numbers = {char: index for index, char in enumerate(alphabet["in"], 1)}
    phones = dict(enumerate(alphabet["out"], 1))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    path = str(asset_path("speech/en/spelling.onnx"))
    model = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def spell(word: str) -> str:
        ids = [numbers[char] for char in word if char in numbers][: alphabet["maxlen"]]
        if not ids:
            return ""
        answer = model.run(None, {"chars": np.array([ids], np.int64)})[0][0].tolist()
        kept = [
            now for before, now in zip([0, *answer], answer, strict=False) if now not in (0, before)
        ]
        return "".join(phones[each] for each in kept)

    return spell


def _load_entries(path: Path) -> Entries:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        entries: Entries = json.load(file)
    return entries


def _plural(stem: str) -> str:
    if stem[-1] in _VOICELESS:
        return "s"
    return "ᵻz" if stem[-1] in _SIBILANTS else "z"


def _past(stem: str) -> str:
    if stem[-1] in "td":
        return "ᵻd"
    return "t" if stem[-1] in "pkfθʃsʧ" else "d"
