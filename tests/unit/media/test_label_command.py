"""`reelgate label check FILE`, as an inspector would run it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from models.pipeline import Clip
from workers.cli import label as command
from workers.media.encode import encode_video
from workers.media.label import build_label, label_xmp

Label = dict[str, str]


@pytest.fixture
def video(make_clip: Callable[..., Clip], label: Label, tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    encode_video(make_clip(), path, num_frames=9, label=label)
    return path


def _check(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(command, ["check", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_label_is_printed_line_by_line(video: Path) -> None:
    code, out, _ = _check(str(video))
    assert code == 0
    assert out.splitlines()[:3] == [
        "Label: 1",
        "ContentProducer: 示例科技有限公司",
        "ProduceID: job_0001",
    ]


def test_json_is_the_whole_label(video: Path, label: Label) -> None:
    code, out, _ = _check("--json", str(video))
    assert (code, json.loads(out)) == (0, label)


def test_a_missing_file_is_one_line_and_exit_2(tmp_path: Path) -> None:
    code, out, err = _check(str(tmp_path / "gone.mp4"))
    assert (code, out) == (2, "")
    assert err == f"{tmp_path / 'gone.mp4'}: no such file\n"


def test_a_file_without_a_label_is_one_line_and_exit_1(tmp_path: Path) -> None:
    bare = tmp_path / "bare.jpg"
    Image.new("RGB", (32, 32)).save(bare)
    assert _check(str(bare)) == (1, "", "bare.jpg carries no AIGC label\n")


def test_a_file_that_is_no_media_is_one_line_and_exit_1(tmp_path: Path) -> None:
    notes = tmp_path / "notes.mp4"
    notes.write_text("no video\n", encoding="utf-8")
    code, out, err = _check(str(notes))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("notes.mp4 is not media")


def test_a_label_without_its_producer_is_one_line_and_exit_1(tmp_path: Path) -> None:
    anonymous = tmp_path / "anonymous.webp"
    Image.new("RGB", (32, 32)).save(anonymous, xmp=label_xmp(build_label("", "job_1")))
    assert _check(str(anonymous)) == (
        1,
        "",
        "anonymous.webp: its label lacks ContentProducer\n",
    )
