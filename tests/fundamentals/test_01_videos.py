"""What a client does, step by step, with the official SDK against the whole system.

Read from the top: each test adds one idea. What comes out is opened and looked at.
"""

import io
from pathlib import Path

import imageio.v3
import numpy as np
import numpy.typing as npt
import openai
import pytest
from openai import OpenAI
from PIL import Image, ImageDraw

from models.tiny.ruler import measure
from tests.support.stack import is_over, wait_for
from tests.support.weights import has_enhance_weights
from workers.media.label import read_label

Frames = npt.NDArray[np.uint8]


def frames_of(path: Path) -> Frames:
    """Every frame of an MP4: uint8 [T, H, W, 3], RGB."""
    return np.asarray(imageio.v3.imread(path, plugin="pyav"))


def render(client: OpenAI, path: Path, **request: object) -> Frames:
    """Submit, wait, download; the frames of the finished video."""
    video = client.videos.create(**request)  # type: ignore[arg-type]  # by name, as the API has it
    done = wait_for(client, video.id, is_over)
    assert done.status == "completed", done.error
    client.videos.download_content(done.id).write_to_file(path)
    return frames_of(path)


def test_a_prompt_becomes_a_video_of_what_it_says(client: OpenAI, tmp_path: Path) -> None:
    frames = render(
        client,
        tmp_path / "circle.mp4",
        prompt="a red circle moving right on a black background",
        extra_body={"seed": 1},
    )
    reading = measure(frames)
    assert (reading.colour, reading.motion, reading.background) == ("red", "right", "black")
    assert frames.shape == (17, 96, 96, 3)


def test_a_picture_becomes_the_first_frame(client: OpenAI, tmp_path: Path) -> None:
    picture = Image.new("RGB", (96, 96), "black")
    ImageDraw.Draw(picture).rectangle((31, 52, 65, 86), fill=(245, 220, 40))
    file = io.BytesIO()
    picture.save(file, "PNG")
    frames = render(
        client,
        tmp_path / "square.mp4",
        prompt="a yellow square moving up on a black background",
        input_reference=("square.png", file.getvalue(), "image/png"),
        extra_body={"seed": 1},
    )
    assert np.abs(frames[0].astype(int) - np.asarray(picture).astype(int)).mean() < 8
    assert measure(frames).motion == "up"


@pytest.mark.skipif(not has_enhance_weights(), reason="reelgate assets fetch was not run")
def test_a_video_may_be_larger_and_smoother_than_the_model_makes(
    client: OpenAI, tmp_path: Path
) -> None:
    request = {"prompt": "a red circle moving right on a black background"}
    plain = render(client, tmp_path / "plain.mp4", **request, extra_body={"seed": 1})
    raised = {**request, "size": "192x192", "extra_body": {"seed": 1, "fps": 16}}
    larger = render(client, tmp_path / "larger.mp4", **raised)
    assert larger.shape == (33, 192, 192, 3)
    # The same film: shrunk again, its own frames are the model's.
    shrunk = larger[::2].reshape(17, 96, 2, 96, 2, 3).mean((2, 4))
    assert np.abs(shrunk - plain).mean() < 8
    reading = measure(plain)
    assert (reading.colour, reading.motion) == ("red", "right")


def test_the_same_seed_gives_the_same_video(client: OpenAI, tmp_path: Path) -> None:
    request = {"prompt": "a blue square growing on a white background", "extra_body": {"seed": 5}}
    first = render(client, tmp_path / "a.mp4", **request)
    second = render(client, tmp_path / "b.mp4", **request)
    # To rounding: how many threads share a sum depends on what else the machine does.
    assert np.abs(first.astype(int) - second.astype(int)).mean() < 1


def test_every_video_says_that_it_was_generated(client: OpenAI, tmp_path: Path) -> None:
    video = client.videos.create(prompt="a green triangle falling on a white background")
    wait_for(client, video.id, is_over)
    path = tmp_path / "video.mp4"
    client.videos.download_content(video.id).write_to_file(path)
    label = read_label(path)
    assert label is not None
    assert (label["Label"], label["ProduceID"]) == ("1", video.id)


def test_a_thumbnail_and_a_spritesheet_come_with_it(client: OpenAI) -> None:
    video = client.videos.create(prompt="a cyan circle rising on a brown background")
    wait_for(client, video.id, is_over)
    for variant in ("thumbnail", "spritesheet"):
        content = client.videos.download_content(video.id, variant=variant).read()
        with Image.open(io.BytesIO(content)) as picture:
            assert min(picture.size) >= 64


def test_what_the_model_cannot_do_is_refused_by_name(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.videos.create(prompt="a red circle", size="1280x720")
    assert refused.value.param == "size"


def test_a_canceled_job_gives_its_points_back(client: OpenAI) -> None:
    video = client.videos.create(prompt="a white square standing still on a black background")
    client.post(f"/videos/{video.id}/cancel", cast_to=object)
    ended = client.videos.retrieve(video.id)
    extra = ended.model_extra or {}
    assert ended.status in ("failed", "completed")
    if ended.status == "failed":
        assert extra["metadata"]["state"] == "canceled"
        assert extra["usage"]["points_charged"] == 0
