"""Users' recordings: every kind is heard, and what nobody could use is refused with numbers."""

import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from models.pipeline import InputRefused
from models.refusal import Refusal
from models.speech.loudness import PEAK, TARGET_LUFS, envelope, loudness_lufs
from models.speech.probe import probe_duration_s
from models.speech.recording import read_recording
from models.speech.voice import SAMPLE_RATE
from tests.support.sounds import ENCODERS, encode, encode_samples

RATE = 48_000
Samples = npt.NDArray[np.float32]


def refusal(path: Path) -> InputRefused:
    with pytest.raises(InputRefused) as caught:
        read_recording(path)
    return caught.value


def write_wav(path: Path, samples: Samples, rate: int = RATE) -> Path:
    path.write_bytes(encode_samples(samples.astype(np.float32), rate, "wav", "pcm_f32le"))
    return path


def tone(seconds: float, level: float = 0.1, rate: int = RATE) -> Samples:
    times = np.arange(int(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * 220 * times))[None].astype(np.float32)


@pytest.mark.parametrize("kind", ENCODERS)
def test_each_kind_is_read_and_made_as_loud_as_the_others(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"sound.{kind}"
    path.write_bytes(encode(kind, 2.0, channels=2))
    recording = read_recording(path)
    assert recording.audio.samples.shape[0] == 2
    assert recording.audio.sample_rate == RATE
    assert recording.audio.samples.shape[1] / RATE == pytest.approx(2.0, abs=0.08)
    assert len(recording.mono) / SAMPLE_RATE == pytest.approx(2.0, abs=0.08)
    assert loudness_lufs(recording.audio.samples, RATE) == pytest.approx(TARGET_LUFS, abs=0.3)


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("seconds", [1.0, 1.25, 3.0, 2.717])
def test_a_recording_lasts_as_long_as_its_file_said_before(
    rate: int, seconds: float, tmp_path: Path
) -> None:
    path = tmp_path / "sound.m4a"
    path.write_bytes(encode("m4a", seconds, rate=rate))
    told_s = probe_duration_s(path.read_bytes())
    audio = read_recording(path).audio
    assert told_s == pytest.approx(seconds, abs=0.0015)
    assert audio.samples.shape[1] / audio.sample_rate == pytest.approx(told_s, abs=0.0015)


def test_loudness_is_that_of_the_standard() -> None:
    """EBU Tech 3341, case 1: a stereo tone of 1 kHz at -23 dBFS is -23 LUFS."""
    times = np.arange(20 * RATE) / RATE
    signal = 10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * times)
    assert loudness_lufs(np.stack([signal] * 2).astype(np.float32), RATE) == pytest.approx(
        -23, abs=0.1
    )


def test_peaks_stay_below_full_scale(tmp_path: Path) -> None:
    samples = tone(3.0, 0.01)
    samples[:, 70_000:70_100] = 0.9
    recording = read_recording(write_wav(tmp_path / "a.wav", samples))
    assert np.abs(recording.audio.samples).max() <= PEAK + 1e-6


def test_a_high_rate_comes_down_to_48_khz(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(1.0, rate=96_000), rate=96_000)
    assert read_recording(path).audio.sample_rate == RATE


@pytest.mark.parametrize(
    ("rate", "kept"), [(8_000, 16_000), (11_000, 16_000), (22_050, 22_050), (44_056, 44_100)]
)
def test_a_soundtrack_has_a_rate_that_every_container_takes(
    rate: int, kept: int, tmp_path: Path
) -> None:
    recording = read_recording(write_wav(tmp_path / "a.wav", tone(1.0, rate=rate), rate=rate))
    assert recording.audio.sample_rate == kept
    assert recording.audio.samples.shape[1] == pytest.approx(kept, abs=2)


def test_a_recording_with_one_channel_turned_round_is_heard(tmp_path: Path) -> None:
    channel = tone(2.0)[0]
    recording = read_recording(write_wav(tmp_path / "a.wav", np.stack([channel, -channel])))
    assert np.abs(recording.mono).max() > 0.1


def test_an_envelope_keeps_time_at_every_rate() -> None:
    rate = 22_050
    samples = np.zeros(rate * 60, np.float32)
    samples[rate * 55 : rate * 55 + 200] = 0.5
    assert np.flatnonzero(envelope(samples, rate)).mean() == pytest.approx(5500, abs=1)


