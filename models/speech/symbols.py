"""What the Chinese voice can be asked to say: its phones, and the pinyin syllables they make."""

import json
from dataclasses import dataclass
from pathlib import Path

_SILENCE, _BETWEEN, _END = "sil", "#0", "eos"
_R_COLOURED = "er5"


@dataclass(frozen=True)
class Symbols:
    """`ids`: phone to number. `syllables`: pinyin without tone to initial and final."""

    ids: dict[str, int]
    syllables: dict[str, tuple[str, str]]

    def phones_of(self, pinyin: list[str]) -> list[str]:
        """Phones of a clause, silence at both ends; none for a clause without a known syllable."""
        phones: list[str] = []
        for syllable in pinyin:
            phones += self._of_syllable(syllable)
        return [_SILENCE, *phones[:-1], _SILENCE] if phones else []

    def ids_of(self, phones: list[str]) -> list[int]:
        """The numbers the model is given, its end mark among them."""
        return [self.ids[phone] for phone in phones] + [self.ids[_END]]

    def _of_syllable(self, syllable: str) -> list[str]:
        bare, tone = (syllable[:-1], syllable[-1]) if syllable[-1:].isdigit() else (syllable, "5")
        bare = {"n": "en", "ng": "en", "m": "en", "hm": "hen", "hng": "heng"}.get(bare, bare)
        bare = bare.replace("ü", "v").replace("ê", "ei")
        coloured = bare not in self.syllables and bare.endswith("r")
        parts = self.syllables.get(bare[:-1] if coloured else bare)
        if parts is None:
            return []
        return [parts[0], parts[1] + tone, *([_R_COLOURED] if coloured else []), _BETWEEN]


def load_symbols(path: Path) -> Symbols:
    """Read the voice's own table."""
    found = json.loads(path.read_text(encoding="utf-8"))
    syllables = {name: (parts[0], parts[1]) for name, parts in found["pinyin_dict"].items()}
    return Symbols(found["symbol_to_id"], syllables)
