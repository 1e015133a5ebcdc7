"""A viewer of the real system sees what a video becomes before it is finished."""

import io
from pathlib import Path

import httpx2
import numpy as np
from PIL import Image

from models.pipeline import Frame
from tests.support.api import Client
from tests.support.listening import listening
from tests.support.stack import is_over, running_stack, sdk_of, wait_for
from workers.media.probe import open_media


def test_a_listener_sees_previews_that_resemble_the_video(tmp_path: Path) -> None:
    with (
        running_stack(tmp_path / "data") as stack,
        httpx2.Client(base_url=stack.base_url, timeout=30) as http,
    ):
        client = Client(http, stack.api_key)
        with sdk_of(stack) as sdk:
            # Loading the model takes a while; a listener is less patient.
            wait_for(sdk, client.submit(prompt="warm up").json()["id"], is_over)
        video_id = client.submit(prompt="a red circle moves right", seed=3).json()["id"]
        seen: dict[str, bytes] = {}
        stages: set[str] = set()
        with listening(client, f"/videos/{video_id}/events") as listener:
            while True:
                event = listener.next()
                path = event.data.get("preview")
                if path and path not in seen:
                    answer = http.get(path, headers=client.headers)
                    assert answer.headers["content-type"] == "image/jpeg"
                    seen[path] = answer.content
                    stages.add(event.data["stage"])
                if event.name == "terminal":
                    break
        video = tmp_path / "video.mp4"
        video.write_bytes(client.get(f"/videos/{video_id}/content").content)
    frames = decode(video)
    assert event.data["status"] == "completed"
    assert stages == {"denoising", "encoding"}
    for jpeg in seen.values():
        with Image.open(io.BytesIO(jpeg)) as picture:
            shown = np.asarray(picture.convert("RGB"), dtype=np.float64)
        assert shown.shape == frames[0].shape
        distances = [np.sqrt(np.mean((shown - frame) ** 2)) for frame in frames]
        assert min(distances) < 20
        assert np.sqrt(np.mean((shown - shown.mean()) ** 2)) > 20, "more than one grey"


def decode(path: Path) -> list[Frame]:
    """All frames, RGB."""
    with open_media(path) as container:
        pictures = container.decode(video=0)
        return [picture.to_ndarray(format="rgb24").astype(np.uint8) for picture in pictures]
