"""Given recordings: bounded, known by their first bytes, kept as they are.

Their content is decoded by the worker alone, which refuses what nobody could hear.
"""

import hashlib
from dataclasses import dataclass

from gateway.domain.errors import AudioUnreadable
from gateway.settings import Limits

PARAM = "speech.audio"
FORMATS = ["wav", "mp3", "m4a", "aac", "ogg", "flac"]
_SYNC = 0x7FF
"""The first eleven bits of a frame of MPEG audio."""

_LAYERS = {0: "audio/aac", 1: "audio/mpeg"}
"""By the two bits that name the layer: AAC in ADTS has none, MP3 is layer III."""


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
    content_type = sniff(data)
    if content_type is None:
        raise AudioUnreadable(
            f"{PARAM} is no recording we can read; send {', '.join(FORMATS)}",
            param=PARAM,
            limit=FORMATS,
            value=len(data),
        )
    return GivenAudio(data, content_type)


def sniff(data: bytes) -> str | None:
    """The media type by the first bytes; None for what we do not take."""
    head = data[:12]
    containers = (
        (head[:4] == b"RIFF" and head[8:] == b"WAVE", "audio/wav"),
        (head[:4] == b"fLaC", "audio/flac"),
        (head[:4] == b"OggS", "audio/ogg"),
        (head[4:8] == b"ftyp", "audio/mp4"),
        (head[:3] == b"ID3", "audio/mpeg"),
    )
    for fits, content_type in containers:
        if fits:
            return content_type
    is_frame = int.from_bytes(head[:2]) >> 5 == _SYNC
    return _LAYERS.get(head[1] >> 1 & 0b11) if is_frame else None
