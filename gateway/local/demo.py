"""`reelgate demo`: a video of every kind through a real gateway, with the `openai` SDK."""

import contextlib
import io
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.local.portrait import draw_portrait
from gateway.local.processes import LocalError
from gateway.local.stack import LocalStack
from models.assets import AssetMissing, asset_path
from models.assets.manifest import FILES

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types import Video

MODEL = "reel-tiny"
SECONDS = "2"
SIZE = "96x96"
TEXT_PROMPT = "a red circle moving right on a black background"
IMAGE_PROMPT = "a yellow square moving up on a gray background"

AVATAR_MODEL = "reel-avatar"
AVATAR_SIZE = "720x720"
SPOKEN_TEXT = "Hello, and welcome to Reelgate."
ASSETS_OF_AVATAR = ("face/", "speech/en/")

JOB_WITHIN_S = 300.0
POLL_EVERY_S = 0.25


@dataclass(frozen=True)
class DemoVideo:
    """A finished video as the gateway describes it; field names are those of `demo --json`.

    Attributes:
        prompt: of a digital human, what it says.
        path: the MP4, absolute.
        seconds: length, `frames / fps`.
        points: charged for it.
    """

    id: str
    kind: str
    prompt: str
    path: str
    width: int
    height: int
    fps: float
    frames: int
    seconds: float
    points: int


def run_demo(out_dir: Path, say: Callable[[str], None]) -> list[DemoVideo]:
    """Render a video of every kind into `out_dir` with a system of their own, gone at the end.

    Without the weights of voices and faces there is no digital human, and `say` tells so.

    Raises:
        LocalError: what failed; the logs are kept under `out_dir/logs`.
    """
    out_dir = out_dir.absolute()
    out_dir.mkdir(parents=True, exist_ok=True)
    data_dir = Path(tempfile.mkdtemp(prefix="reelgate-demo-"))
    try:
        with LocalStack(data_dir, say=say) as stack, _client(stack) as client:
            renderer = _Renderer(stack, client, out_dir, say)
            videos = [
                renderer.render(TEXT_PROMPT, _tiny(TEXT_PROMPT)),
                renderer.render(IMAGE_PROMPT, _tiny(IMAGE_PROMPT, image=draw_image())),
            ]
            missing = missing_asset()
            if missing is not None:
                say(f"no digital human: {missing}")
                return videos
            return [*videos, renderer.render(SPOKEN_TEXT, _talking(SPOKEN_TEXT))]
    except LocalError as error:
        raise _with_kept_logs(error, data_dir / "logs", out_dir / "logs") from error
    finally:
        shutil.rmtree(data_dir, ignore_errors=True)


def _with_kept_logs(error: LocalError, logs: Path, kept: Path) -> LocalError:
    """Copy `logs` to `kept`; the same error, naming the place that stays."""
    if not logs.exists():
        return error
    shutil.copytree(logs, kept, dirs_exist_ok=True)
    return LocalError(f"{str(error).replace(str(logs), str(kept))}\nAll logs: {kept}")


@contextlib.contextmanager
def _client(stack: LocalStack) -> "Iterator[OpenAI]":
    try:
        import openai
    except ImportError:
        raise LocalError("the demo needs the openai package: install the extra `local`") from None
    with warnings.catch_warnings():
        # The SDK calls its video methods deprecated, since the service they were made for ended.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            with openai.OpenAI(base_url=f"{stack.base_url}/v1", api_key=stack.api_key) as client:
                yield client
        except openai.OpenAIError as error:
            raise LocalError(f"the gateway refused: {error}") from error


def draw_image() -> bytes:
    """A PNG of a yellow square on gray, drawn at 64x64 and scaled up to 384x384."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (64, 64), "gray")
    ImageDraw.Draw(image).rectangle((20, 34, 43, 57), fill=(245, 220, 40))
    png = io.BytesIO()
    image.resize((384, 384), Image.Resampling.NEAREST).save(png, "PNG")
    return png.getvalue()


def missing_asset() -> str | None:
    """What digital humans lack on this machine, as a sentence; None if nothing."""
    try:
        for name in FILES:
            if name.startswith(ASSETS_OF_AVATAR):
                asset_path(name)
    except AssetMissing as missing:
        return str(missing)
    return None


def _tiny(prompt: str, image: bytes | None = None) -> dict[str, Any]:
    request: dict[str, Any] = {"model": MODEL, "prompt": prompt, "seconds": SECONDS, "size": SIZE}
    if image is not None:
        request["input_reference"] = ("image.png", image, "image/png")
    return request


def _talking(text: str) -> dict[str, Any]:
    speech = {"type": "text", "text": text, "language": "en"}
    return {
        "model": AVATAR_MODEL,
        # The SDK wants one; what is said goes into `speech`.
        "prompt": "",
        "size": AVATAR_SIZE,
        "input_reference": ("portrait.png", draw_portrait(), "image/png"),
        "extra_body": {"speech": speech, "emotion": {"name": "happy", "intensity": 2}},
    }


@dataclass(frozen=True)
class _Renderer:
    stack: LocalStack
    client: "OpenAI"
    out_dir: Path
    say: Callable[[str], None]

    def render(self, prompt: str, request: dict[str, Any]) -> DemoVideo:
        self.say(f"rendering: {prompt}")
        video = self._wait(self.client.videos.create(**request))
        kind = str(_extra(video, "kind"))
        path = self.out_dir / f"{kind}.mp4"
        self.client.videos.download_content(video.id).write_to_file(path)
        return _describe(video, kind, prompt, path)

    def _wait(self, video: "Video") -> "Video":
        deadline = time.monotonic() + JOB_WITHIN_S
        while video.status in ("queued", "in_progress"):
            self.stack.check()
            if time.monotonic() > deadline:
                worker = self.stack.children[-1]
                raise LocalError(
                    f"{video.id} is still {video.status} after {JOB_WITHIN_S:.0f} s; the end of "
                    f"{worker.log_path}:\n{worker.log_tail()}"
                )
            time.sleep(POLL_EVERY_S)
            video = self.client.videos.retrieve(video.id)
        if video.status != "completed":
            raise LocalError(f"{video.id} ended as {video.status}: {video.error}")
        return video


def _extra(video: "Video", name: str) -> Any:  # noqa: ANN401 -- a JSON value the SDK has no type for
    extras = video.model_extra or {}
    if name not in extras:
        raise LocalError(f"the gateway's answer for {video.id} lacks `{name}`")
    return extras[name]


def _describe(video: "Video", kind: str, prompt: str, path: Path) -> DemoVideo:
    facts = _extra(video, "metadata")
    return DemoVideo(
        id=video.id,
        kind=kind,
        prompt=prompt,
        path=str(path),
        width=facts["width"],
        height=facts["height"],
        fps=facts["fps"],
        frames=facts["num_frames"],
        seconds=facts["num_frames"] / facts["fps"],
        points=_extra(video, "usage")["points_charged"],
    )
