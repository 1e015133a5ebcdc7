"""Convolutions and PReLUs of an ncnn model, read with numpy.

A `.param` file is text, one layer a line; its `.bin` holds the weights in the same order, each
convolution behind a four-byte tag (ncnn, `src/modelbin.cpp`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

FP16_TAG = 0x01306B47
FP32_TAG = 0
_MAGIC = "7767517"
_OUT_CHANNELS, _KERNEL, _HAS_BIAS, _NUM_WEIGHTS = "0", "1", "5", "6"
_HEADER_LINES = 2


class NcnnError(Exception):
    """The files are not an ncnn model that this reader knows."""


@dataclass(frozen=True)
class Layer:
    """One layer with weights.

    Attributes:
        weight: float32 [out, in, k, k] of a convolution, [channels] of a PReLU.
        bias: float32 [out] of a convolution that has one.
    """

    kind: str
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32] | None = None


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, dtype: str, count: int) -> npt.NDArray[np.float32]:
        """`count` numbers of `dtype` as float32; what follows starts at a multiple of 4 bytes."""
        size = np.dtype(dtype).itemsize * count
        if self.at + size > len(self.data):
            raise NcnnError(f"weights end at byte {len(self.data)}, {self.at + size} are needed")
        values = np.frombuffer(self.data, dtype, count, self.at).astype(np.float32)
        self.at += (size + 3) // 4 * 4
        return values

    def weights(self, count: int) -> npt.NDArray[np.float32]:
        """The tagged weights of a convolution."""
        if self.at + 4 > len(self.data):
            raise NcnnError(f"weights end at byte {len(self.data)}, before a tag")
        tag = int.from_bytes(self.data[self.at : self.at + 4], "little")
        self.at += 4
        if tag not in (FP16_TAG, FP32_TAG):
            raise NcnnError(f"weights at byte {self.at - 4} have the unknown tag {tag:#x}")
        return self.take("<f2" if tag == FP16_TAG else "<f4", count)


def read_layers(param: Path, weights: Path) -> list[Layer]:
    """The layers of `param` that have weights, in order.

    Raises:
        NcnnError: the files are broken or do not fit each other.
        OSError: they cannot be read.
    """
    lines = param.read_text().splitlines()
    if not lines or lines[0].strip() != _MAGIC:
        raise NcnnError(f"{param.name} is not an ncnn parameter file")
    reader = _Reader(weights.read_bytes())
    layers = []
    for line in lines[_HEADER_LINES:]:
        words = line.split()
        if words and words[0] in ("Convolution", "PReLU"):
            layers.append(_layer(words[0], _options(words), reader))
    if reader.at != len(reader.data):
        raise NcnnError(f"{weights.name} has {len(reader.data)} bytes, {reader.at} are used")
    return layers


def _options(words: list[str]) -> dict[str, str]:
    num_blobs = int(words[2]) + int(words[3])
    pairs = (word.partition("=") for word in words[4 + num_blobs :])
    return {key: value for key, _, value in pairs}


def _layer(kind: str, options: dict[str, str], reader: _Reader) -> Layer:
    channels = int(options[_OUT_CHANNELS])
    if kind == "PReLU":
        return Layer(kind, reader.take("<f4", channels))
    kernel = int(options.get(_KERNEL, "1"))
    weight = reader.weights(int(options[_NUM_WEIGHTS])).reshape(channels, -1, kernel, kernel)
    has_bias = int(options.get(_HAS_BIAS, "0"))
    return Layer(kind, weight, reader.take("<f4", channels) if has_bias else None)
