"""How long a recording is, from what its file says of itself. Pure; nothing is decoded.

WAV, FLAC, Ogg (Vorbis, Opus), MP4 and M4A, MP3, and AAC in ADTS.
"""

import struct
from collections.abc import Callable, Iterator

from models.refusal import InputUnusable, Refusal

_ADTS_RATES = (
    96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350,
)  # fmt: skip
_MPEG1_KBIT = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KBIT = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_OPUS_RATE = 48000
_SYNC = 0xFF
_FRAME_SYNC = 0x7FF
_MPEG1 = 3


def probe_duration_s(data: bytes) -> float:
    """Seconds of sound in the file `data`.

    Raises:
        InputUnusable: `audio_unreadable` where the file is broken or of no kind we know,
            `audio_too_short` where it holds no sound.
    """
    readers: tuple[tuple[bool, Callable[[bytes], float]], ...] = (
        (data[:4] == b"RIFF" and data[8:12] == b"WAVE", _wav),
        (data[:4] == b"fLaC", _flac),
        (data[:4] == b"OggS", _ogg),
        (data[4:8] == b"ftyp", _mp4),
    )
    read = next((read for fits, read in readers if fits), _packets)
    try:
        seconds = read(data)
    except (struct.error, IndexError, ZeroDivisionError, LookupError) as error:
        raise InputUnusable(Refusal.AUDIO_UNREADABLE, "the recording is broken") from error
    if seconds <= 0:
        raise InputUnusable(Refusal.AUDIO_TOO_SHORT, "the recording holds no sound")
    return seconds


def _wav(data: bytes) -> float:
    bytes_per_s = 0
    for name, body in _riff_chunks(data):
        if name == b"fmt ":
            (bytes_per_s,) = struct.unpack_from("<I", body, 8)
        elif name == b"data":
            return len(body) / bytes_per_s
    raise LookupError("data")


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        yield name, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _flac(data: bytes) -> float:
    # STREAMINFO is the first block: 20 bits of rate end at bit 84, 36 bits of samples at bit 144.
    fields = int.from_bytes(data[18:26])
    return (fields & (1 << 36) - 1) / (fields >> 44)


def _ogg(data: bytes) -> float:
    first = data[28 : 28 + 64]
    if first.startswith(b"OpusHead"):
        rate, (skipped,) = _OPUS_RATE, struct.unpack_from("<H", first, 10)
    elif first.startswith(b"\x01vorbis"):
        (rate,), skipped = struct.unpack_from("<I", first, 12), 0
    else:
        raise LookupError("codec")
    last = data.rindex(b"OggS")
    (samples,) = struct.unpack_from("<q", data, last + 6)
    return float((samples - skipped) / rate)


def _mp4(data: bytes) -> float:
    """Of the first track with sound: the length in its media header."""
    for track in _boxes(_box(data, b"moov"), b"trak"):
        media = _box(track, b"mdia")
        if _box(media, b"hdlr")[8:12] != b"soun":
            continue
        header = _box(media, b"mdhd")
        layout, at = (">IQ", 20) if header[0] == 1 else (">II", 12)
        timescale, duration = struct.unpack_from(layout, header, at)
        return float(duration / timescale)
    raise LookupError("soun")


def _box(data: bytes, name: bytes) -> bytes:
    return next(_boxes(data, name), b"")


def _boxes(data: bytes, name: bytes) -> Iterator[bytes]:
    at = 0
    while at + 8 <= len(data):
        size, found = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        elif size == 0:
            size = len(data) - at
        if size < start - at:
            raise LookupError(found)
        if found == name:
            yield data[start : at + size]
        at += size


def _packets(data: bytes) -> float:
    """MP3 and ADTS: the sum of their frames, each with a header of its own."""
    at, seconds = _behind_id3(data), 0.0
    while at + 7 <= len(data):
        # Tags of several kinds may follow the last frame.
        if seconds and data[at] != _SYNC:
            break
        size, length_s = _frame(data[at : at + 7])
        at += size
        seconds += length_s
    return seconds


def _behind_id3(data: bytes) -> int:
    if data[:3] != b"ID3":
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size


def _frame(head: bytes) -> tuple[int, float]:
    """Bytes and seconds of the frame that begins with `head`."""
    bits = int.from_bytes(head)
    if bits >> 45 != _FRAME_SYNC:
        raise LookupError("sync")
    if not bits >> 41 & 0b11:
        size = bits >> 13 & 0x1FFF
        if size < len(head):
            raise LookupError("size")
        return size, 1024 * ((bits & 0b11) + 1) / _ADTS_RATES[bits >> 34 & 0xF]
    version = bits >> 43 & 0b11
    if not bits >> 36 & 0xF:
        raise LookupError("free bit rate")
    rate = _MPEG_RATES[version][bits >> 34 & 0b11]
    kbit = (_MPEG1_KBIT if version == _MPEG1 else _MPEG2_KBIT)[(bits >> 36 & 0xF) - 1]
    samples = 1152 if version == _MPEG1 else 576
    return samples * kbit * 125 // rate + (bits >> 33 & 1), samples / rate
