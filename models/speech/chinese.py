"""The Chinese voice: FastSpeech 2 (Ren et al. 2021) and multi-band MelGAN (Yang et al. 2021).

Both are .tflite weights of a published package (`models.assets`, `speech/zh`), run by LiteRT; the
first also says how long it holds each phone. Its corpus allows no commercial use.
"""

import re
from functools import cached_property

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from pypinyin import Style
from pypinyin.contrib.neutral_tone import NeutralToneWith5Mixin
from pypinyin.converter import DefaultConverter
from pypinyin.core import Pinyin

from models.assets import asset_path
from models.speech.articulation import Sound, of_pinyin, spread_over
from models.speech.numbers_zh import speak_numbers
from models.speech.symbols import Symbols, load_symbols
from models.speech.voice import SAMPLE_RATE, Utterance, join

_CLAUSE = re.compile(r"[^，。！？；：、…—,.!?;:\n]+[，。！？；：、…—,.!?;:\n]*")
_PAUSES_S = {"、": 0.12, "，": 0.2, ",": 0.2, "：": 0.25, "；": 0.28}
_SENTENCE_PAUSE_S = 0.35
_MAX_SYLLABLES = 40
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_DURATIONS, _MEL = 2, 1
_LATE_S = 0.03
"""The sound runs behind the network's durations by so much; measured against the energy."""

_RANDOM_SEEDS = (1, 2)
_NUM_THREADS = 2


class _Reader(NeutralToneWith5Mixin, DefaultConverter):
    """pypinyin with the neutral tone written as 5, as the voice's symbols have it."""


class ChineseVoice:
    """A woman's Mandarin at 24 kHz. Loads its weights at first use; not for several threads.

    Raises:
        AssetMissing, AssetSwitchedOff: from `say`, where the weights are not on this machine.
    """

    languages = ("zh",)

    def say(self, text: str, pace: float, seed: int) -> Utterance:
        """Speak Chinese `text`; other letters are left out. The same `text` sounds the same."""
        del seed
        # A new one each time: its noise goes on where the last words left it.
        acoustic = Interpreter(model_content=self._acoustic_weights, num_threads=_NUM_THREADS)
        said = clauses(speak_numbers(text))
        return join([self._say_clause(acoustic, clause, pace) for clause in said])

    def _say_clause(
        self, acoustic: Interpreter, clause: str, pace: float
    ) -> tuple[Utterance, float]:
        phones = self._symbols.phones_of(read_aloud(clause))
        if not phones:
            return Utterance.silent(0.0), 0.0
        mel, frames = self._mel(acoustic, phones, 1.0 / pace)
        samples = self._sound(mel)
        ends = np.cumsum(frames) * (len(samples) / SAMPLE_RATE / max(frames.sum(), 1))
        ends += _LATE_S
        starts = np.concatenate([[_LATE_S], ends[:-1]])
        sounds: list[Sound] = []
        for phone, start, end in zip(phones, starts, ends, strict=False):
            sounds += spread_over(of_pinyin(phone), float(start), float(end))
        return Utterance(samples, tuple(sounds)), _pause_after(clause) / pace

    def _mel(
        self, model: Interpreter, phones: list[str], stretch: float
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Mel [1, T, 80] and frames per phone; `stretch` multiplies every duration."""
        ids = np.array([self._symbols.ids_of(phones)], np.int32)
        one = np.array([1.0], np.float32)
        speaker = np.array([0], np.int32)
        stretches = np.array([stretch], np.float32)
        inputs, outputs = model.get_input_details(), model.get_output_details()
        model.resize_tensor_input(inputs[0]["index"], ids.shape)
        model.allocate_tensors()
        for detail, value in zip(inputs, (ids, speaker, stretches, one, one), strict=True):
            model.set_tensor(detail["index"], value)
        model.invoke()
        frames = model.get_tensor(outputs[_DURATIONS]["index"])[0]
        return model.get_tensor(outputs[_MEL]["index"]), frames.astype(np.int64)

    def _sound(self, mel: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        model = self._vocoder
        (given,), (made,) = model.get_input_details(), model.get_output_details()
        model.resize_tensor_input(given["index"], mel.shape)
        model.allocate_tensors()
        model.set_tensor(given["index"], mel)
        model.invoke()
        return np.array(model.get_tensor(made["index"])[0, :, 0], np.float32)

    @cached_property
    def _symbols(self) -> Symbols:
        return load_symbols(asset_path("speech/zh/symbols.json"))

    @cached_property
    def _acoustic_weights(self) -> bytes:
        return with_builtin_random(asset_path("speech/zh/fastspeech2.tflite").read_bytes())

    @cached_property
    def _vocoder(self) -> Interpreter:
        path = asset_path("speech/zh/melgan.tflite")
        return Interpreter(model_path=str(path), num_threads=_NUM_THREADS)


def clauses(text: str) -> list[str]:
    """`text` cut behind its punctuation, and where more than a breath has none."""
    cut: list[str] = []
    for clause in _CLAUSE.findall(text):
        while len(clause) > _MAX_SYLLABLES:
            cut.append(clause[:_MAX_SYLLABLES])
            clause = clause[_MAX_SYLLABLES:]  # noqa: PLW2901 -- what is left of it
        cut.append(clause)
    return [clause for clause in cut if _HAN.search(clause)]


def read_aloud(clause: str) -> list[str]:
    """Pinyin with tone digits, one per character: `["ni3", "hao3"]`. Phrases decide readings."""
    spoken = "".join(_HAN.findall(clause))
    reader = Pinyin(_Reader()).pinyin
    return [read[0] for read in reader(spoken, style=Style.TONE3, errors="ignore")]


def with_builtin_random(weights: bytes) -> bytes:
    """The model with its TensorFlow noise operators replaced by LiteRT's own, of fixed seeds.

    LiteRT refuses `FlexRandomUniform`; `RANDOM_UNIFORM` computes the same.
    """
    model = schema.ModelT.InitFromPackedBuf(weights, 0)
    codes = {
        index: code
        for index, code in enumerate(model.operatorCodes)
        if code.customCode == b"FlexRandomUniform"
    }
    for code in codes.values():
        code.customCode = None
        code.builtinCode = schema.BuiltinOperator.RANDOM_UNIFORM
        # Builtin codes above 127 do not fit the old field, which then holds 127.
        code.deprecatedBuiltinCode = 127
        code.version = 1
    for graph in model.subgraphs:
        for operator in graph.operators:
            if operator.opcodeIndex in codes:
                operator.builtinOptionsType = schema.BuiltinOptions.RandomOptions
                operator.builtinOptions = schema.RandomOptionsT()
                operator.builtinOptions.seed, operator.builtinOptions.seed2 = _RANDOM_SEEDS
                operator.customOptions = None
    builder = flatbuffers.Builder(len(weights))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _pause_after(clause: str) -> float:
    last = clause[-1]
    if last in _PAUSES_S:
        return _PAUSES_S[last]
    return 0.0 if _HAN.match(last) else _SENTENCE_PAUSE_S
