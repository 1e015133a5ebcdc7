"""Given recordings: bounded, known by their first bytes, kept as they are.

Their content is decoded by the worker alone, which refuses what nobody could hear.
"""

import hashlib
from dataclasses import dataclass

from gateway.domain.errors import AudioUnreadable
from gateway.settings import Limits
from models.refusal import InputUnusable
from models.speech.probe import KINDS, sniff

PARAM = "speech.audio"
FORMATS = list(KINDS)
_CONTENT_TYPES = {"mp3": "audio/mpeg", "m4a": "audio/mp4"}


@dataclass(frozen=True)
class GivenAudio:
    """A recording as it was sent."""

    data: bytes
    content_type: str

    @property
    def sha256(self) -> str:
        """Of the file."""
        return hashlib.sha256(self.data).hexdigest()


def accept_audio(data: bytes, limits: Limits) -> GivenAudio:
    """Look at the size and the first bytes of `data`.

    Raises:
        AudioUnreadable: it is too heavy, or of no kind we take.
    """
    if len(data) > limits.max_audio_bytes:
        raise AudioUnreadable(
            f"{PARAM} has {len(data)} bytes, {limits.max_audio_bytes} are allowed",
            param=PARAM,
            limit=limits.max_audio_bytes,
            value=len(data),
        )
    try:
        kind = sniff(data)
    except InputUnusable as error:
        raise AudioUnreadable(error.message, param=PARAM, limit=FORMATS, value=len(data)) from None
    return GivenAudio(data, _CONTENT_TYPES.get(kind, f"audio/{kind}"))