def test_tagged_flac_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10) + encode("flac", 2.0))
    assert read_recording(path).audio.samples.shape[1] == pytest.approx(2 * RATE, abs=10)


def test_silence_is_refused(tmp_path: Path) -> None:
    assert (
        refusal(write_wav(tmp_path / "a.wav", np.zeros((1, RATE), np.float32))).code
        == Refusal.AUDIO_SILENT
    )
    faint = refusal(write_wav(tmp_path / "b.wav", tone(2.0, 0.001)))
    assert faint.code == Refusal.AUDIO_SILENT
    assert "LUFS, speech needs -50 LUFS" in faint.message


def test_a_clipped_recording_is_refused_with_its_share(tmp_path: Path) -> None:
    error = refusal(write_wav(tmp_path / "a.wav", np.clip(tone(2.0, 3.0), -1, 1)))
    assert error.code == Refusal.AUDIO_CLIPPED
    assert "% of its samples are cut off, 0.5% are allowed" in error.message


def test_a_loud_recording_that_only_touches_full_scale_is_taken(tmp_path: Path) -> None:
    read_recording(write_wav(tmp_path / "a.wav", tone(2.0, 0.9985)))


def test_length_has_limits_on_both_sides(tmp_path: Path) -> None:
    short = refusal(write_wav(tmp_path / "a.wav", tone(0.2)))
    assert (short.code, "0.20 s, it needs 0.5 s" in short.message) == (
        Refusal.AUDIO_TOO_SHORT,
        True,
    )
    read_recording(write_wav(tmp_path / "b.wav", tone(60.0, rate=8000), rate=8000))
    long = refusal(write_wav(tmp_path / "c.wav", tone(61.0, rate=8000), rate=8000))
    assert (long.code, "60 s" in long.message) == (Refusal.AUDIO_TOO_LONG, True)


def test_decoding_an_endless_file_stops_after_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    original = np.clip

    def counted(samples: Samples, low: float, high: float) -> Samples:
        decoded.append(1)
        return original(samples, low, high)

    monkeypatch.setattr(np, "clip", counted)
    path = tmp_path / "a.flac"
    path.write_bytes(encode_samples(np.zeros((1, 600 * 8000), np.float32), 8000, "flac", "flac"))
    assert refusal(path).code == Refusal.AUDIO_TOO_LONG
    assert 0 < len(decoded) < 1000, "ten minutes have over 8000 frames"


@pytest.mark.parametrize("channels", [6, 8])
def test_more_than_two_channels_are_refused(channels: int, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((channels, 2, RATE, 0, "NONE", ""))
        file.writeframes(np.repeat((tone(1.0)[0] * 2**15).astype(np.int16), channels).tobytes())
    error = refusal(tmp_path / "a.wav")
    assert error.code == Refusal.AUDIO_CHANNELS
    assert f"{channels} channels, 2 are allowed" in error.message


@pytest.mark.parametrize(
    "data",
    [b"", b"not a sound", b"RIFF\xff\xff\xff\xffWAVE" + b"\x00" * 200, b"fLaC" + b"\xff" * 300,
     b"OggS" + b"\x01" * 300, b"\x00\x00\x00\x20ftypM4A " + b"\x07" * 300],
)  # fmt: skip
def test_what_is_no_sound_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    assert refusal(path).code in (Refusal.AUDIO_UNREADABLE, Refusal.AUDIO_TOO_SHORT)


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_file_that_was_cut_off_is_heard_or_refused(kind: str, tmp_path: Path) -> None:
    whole = encode(kind, 2.0)
    path = tmp_path / "a.bin"
    for share in (0.02, 0.3, 0.7):
        path.write_bytes(whole[: int(len(whole) * share)])
        try:
            assert len(read_recording(path).mono) > 0
        except InputRefused as error:
            assert error.code in (Refusal.AUDIO_UNREADABLE, Refusal.AUDIO_TOO_SHORT)  # noqa: PT017 -- both are fine


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(encode("wav", 1.0))
    playlist = tmp_path / "list.wav"
    playlist.write_text(f"ffconcat version 1.0\nfile {tmp_path / 'secret.wav'}\n")
    assert refusal(playlist).code == Refusal.AUDIO_UNREADABLE
