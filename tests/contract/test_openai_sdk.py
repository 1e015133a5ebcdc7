"""The official SDK against a real port: what it sends is understood, what it reads is there."""

import base64
import io
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import openai
import pytest
from openai import OpenAI

from gateway.protocol import InputRole
from gateway.services import Services
from models.spec import Emotion, EmotionName, Performance, SpokenText
from tests.conftest import WORKER_TOKEN
from tests.contract.conftest import Server
from tests.support.api import PROMPT, VIDEO_BYTES, PaperWorker, png_bytes
from tests.support.talking import data_url, recorded

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def sdk(server: Server) -> Iterator[OpenAI]:
    """The SDK with an account's key."""
    with warnings.catch_warnings():
        # Its video methods are deprecated since the service they were made for has ended.
        warnings.simplefilter("ignore", DeprecationWarning)
        with OpenAI(base_url=f"{server.base_url}/v1", api_key=server.key) as client:
            yield client


@pytest.fixture
def worker(server: Server) -> Iterator[PaperWorker]:
    """A worker over HTTP."""
    with httpx2.Client(base_url=server.base_url) as http:
        yield PaperWorker(http, WORKER_TOKEN)


def test_create_poll_download(sdk: OpenAI, worker: PaperWorker) -> None:
    with ThreadPoolExecutor(1) as pool:
        polling = pool.submit(
            sdk.videos.create_and_poll,
            model="reel-tiny",
            prompt=PROMPT,
            seconds="2",  # type: ignore[arg-type]  # the SDK's own lengths
        )
        while not (jobs := worker.claim()):
            assert not polling.done()
        worker.finish(jobs[0])
        video = polling.result(timeout=20)
    assert (video.status, video.progress, video.seconds) == ("completed", 100, "2")
    assert sdk.videos.download_content(video.id).read() == VIDEO_BYTES
    assert (video.model_extra or {})["usage"]["points_charged"] == 10


def test_a_picture_and_extra_fields_arrive_as_sent(sdk: OpenAI, worker: PaperWorker) -> None:
    video = sdk.videos.create(
        prompt=PROMPT,
        input_reference=("photo.png", io.BytesIO(png_bytes()), "image/png"),
        extra_body={"seed": 7, "guidance_scale": 2.5, "metadata": {"shot": "3"}},
    )
    assert (video.model_extra or {})["kind"] == "image_to_video"
    assert (video.model_extra or {})["metadata"]["shot"] == "3"
    [assignment] = worker.claim()
    assert (assignment.spec.seed, assignment.spec.guidance_scale) == (7, 2.5)


def test_a_data_url_in_extra_body_is_a_picture(sdk: OpenAI) -> None:
    url = "data:image/png;base64," + base64.b64encode(png_bytes()).decode()
    video = sdk.videos.create(prompt=PROMPT, extra_body={"input_reference": {"image_url": url}})
    assert (video.model_extra or {})["kind"] == "image_to_video"


@pytest.mark.parametrize("way", ["file", "data_url"])
def test_a_digital_human_speaks_a_text(sdk: OpenAI, worker: PaperWorker, way: str) -> None:
    speech = {"type": "text", "text": "Hello there.", "language": "en", "speed": 1.25}
    extra = {"speech": speech, "emotion": {"name": "happy", "intensity": 4}, "motion": 0.5}
    picture = png_bytes(256, 256)
    if way == "file":
        video = sdk.videos.create(
            prompt="", input_reference=("me.png", picture, "image/png"), extra_body=extra
        )
    else:
        reference = {"image_url": data_url(picture, "image/png")}
        video = sdk.videos.create(prompt="", extra_body={**extra, "input_reference": reference})
    assert (video.model_extra or {})["kind"] == "digital_human"
    [job] = worker.claim()
    assert job.spec.performance == Performance(
        speech=SpokenText(text="Hello there.", language="en", speed=1.25),
        emotion=Emotion(name=EmotionName.HAPPY, intensity=4),
    )


def test_a_recording_goes_along_as_a_data_url(sdk: OpenAI, worker: PaperWorker) -> None:
    video = sdk.videos.create(
        prompt="",
        size="720x1280",
        input_reference=("me.png", png_bytes(256, 256), "image/png"),
        extra_body={"speech": recorded(1.5), "emotion": "sad"},
    )
    assert (video.seconds, video.size) == ("1.5", "720x1280")
    [job] = worker.claim()
    assert {file.role for file in job.inputs} == {InputRole.IMAGE, InputRole.AUDIO}


def test_pages_run_through_to_the_end(sdk: OpenAI) -> None:
    ids = {sdk.videos.create(prompt=PROMPT).id for _ in range(5)}
    assert {video.id for video in sdk.videos.list(limit=2)} == ids


def test_delete_and_cancel(sdk: OpenAI, server: Server) -> None:
    video = sdk.videos.create(prompt=PROMPT)
    canceled = sdk.post(f"/videos/{video.id}/cancel", cast_to=httpx2.Response)
    assert canceled.status_code == 200
    assert sdk.videos.retrieve(video.id).status == "failed"
    assert sdk.videos.delete(video.id).deleted is True
    with pytest.raises(openai.NotFoundError):
        sdk.videos.retrieve(video.id)


def test_refusals_are_read_and_not_retried(sdk: OpenAI, services: Services) -> None:
    with pytest.raises(openai.BadRequestError) as wrong:
        sdk.videos.create(prompt=PROMPT, size="720x1280")
    assert (wrong.value.code, wrong.value.param) == ("invalid_parameter", "size")
    for _ in range(6):
        sdk.videos.create(prompt=PROMPT)
    with pytest.raises(openai.APIStatusError) as broke:
        sdk.videos.create(prompt=PROMPT)
    assert (broke.value.status_code, broke.value.code) == (402, "insufficient_points")
    counted = services.metrics.registry.get_sample_value(
        "reelgate_http_requests_total", {"method": "POST", "route": "/v1/videos", "status": "402"}
    )
    assert counted == 1
