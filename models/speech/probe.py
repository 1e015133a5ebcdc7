"""How long a recording is, from what its file says of itself. Pure: nothing is decoded.

The gateway asks before a point is held; the worker, who decodes, has the last word.
"""

import io
from collections.abc import Iterator

from tinytag import TinyTag

from models.refusal import InputUnusable, Refusal

KINDS = ("wav", "mp3", "m4a", "aac", "ogg", "flac")
_ADTS_RATES = (
    96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350,
)  # fmt: skip
_ADTS_HEADER = 7
_SAMPLES_PER_BLOCK = 1024
_ID3_HEADER = 10
_SYNC = 0xFFF
_LAYER_III, _ADTS = b"\xe2", b"\xf0"


def probe_duration_s(data: bytes) -> float:
    """Seconds of sound in the file `data`.

    Raises:
        InputUnusable: `audio_unreadable` where the file is broken or of no kind in `KINDS`,
            `audio_too_short` where it holds no sound.
    """
    kind = sniff(data)
    seconds = _adts_seconds(data) if kind == "aac" else _tagged_seconds(data, kind)
    if seconds <= 0:
        raise InputUnusable(Refusal.AUDIO_TOO_SHORT, "the recording holds no sound")
    return seconds


def sniff(data: bytes) -> str:
    """Which of `KINDS` a file is, by its first bytes, behind an ID3 tag where there is one.

    A tag is the mark of MP3, but stands before AAC streams and FLAC files too.

    Raises:
        InputUnusable: `audio_unreadable`: none of them.
    """
    start = _behind_id3(data)
    head = data[start : start + 16]
    known = (
        (head[:4] == b"RIFF" and head[8:12] == b"WAVE", "wav"),
        (head[:4] == b"fLaC", "flac"),
        (head[:4] == b"OggS", "ogg"),
        (head[4:8] == b"ftyp", "m4a"),
        (_has_sync(head, 0xF6, _ADTS), "aac"),
        (start > 0 or _has_sync(head, 0xE6, _LAYER_III), "mp3"),
    )
    for fits, kind in known:
        if fits:
            return kind
    raise InputUnusable(
        Refusal.AUDIO_UNREADABLE, f"the recording is of no kind we read; send {', '.join(KINDS)}"
    )


def _tagged_seconds(data: bytes, kind: str) -> float:
    try:
        tag = TinyTag.get(filename=f"it.{kind}", file_obj=io.BytesIO(data), tags=False)
    except Exception as error:
        raise _broken() from error
    if tag.duration is None:
        raise _broken()
    return float(tag.duration)


def _adts_seconds(data: bytes) -> float:
    return sum(_adts_blocks(data))


def _adts_blocks(data: bytes) -> Iterator[float]:
    """Seconds of each whole frame (ISO/IEC 13818-7, 6.2)."""
    at = _behind_id3(data)
    while at + _ADTS_HEADER <= len(data):
        head = int.from_bytes(data[at : at + _ADTS_HEADER])
        rate_index, size = (head >> 34) & 0xF, (head >> 13) & 0x1FFF
        is_frame = head >> 44 == _SYNC and rate_index < len(_ADTS_RATES) and size >= _ADTS_HEADER
        if not is_frame:
            if data[at : at + 3] == b"TAG":
                return
            raise _broken()
        yield ((head & 0b11) + 1) * _SAMPLES_PER_BLOCK / _ADTS_RATES[rate_index]
        at += size


def _behind_id3(data: bytes) -> int:
    if data[:3] != b"ID3" or len(data) < _ID3_HEADER:
        return 0
    size = 0
    for byte in data[6:_ID3_HEADER]:
        size = size << 7 | byte & 0x7F
    return _ID3_HEADER + size


def _has_sync(head: bytes, mask: int, wanted: bytes) -> bool:
    """Whether a frame begins here; `mask` of the second byte says which kind."""
    return head[:1] == b"\xff" and bytes(byte & mask for byte in head[1:2]) == wanted


def _broken() -> InputUnusable:
    return InputUnusable(Refusal.AUDIO_UNREADABLE, "the recording is broken")
