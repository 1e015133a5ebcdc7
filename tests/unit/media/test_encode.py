"""The MP4 that clients download, opened again with FFmpeg's eyes."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace

from models.pipeline import Audio, Canceled, Clip, Frame
from models.spec import Stage
from workers.media import encode
from workers.media.encode import EncodeError, encode_video
from workers.media.label import LabelMissing
from workers.media.probe import BT709, probe_video

MakeClip = Callable[..., Clip]
Label = dict[str, str]
NTSC_FILM = Fraction(24000, 1001)


def _boxes(path: Path) -> list[str]:
    """Names of the top-level boxes of an MP4 (ISO/IEC 14496-12), in order."""
    data = path.read_bytes()
    names, position = [], 0
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        names.append(data[position + 4 : position + 8].decode())
        position += size
    return names


def _tone(seconds: float, channels: int = 2, rate: int = 48_000) -> Audio:
    wave = np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * 440 / rate) * 0.5
    return Audio(np.tile(wave.astype(np.float32), (channels, 1)), rate)


def test_the_file_is_what_was_asked_for(make_clip: MakeClip, label: Label, tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    encoded = encode_video(make_clip(17), path, num_frames=17, label=label)
    facts = encoded.facts
    assert (facts.width, facts.height, facts.num_frames) == (96, 64, 17)
    assert (facts.fps, facts.duration_s) == (Fraction(8), 17 / 8)
    assert (facts.codec, facts.pixel_format, facts.audio) == ("h264", "yuv420p", None)
    assert (encoded.path, encoded.size_bytes) == (path, path.stat().st_size)
    assert facts == probe_video(path), "the facts are those of the finished file"
    with av.open(str(path)) as container:
        assert len(list(container.decode(video=0))) == 17


def test_playback_can_start_before_the_download_ends(
    make_clip: MakeClip, label: Label, tmp_path: Path
) -> None:
    path = tmp_path / "video.mp4"
    encode_video(make_clip(), path, num_frames=9, label=label)
    boxes = _boxes(path)
    assert boxes.index("moov") < boxes.index("mdat")


def test_colours_are_tagged_and_come_back(
    make_clip: MakeClip, label: Label, tmp_path: Path
) -> None:
    path = tmp_path / "video.mp4"
    facts = encode_video(make_clip(colour=(200, 50, 30)), path, num_frames=9, label=label).facts
    assert facts.colour == BT709
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    shown = frame.reformat(format="rgb24", src_colorspace=Colorspace.ITU709).to_ndarray()
    error = np.abs(shown.astype(int) - np.array([200, 50, 30]))
    assert error.max() <= 4, "as BT.601 it would be off by 13"


@pytest.mark.parametrize("fps", [Fraction(8), Fraction(24), Fraction(30), NTSC_FILM])
def test_the_frame_rate_is_exact(
    make_clip: MakeClip, label: Label, tmp_path: Path, fps: Fraction
) -> None:
    clip = make_clip(49, fps=fps)
    facts = encode_video(clip, tmp_path / "video.mp4", num_frames=49, label=label).facts
    assert facts.fps == fps
    assert facts.duration_s == pytest.approx(float(49 / fps), abs=1e-3)


@pytest.mark.parametrize("seconds_of_sound", [0.5, 2.0, 3.0])
@pytest.mark.parametrize("fps", [Fraction(8), NTSC_FILM])
def test_sound_lasts_as_long_as_the_picture(
    make_clip: MakeClip, label: Label, tmp_path: Path, seconds_of_sound: float, fps: Fraction
) -> None:
    num_frames = round(2 * fps)
    clip = make_clip(num_frames, fps=fps, audio=_tone(seconds_of_sound))
    facts = encode_video(clip, tmp_path / "video.mp4", num_frames=num_frames, label=label).facts
    assert facts.audio is not None
    assert (facts.audio.codec, facts.audio.sample_rate, facts.audio.channels) == ("aac", 48_000, 2)
    assert abs(facts.audio.duration_s - facts.duration_s) <= 1 / fps


def test_sound_is_heard(make_clip: MakeClip, label: Label, tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    audio = _tone(1.0, channels=1, rate=44_100)
    encode_video(make_clip(16, audio=audio), path, num_frames=16, label=label)
    with av.open(str(path)) as container:
        samples = np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=1)
    half = samples.shape[1] // 2
    assert samples.shape[0] == 1
    assert np.abs(samples[:, 4096 : half - 4096]).max() == pytest.approx(0.5, abs=0.05)
    assert np.abs(samples[:, half + 4096 :]).max() < 0.01, "the second half is silence"


def test_sound_of_three_channels_is_refused(
    make_clip: MakeClip, label: Label, tmp_path: Path
) -> None:
    clip = make_clip(audio=_tone(1.0, channels=3))
    with pytest.raises(EncodeError, match="not 3"):
        encode_video(clip, tmp_path / "video.mp4", num_frames=9, label=label)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("width", "height"), [(95, 64), (96, 63)])
def test_odd_sides_are_refused(
    make_clip: MakeClip, label: Label, tmp_path: Path, width: int, height: int
) -> None:
    with pytest.raises(EncodeError, match=f"even sides, not {width}x{height}"):
        encode_video(
            make_clip(width=width, height=height), tmp_path / "v.mp4", num_frames=9, label=label
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("made", [0, 8, 10])
def test_a_clip_of_another_length_leaves_no_file(
    make_clip: MakeClip, label: Label, tmp_path: Path, made: int
) -> None:
    with pytest.raises(EncodeError):
        encode_video(make_clip(made), tmp_path / "video.mp4", num_frames=9, label=label)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("odd_one", [np.zeros((64, 96), np.uint8), np.zeros((64, 96, 3))])
def test_a_frame_unlike_the_others_leaves_no_file(
    make_clip: MakeClip, label: Label, tmp_path: Path, odd_one: Frame
) -> None:
    clip = Clip(iter([*make_clip(8).frames, odd_one]), Fraction(8))
    with pytest.raises(EncodeError, match="frame 9 is"):
        encode_video(clip, tmp_path / "video.mp4", num_frames=9, label=label)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_frames(make_clip: MakeClip, label: Label, tmp_path: Path) -> None:
    seen: list[tuple[Stage, int, int, int]] = []

    def note(stage: Stage, done: int, total: int, previews: Sequence[Frame] = ()) -> None:
        seen.append((stage, done, total, len(previews)))

    path = tmp_path / "video.mp4"
    encode_video(make_clip(3), path, num_frames=3, label=label, on_step=note)
    previews = (1, 1, 0)
    assert seen == [(Stage.ENCODING, done, 3, previews[done - 1]) for done in (1, 2, 3)]


def test_frames_are_dropped_once_they_are_written(
    label: Label, tmp_path: Path, count_live: Callable[[Frame], int]
) -> None:
    most_alive = 0

    def frames() -> Iterator[Frame]:
        nonlocal most_alive
        for index in range(300):
            frame = np.full((64, 96, 3), index % 256, np.uint8)
            most_alive = max(most_alive, count_live(frame))
            yield frame

    clip = Clip(frames(), Fraction(24))
    encode_video(clip, tmp_path / "video.mp4", num_frames=300, label=label)
    assert most_alive <= 3, "the one being made, the one being written, the first"


def test_a_cancel_halfway_leaves_no_file_and_keeps_the_old_one(
    make_clip: MakeClip, label: Label, tmp_path: Path
) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"from an earlier attempt")

    def stop(_stage: Stage, done: int, _total: int, previews: Sequence[Frame] = ()) -> None:
        del previews
        if done == 5:
            raise Canceled

    with pytest.raises(Canceled):
        encode_video(make_clip(), path, num_frames=9, label=label, on_step=stop)
    assert [file.name for file in tmp_path.iterdir()] == ["video.mp4"]
    assert path.read_bytes() == b"from an earlier attempt"


CRASH = """
import os, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from models.pipeline import Clip
from workers.media.encode import encode_video

def frames():
    for _ in range(200):
        yield np.zeros((64, 96, 3), np.uint8)
    os._exit(9)

encode_video(Clip(frames(), Fraction(8)), Path(sys.argv[1]), num_frames=201, label={})
"""


def test_a_killed_process_leaves_at_most_a_part(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    crashed = subprocess.run(  # our own interpreter and code
        [sys.executable, "-c", CRASH, str(path)], check=False, timeout=60
    )
    assert crashed.returncode == 9
    assert [file.name for file in tmp_path.iterdir()] == ["video.mp4.part"]


def test_a_label_that_does_not_read_back_leaves_no_file(
    make_clip: MakeClip, label: Label, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode, "MP4_FLAGS", "+faststart")
    with pytest.raises(LabelMissing):
        encode_video(make_clip(), tmp_path / "video.mp4", num_frames=9, label=label)
    assert list(tmp_path.iterdir()) == []
