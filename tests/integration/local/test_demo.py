"""`reelgate demo` for real: our gateway, our worker, the shipped model, the official SDK."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from gateway.local.demo import missing_asset

Eventually = Callable[[Callable[[], bool]], None]

DEMO = [sys.executable, "-m", "gateway", "demo"]
KINDS = ["text_to_video", "image_to_video", "digital_human"]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of our own, since other demos may run on this machine."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(missing_asset() is not None, reason="reelgate assets fetch was not run")
def test_the_demo_renders_a_video_of_every_kind_and_leaves_nothing_else(
    tmp_path: Path, temporary: Path
) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        [*DEMO, "--json", "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    videos = json.loads(done.stdout)["videos"]
    assert [video["kind"] for video in videos] == KINDS
    for video in videos:
        with av.open(video["path"]) as file:
            stream = file.streams.video[0]
            frames = sum(1 for _frame in file.decode(stream))
            assert (stream.width, stream.height) == (video["width"], video["height"])
            assert stream.average_rate == video["fps"]
        assert frames == video["frames"]
        assert video["seconds"] == pytest.approx(frames / video["fps"])
        assert video["points"] > 0
    assert {path.name for path in out.iterdir()} == {f"{kind}.mp4" for kind in KINDS}
    with av.open(videos[2]["path"]) as file:
        sound_s = sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))
    assert sound_s == pytest.approx(videos[2]["seconds"], abs=0.1)
    assert not list(temporary.glob("reelgate-demo-*"))


@pytest.mark.slow
def test_a_demo_that_is_told_to_stop_cleans_up(
    tmp_path: Path, temporary: Path, eventually: Eventually
) -> None:
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([*DEMO, "--out", str(tmp_path / "out")], stderr=out)
    try:
        eventually(lambda: "starting a worker" in log.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait()
    assert log.read_text().endswith("demo: interrupted; everything is stopped\n")
    assert not list(temporary.glob("reelgate-demo-*"))


@pytest.mark.slow
def test_a_demo_that_fails_keeps_the_logs(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DEMO, "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "REELGATE_CONFIG_DIR": str(tmp_path / "nowhere")},
    )
    assert done.returncode == 1
    assert f"gateway ended with status 3; the end of {tmp_path / 'logs' / 'gateway.log'}" in (
        done.stderr
    )
    assert done.stderr.endswith(f"All logs: {tmp_path / 'logs'}\n")
    assert (tmp_path / "logs" / "valkey.log").is_file()
