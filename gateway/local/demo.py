"""`reelgate demo`: one text and one image job through a real gateway, with the `openai` SDK."""

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

from gateway.local.processes import LocalError
from gateway.local.stack import LocalStack

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types import Video

MODEL = "reel-tiny"
SECONDS = "2"
SIZE = "64x64"
TEXT_PROMPT = "a red circle moving right on a black background"
IMAGE_PROMPT = "a yellow square moving up on a gray background"

JOB_WITHIN_S = 300.0
POLL_EVERY_S = 0.25


@dataclass(frozen=True)
class DemoVideo:
    """A finished video as the gateway describes it; field names are those of `demo --json`.

    Attributes:
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
    """Render the two videos into `out_dir` with a system of their own, gone at the end.

    Raises:
        LocalError: what failed; the logs are kept under `out_dir/logs`.
    """
    out_dir = out_dir.absolute()
    out_dir.mkdir(parents=True, exist_ok=True)
    data_dir = Path(tempfile.mkdtemp(prefix="reelgate-demo-"))
    try:
        with LocalStack(data_dir, say=say) as stack, _client(stack) as client:
            return [
                _render(stack, client, out_dir, say, prompt=TEXT_PROMPT),
                _render(stack, client, out_dir, say, prompt=IMAGE_PROMPT, image=draw_image()),
            ]
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
    """A PNG of a yellow square on gray, drawn at 64x64 and scaled up to 256x256."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (64, 64), "gray")
    ImageDraw.Draw(image).rectangle((24, 36, 40, 52), fill=(245, 220, 40))
    png = io.BytesIO()
    image.resize((256, 256), Image.Resampling.NEAREST).save(png, "PNG")
    return png.getvalue()


def _render(
    stack: LocalStack,
    client: "OpenAI",
    out_dir: Path,
    say: Callable[[str], None],
    *,
    prompt: str,
    image: bytes | None = None,
) -> DemoVideo:
    say(f"rendering: {prompt}")
    request: dict[str, Any] = {"model": MODEL, "prompt": prompt, "seconds": SECONDS, "size": SIZE}
    if image is not None:
        request["input_reference"] = ("image.png", image, "image/png")
    video = _wait(stack, client, client.videos.create(**request))
    kind = str(_extra(video, "kind"))
    path = out_dir / f"{kind}.mp4"
    client.videos.download_content(video.id).write_to_file(path)
    return _describe(video, kind, prompt, path)


def _wait(stack: LocalStack, client: "OpenAI", video: "Video") -> "Video":
    deadline = time.monotonic() + JOB_WITHIN_S
    while video.status in ("queued", "in_progress"):
        stack.check()
        if time.monotonic() > deadline:
            worker = stack.children[-1]
            raise LocalError(
                f"{video.id} is still {video.status} after {JOB_WITHIN_S:.0f} s; the end of "
                f"{worker.log_path}:\n{worker.log_tail()}"
            )
        time.sleep(POLL_EVERY_S)
        video = client.videos.retrieve(video.id)
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
