"""The generated-content label: written, read back, lost by careless tools, noticed."""

import json
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models.pipeline import Clip
from workers.media.encode import encode_video
from workers.media.label import (
    MP4_FLAGS,
    LabelMissing,
    build_label,
    check_label,
    label_xmp,
    read_label,
)
from workers.media.probe import UnreadableMedia

Label = dict[str, str]


@pytest.fixture
def video(make_clip: Callable[..., Clip], label: Label, tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    encode_video(make_clip(), path, num_frames=9, label=label)
    return path


def _copy(source: Path, target: Path, flags: str, extra: dict[str, str]) -> None:
    """What `ffmpeg -c copy` does: the same packets and metadata in a new file."""
    options = {"movflags": flags}
    with av.open(str(source)) as old, av.open(str(target), "w", options=options) as new:
        new.metadata.update({**old.metadata, **extra})
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)


def test_a_label_has_the_seven_fields_of_the_standard() -> None:
    assert build_label("Reelgate", "job_1") == {
        "Label": "1",
        "ContentProducer": "Reelgate",
        "ProduceID": "job_1",
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }


def test_a_chinese_producer_comes_back_from_the_file(video: Path, label: Label) -> None:
    assert label["ContentProducer"] == "示例科技有限公司"
    assert read_label(video) == label
    check_label(video, label)


def test_the_file_holds_plain_json_under_the_key(video: Path, label: Label) -> None:
    with av.open(str(video)) as container:
        assert json.loads(container.metadata["AIGC"]) == label
    assert "示例科技有限公司".encode() in video.read_bytes()


def test_copying_without_the_flag_loses_the_label_and_is_noticed(
    video: Path, label: Label, tmp_path: Path
) -> None:
    careless = tmp_path / "careless.mp4"
    _copy(video, careless, "+faststart", {})
    assert read_label(careless) is None
    with pytest.raises(LabelMissing, match=r"careless\.mp4 carries no AIGC label"):
        check_label(careless, label)


def test_copying_with_the_flag_keeps_the_label(video: Path, label: Label, tmp_path: Path) -> None:
    careful = tmp_path / "careful.mp4"
    _copy(video, careful, MP4_FLAGS, {})
    check_label(careful, label)


def test_the_label_of_another_job_is_noticed(video: Path) -> None:
    with pytest.raises(LabelMissing, match="differs in ContentProducer, ProduceID"):
        check_label(video, build_label("Someone else", "job_2"))


@pytest.mark.parametrize("text", ["{", '["1"]', '{"Label": 1}'])
def test_a_broken_label_is_not_a_label(video: Path, tmp_path: Path, text: str) -> None:
    broken = tmp_path / "broken.mp4"
    _copy(video, broken, MP4_FLAGS, {"AIGC": text})
    with pytest.raises(LabelMissing, match=r"broken\.mp4: its AIGC label is not"):
        read_label(broken)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_pictures_carry_the_label_too(label: Label, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"still.{suffix}"
    label["ContentProducer"] = 'Müller & Söhne <"示例">'
    picture = Image.new("RGB", (32, 32))
    if suffix == "png":
        chunks = PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", label_xmp(label).decode())
        picture.save(path, pnginfo=chunks)
    else:
        picture.save(path, xmp=label_xmp(label))
    assert read_label(path) == label


def test_a_picture_without_a_label_has_none(tmp_path: Path) -> None:
    path = tmp_path / "still.webp"
    Image.new("RGB", (32, 32)).save(path)
    assert read_label(path) is None


@pytest.mark.parametrize("name", ["notes.mp4", "notes.png", "notes.txt"])
def test_a_file_that_is_no_media_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"just some words, and no picture\n" * 50)
    with pytest.raises(UnreadableMedia, match=name):
        read_label(path)


@pytest.mark.parametrize("name", ["gone.mp4", "gone.png"])
def test_a_missing_file_is_a_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError):
        read_label(tmp_path / name)
