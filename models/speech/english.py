"""The English voice: words to phones, phones to spectra, spectra to sound.

The .onnx weights are of a published package (`models.assets`, `speech/en`), run by ONNX Runtime.
"""

import json
import re
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnxruntime

from models.assets import asset_path
from models.speech.articulation import Sound, of_ipa, spread_over
from models.speech.numbers_en import speak_numbers
from models.speech.pronunciation import Pronunciation, load_pronunciation
from models.speech.vocoder import Spectra, vocode
from models.speech.voice import SAMPLE_RATE, Utterance, join

_SENTENCE = re.compile(r"[^.!?\n…]+[.!?\n…]*[\"”’)]*\s*")
_ABBREVIATION = re.compile(r"\b(Dr|Mr|Mrs|Ms|Prof|St|vs|etc|No)\.(?=\s)")
_WHOLE = {
    "Dr": "Doctor", "Mr": "Mister", "Mrs": "Missus", "Ms": "Miss", "Prof": "Professor",
    "St": "Saint", "vs": "versus", "etc": "et cetera", "No": "Number",
}  # fmt: skip
_PAUSE_S = 0.2
_MAX_PHONES = 380
_EARLY_S = 0.06
"""The network's durations run behind its sound by so much; measured against the energy."""

# A name inside the graph that says how long each phone lasts, in frames of 25 ms, and the bytes
# that make it an output: protobuf merges what is appended to a message, here
# ModelProto.graph (7) .output (12) .name (1) and .type (2) .tensor_type (1) .elem_type (1) float.
_DURATIONS = b"/Clip_output_0"


class EnglishVoice:
    """A woman's American English at 24 kHz. Loads at first use; not for several threads.

    Raises:
        AssetMissing, AssetSwitchedOff: from `say`, where the weights are not on this machine.
    """

    languages = ("en",)

    def say(self, text: str, pace: float, seed: int) -> Utterance:
        """Speak English `text`; `seed` draws the breath in it."""
        random = np.random.default_rng(seed)
        return join(
            [
                (self._say_phones(phones, pace, random), _PAUSE_S / pace)
                for sentence in sentences(text)
                for phones in _pieces(self._words.phones_of(sentence))
            ]
        )

    def _say_phones(self, phones: str, pace: float, random: np.random.Generator) -> Utterance:
        known = [phone for phone in phones if phone in self._vocabulary]
        ids = [0, *(self._vocabulary[phone] for phone in known), 0]
        given = {"ids": np.array([ids], np.int64), "speed": np.array([pace], np.float32)}
        *spectra, durations = self._model.run(None, given)
        samples = vocode(Spectra(*(spectrum[0] for spectrum in spectra)), random)
        frames = durations.reshape(-1)
        ends = np.cumsum(frames) * (len(samples) / SAMPLE_RATE / frames.sum())
        return Utterance(samples, tuple(_sounds(known, ends - _EARLY_S)))

    @cached_property
    def _words(self) -> Pronunciation:
        return load_pronunciation()

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        path = asset_path("speech/en/vocabulary.json")
        table: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
        return table

    @cached_property
    def _model(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        options.log_severity_level = 3
        weights = with_output(asset_path("speech/en/voice.onnx").read_bytes(), _DURATIONS)
        return onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])


def sentences(text: str) -> list[str]:
    """`text` with numbers and abbreviations as words, cut behind sentences."""
    whole = _ABBREVIATION.sub(lambda match: _WHOLE[match[1]], text)
    said = speak_numbers(whole)
    found = [sentence.strip() for sentence in _SENTENCE.findall(said)]
    return [sentence for sentence in found if any(char.isalpha() for char in sentence)]


def with_output(model: bytes, name: bytes) -> bytes:
    """The ONNX `model` with the tensor `name` of its graph, float, among its outputs."""
    tensor_type = _field(2, _field(1, b"\x08\x01"))
    return model + _field(7, _field(12, _field(1, name) + tensor_type))


def _sounds(phones: list[str], ends_s: npt.NDArray[np.float64]) -> list[Sound]:
    """Mouth shapes; a stress mark's time goes to the phone behind it, a length mark's before it.

    `ends_s` has one more entry before and behind those of `phones`: the rims.
    """
    sounds: list[Sound] = []
    start = float(ends_s[0])
    for phone, end in zip(phones, ends_s[1:-1], strict=True):
        shapes = of_ipa(phone)
        if shapes:
            sounds += spread_over(shapes, max(0.0, start), max(0.0, float(end)))
        if shapes or phone not in "ˈˌ":
            start = float(end)
    return sounds


def _pieces(phones: str) -> list[str]:
    """`phones` cut between words where there are more than the network was made for."""
    pieces: list[str] = []
    while len(phones) > _MAX_PHONES:
        cut = phones.rfind(" ", 0, _MAX_PHONES)
        cut = cut if cut > 0 else _MAX_PHONES
        pieces.append(phones[:cut])
        phones = phones[cut:].lstrip()
    return [*pieces, phones] if phones else pieces


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field; `content` below 128 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content
