"""A viewer of the real system sees what a video becomes before it is finished."""

import io
from pathlib import Path

import av
import httpx2
import numpy as np
from PIL import Image

from tests.support.api import Client
from tests.support.listening import listening
from tests.support.stack import running_stack


def test_a_listener_sees_previews_that_resemble_the_video(tmp_path: Path) -> None:
    with (
        running_stack(tmp_path / "data") as stack,
        httpx2.Client(base_url=stack.base_url, timeout=30) as http,
    ):
        client = Client(http, stack.api_key)
        video_id = client.submit(prompt="a red circle moves right", seed=3).json()["id"]
        seen: dict[str, bytes] = {}
        with listening(client, f"/videos/{video_id}/events") as listener:
            while True:
                event = listener.next()
                path = event.data.get("preview")
                if path and path not in seen:
                    answer = http.get(path, headers=client.headers)
                    assert answer.headers["content-type"] == "image/jpeg"
                    seen[path] = answer.content
                if event.name == "terminal":
                    break
        frames = decode(client.get(f"/videos/{video_id}/content").content)
    assert event.data["status"] == "completed"
    assert len(seen) >= 2, "one while it was denoised, one of what was encoded"
    for jpeg in seen.values():
        with Image.open(io.BytesIO(jpeg)) as picture:
            shown = np.asarray(picture.convert("RGB"), dtype=np.float64)
        assert shown.shape == (64, 64, 3)
        distances = [np.sqrt(np.mean((shown - frame) ** 2)) for frame in frames]
        assert min(distances) < 20
        assert np.sqrt(np.mean((shown - shown.mean()) ** 2)) > 20, "more than one grey"


def decode(mp4: bytes) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """All frames, uint8 [H, W, 3], RGB."""
    with av.open(io.BytesIO(mp4)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
