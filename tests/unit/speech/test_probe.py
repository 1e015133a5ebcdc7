"""How long a file says it is, against what was encoded, for every kind we take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.refusal import InputUnusable, Refusal
from models.speech.probe import probe_duration_s, sniff
from tests.support.sounds import ENCODERS, encode

SECONDS = 2.0


@pytest.mark.parametrize(
    ("kind", "rate"),
    [*((kind, 48_000) for kind in ENCODERS), ("wav", 8000), ("mp3", 8000), ("mp3", 16_000)],
)
def test_the_length_of_each_kind_is_read_from_its_headers(kind: str, rate: int) -> None:
    data = encode(kind, SECONDS, rate=rate)
    assert sniff(data) == kind
    # Coders with frames fill up the last one and put an empty one before the first.
    padding_s = 3 * 1152 / rate if kind in ("mp3", "m4a", "aac") else 0.02
    assert SECONDS - 0.001 <= probe_duration_s(data) <= SECONDS + padding_s


@pytest.mark.parametrize("kind", ["aac", "flac", "mp3"])
def test_what_stands_behind_an_id3_tag_is_found(kind: str) -> None:
    tagged = b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10) + encode(kind, SECONDS)
    assert sniff(tagged) == kind
    assert probe_duration_s(tagged) == pytest.approx(SECONDS, abs=0.08)


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"<html>", b"#EXTM3U\nhttp://x/a.ts", b"\x00" * 64, b"\xff\xfb"]
)
def test_what_is_no_recording_is_refused(data: bytes) -> None:
    with pytest.raises(InputUnusable) as caught:
        probe_duration_s(data)
    assert caught.value.code == Refusal.AUDIO_UNREADABLE


def test_a_recording_of_nothing_is_too_short() -> None:
    empty = b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\xbb\0\0\0\x77\1\0\2\0\x10\0data\0\0\0\0"
    with pytest.raises(InputUnusable) as caught:
        probe_duration_s(empty)
    assert caught.value.code == Refusal.AUDIO_TOO_SHORT


@given(kind=st.sampled_from(sorted(ENCODERS)), data=st.data())
def test_a_damaged_file_has_a_length_or_is_refused(kind: str, data: st.DataObject) -> None:
    whole = bytearray(_WHOLE[kind])
    for at in data.draw(st.lists(st.integers(0, min(len(whole), 400) - 1), max_size=8)):
        whole[at] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(whole)))
    code, seconds = None, 0.0
    try:
        seconds = probe_duration_s(bytes(whole[:cut]))
    except InputUnusable as error:
        code = error.code
    assert seconds > 0 or code in (Refusal.AUDIO_UNREADABLE, Refusal.AUDIO_TOO_SHORT)


_WHOLE = {kind: encode(kind, 0.3) for kind in ENCODERS}
