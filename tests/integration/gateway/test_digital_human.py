"""A digital human from the request to the settled job, played by a worker on paper."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.accounts.service import create_key, ensure_account
from gateway.protocol import FailCode, FailureCode, InputRole
from gateway.services import Services
from models.refusal import Refusal
from models.spec import EmotionName, Kind, SpokenAudio, SpokenText
from tests.support.api import Client, PaperWorker, png_bytes
from tests.support.talking import MODEL, TEXT, add_talker, data_url, recorded, talking, wav_bytes

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def config_dir(config_dir: Path) -> Path:
    """A catalogue with a digital human."""
    add_talker(config_dir)
    return config_dir


@pytest.fixture
def client(services: Services, make_client: Callable[[str], Client]) -> Client:
    """An account of the plan with 100 points a day and 60 seconds."""
    now = services.clock.now()
    with services.database.write() as connection:
        account_id = ensure_account(connection, "talkative", plan_id="top", now=now)
        key = create_key(connection, account_id, now=now)
    return Client(make_client("ada").http, key)


def submit(client: Client, **fields: Any) -> Any:
    """Post a digital human as JSON; the raw response."""
    return client.post("/videos", json=talking(**fields))


def points(client: Client) -> int:
    """What the account has left."""
    left: int = client.get("/points").json()["available"]
    return left


def test_presence_of_speech_makes_it_a_digital_human(client: Client, worker: PaperWorker) -> None:
    video = submit(
        client,
        speech={"type": "text", "text": TEXT, "language": "en", "voice_id": "ann", "speed": 1.5},
        emotion="happy",
        motion=0.25,
        face=1,
    ).json()
    assert (video["kind"], video["model"], video["prompt"]) == ("digital_human", MODEL, "")
    [job] = worker.claim()
    assert job.spec.kind is Kind.DIGITAL_HUMAN
    performance = job.spec.performance
    assert performance is not None
    assert performance.speech == SpokenText(text=TEXT, language="en", voice_id="ann", speed=1.5)
    assert (performance.emotion.name, performance.emotion.intensity) == (EmotionName.HAPPY, 3)
    assert (performance.motion, performance.face) == (0.25, 1)
    assert [file.role for file in job.inputs] == [InputRole.IMAGE]


def test_what_came_out_is_charged_and_the_rest_given_back(
    client: Client, worker: PaperWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.jobs.speech.estimate_seconds", lambda *_args: 6.0)
    video = submit(client).json()
    assert (video["usage"]["points_held"], video["seconds"]) == (60, "6")
    assert points(client) == 40
    [job] = worker.claim()
    assert (job.spec.num_frames, job.spec.fps) == (120, 20)

    worker.finish(job, num_frames=84, audio_s=4.2, checks={"sync_r": 0.61})

    done = client.video(video["id"])
    assert (done["status"], done["usage"]["points_charged"], done["seconds"]) == (
        "completed",
        42,
        "4.2",
    )
    assert done["metadata"]["checks"] == {"sync_r": 0.61}
    assert (done["metadata"]["audio_s"], done["metadata"]["duration_s"]) == (4.2, 4.2)
    assert points(client) == 58


def test_more_than_was_held_is_never_charged(client: Client, worker: PaperWorker) -> None:
    video = submit(client, speech=recorded(2.0)).json()
    assert video["usage"]["points_held"] == 20
    [job] = worker.claim()
    worker.finish(job, num_frames=80)
    assert client.video(video["id"])["usage"]["points_charged"] == 20


def test_a_recording_is_kept_as_given_and_counted_exactly(
    client: Client, worker: PaperWorker, services: Services
) -> None:
    video = submit(client, speech=recorded(2.05)).json()
    assert (video["seconds"], video["usage"]["points_held"]) == ("2.05", 21)
    [job] = worker.claim()
    assert job.spec.num_frames == 41
    assert job.spec.performance is not None
    assert job.spec.performance.speech == SpokenAudio()
    assert {file.role for file in job.inputs} == {InputRole.IMAGE, InputRole.AUDIO}
    root = services.settings.storage_dir
    assert root is not None
    [stored] = root.rglob("audio")
    assert stored.read_bytes() == wav_bytes(2.05)

    assert client.post(f"/videos/{video['id']}/cancel").status_code == 200
    assert not [path for path in root.rglob("*") if path.is_file()]
    assert points(client) == 100


@pytest.mark.parametrize(
    "code", [*Refusal, FailureCode.CHECK_FAILED], ids=lambda code: str(code.value)
)
def test_what_a_worker_refuses_fails_at_once_and_is_refunded(
    client: Client, worker: PaperWorker, code: FailCode
) -> None:
    video = submit(client).json()
    [job] = worker.claim()
    message = "The picture shows 2 faces; say with `face` which one speaks."
    worker.fail(job, retryable=False, code=code, message=message)
    failed = client.video(video["id"])
    assert failed["status"] == "failed"
    assert failed["error"] == {"code": code.value, "message": message, "refunded": True}
    assert points(client) == 100
    assert worker.claim() == []


def test_the_same_recording_again_is_the_same_job(client: Client) -> None:
    body = talking(speech=recorded(2.0))
    other = talking(speech=recorded(2.5))
    headers = {"Idempotency-Key": "k1", **client.headers}
    answers = [
        client.http.post("/v1/videos", json=each, headers=headers) for each in (body, body, other)
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 422]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    assert points(client) == 80


def test_a_form_carries_recording_and_numbers_as_text(client: Client, worker: PaperWorker) -> None:
    answer = client.http.post(
        "/v1/videos",
        data={
            "speech[type]": "audio",
            "emotion[name]": "sad",
            "emotion[intensity]": "5",
            "motion": "0.75",
            "face": "0",
            "aspect_ratio": "9:16",
            "resolution": "720p",
        },
        files={
            "input_reference": ("me.png", png_bytes(), "image/png"),
            "speech[audio]": ("me.wav", wav_bytes(1.0), "audio/wav"),
        },
        headers=client.headers,
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["size"] == "720x1280"
    [job] = worker.claim()
    assert job.spec.performance is not None
    assert job.spec.performance.emotion.intensity == 5
    assert (job.spec.performance.motion, job.spec.num_frames) == (0.75, 20)


def test_a_model_tells_its_voices(client: Client) -> None:
    card = client.get(f"/models/{MODEL}").json()
    assert [voice["id"] for voice in card["voices"]] == ["mei", "ann"]
    assert card["languages"] == ["zh", "en"]
    assert card["emotions"] == [str(name) for name in EmotionName]
    assert client.get("/models/reel-tiny").json()["emotions"] == []


def test_an_estimate_holds_nothing(client: Client) -> None:
    estimate = client.post("/videos/estimate", json=talking(speech=recorded(3.0), fps=40)).json()
    assert (estimate["points"], estimate["breakdown"]["seconds"]) == (45, "3")
    assert points(client) == 100


def test_a_dearer_one_than_there_are_points_names_one_of_the_same_length(client: Client) -> None:
    answer = submit(client, speech=recorded(8.0), fps=40, size="1080x1920")
    error = answer.json()["error"]
    assert (answer.status_code, error["required"]) == (402, 240)
    cheaper = error["cheaper_request"]
    assert (cheaper["seconds"], cheaper["fps"], cheaper["points"]) == (8.0, 20, 80)


def test_a_plan_without_it_names_the_smallest_that_has_it(
    make_client: Callable[[str], Client],
) -> None:
    answer = make_client("ada").post("/videos", json=talking(speech=recorded(5.5)))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (403, "plan_limit", "seconds")
    assert (error["limit"], error["value"], error["smallest_plan"]) == (5, 5.5, "plus")


def test_what_was_said_is_forgotten_with_the_video(client: Client, services: Services) -> None:
    video_id = submit(client, speech={"type": "text", "text": "a secret"}).json()["id"]
    assert client.delete(f"/videos/{video_id}").status_code == 200
    with services.database.read() as connection:
        [row] = connection.exec_driver_sql("SELECT spec FROM job").all()
    assert "secret" not in str(row.spec)


SPOKEN = {"type": "text", "text": TEXT}


@pytest.mark.parametrize(
    ("fields", "code", "param", "limit", "value"),
    [
        ({"speech": {"text": TEXT}}, "invalid_parameter", "speech.type", ["text", "audio"], None),
        ({"speech": {"type": "song"}}, "invalid_parameter", "speech.type", None, "song"),
        ({"speech": {"type": "text"}}, "invalid_parameter", "speech.text", "required", None),
        ({"speech": {"type": "audio"}}, "invalid_parameter", "speech.audio", "required", None),
        ({"speech": "hello"}, "invalid_parameter", "speech", None, "hello"),
        ({"speech": {**SPOKEN, "tone": 1}}, "unknown_parameter", "speech.tone", None, "1"),
        ({"speech": {**SPOKEN, "speed": 2.1}}, "invalid_parameter", "speech.speed", None, "2.1"),
        (
            {"speech": {**SPOKEN, "language": "fr"}},
            "invalid_parameter",
            "speech.language",
            None,
            "fr",
        ),
        (
            {"speech": {**SPOKEN, "voice_id": "bob"}},
            "invalid_parameter",
            "speech.voice_id",
            ["mei", "ann"],
            "bob",
        ),
        (
            {"speech": {**SPOKEN, "voice_id": "mei", "language": "en"}},
            "invalid_parameter",
            "speech.language",
            ["zh"],
            "en",
        ),
        ({"speech": {**SPOKEN, "text": "?!"}}, "text_unspeakable", "speech.text", None, 2),
        ({"speech": {**SPOKEN, "text": "Привет"}}, "text_unspeakable", "speech.text", None, None),
        (
            {"speech": {**SPOKEN, "text": "<speak>hi</speak>"}},
            "text_unspeakable",
            "speech.text",
            None,
            None,
        ),
        ({"speech": {**SPOKEN, "text": "hello " * 800}}, "text_too_long", "speech.text", 60, None),
        ({"speech": {**SPOKEN, "text": "a" * 5001}}, "text_too_long", "speech.text", 5000, 5001),
        ({"speech": recorded(60.5)}, "audio_too_long", "speech.audio", 60, 60.5),
        (
            {"speech": {"type": "audio", "audio": data_url(b"RIFF....WAVE", "audio/wav")}},
            "audio_unreadable",
            "speech.audio",
            None,
            12,
        ),
        (
            {"speech": {"type": "audio", "audio": data_url(b"a text file", "audio/wav")}},
            "audio_unreadable",
            "speech.audio",
            ["wav", "mp3", "m4a", "aac", "ogg", "flac"],
            11,
        ),
        (
            {"speech": {"type": "audio", "audio": data_url(bytes(20 * 2**20 + 1), "audio/wav")}},
            "audio_unreadable",
            "speech.audio",
            20 * 2**20,
            20 * 2**20 + 1,
        ),
        (
            {"speech": {"type": "audio", "audio": "https://example.com/a.wav"}},
            "invalid_parameter",
            "speech.audio",
            "data:audio/...;base64,",
            None,
        ),
        ({"emotion": "bored"}, "invalid_parameter", "emotion.name", None, "bored"),
        (
            {"emotion": {"name": "sad", "intensity": 6}},
            "invalid_parameter",
            "emotion.intensity",
            {"le": 5},
            "6",
        ),
        (
            {"emotion": {"name": "sad", "size": 6}},
            "unknown_parameter",
            "emotion.size",
            ["intensity", "name"],
            "6",
        ),
        ({"motion": 1.1}, "invalid_parameter", "motion", {"le": 1.0}, "1.1"),
        ({"face": -1}, "invalid_parameter", "face", {"ge": 0}, "-1"),
        (
            {"speech": None, "emotion": "sad", "prompt": "x"},
            "invalid_parameter",
            "emotion",
            "with speech",
            "sad",
        ),
        (
            {"speech": None, "motion": 0.5, "prompt": "x"},
            "invalid_parameter",
            "motion",
            "with speech",
            0.5,
        ),
        ({"speech": None, "face": 0, "prompt": "x"}, "invalid_parameter", "face", "with speech", 0),
        ({"input_reference": None}, "invalid_parameter", "input_reference", "required", None),
        ({"prompt": "smiling"}, "invalid_parameter", "prompt", 0, 7),
        ({"negative_prompt": "ugly"}, "invalid_parameter", "negative_prompt", 0, 4),
        ({"seconds": 5}, "invalid_parameter", "seconds", "none", 5.0),
        ({"num_frames": 40}, "invalid_parameter", "num_frames", "none", 40),
        ({"model": "reel-tiny"}, "invalid_parameter", "kind", None, "digital_human"),
        (
            {"size": "720x720", "resolution": "720p"},
            "invalid_parameter",
            "resolution",
            "one of the two",
            "720p",
        ),
        (
            {"width": 720, "height": 720, "aspect_ratio": "1:1"},
            "invalid_parameter",
            "aspect_ratio",
            None,
            "1:1",
        ),
        (
            {"aspect_ratio": "4:3"},
            "invalid_parameter",
            "aspect_ratio",
            ["1:1", "9:16", "16:9"],
            "4:3",
        ),
        ({"aspect_ratio": "wide"}, "invalid_parameter", "aspect_ratio", None, "wide"),
        ({"resolution": "480p"}, "invalid_parameter", "resolution", ["720p", "1080p"], "480p"),
        (
            {"aspect_ratio": "1:1", "resolution": "1080p"},
            "invalid_parameter",
            "resolution",
            ["720p"],
            "1080p",
        ),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_held(
    client: Client,
    services: Services,
    fields: dict[str, Any],
    code: str,
    param: str,
    limit: Any,
    value: Any,
) -> None:
    answer = submit(client, **fields)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    if limit is not None:
        assert error["limit"] == limit
    if value is not None:
        assert error["value"] == value
    assert points(client) == 100
    root = services.settings.storage_dir
    assert root is not None
    assert not [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ({}, "720x720"),
        ({"aspect_ratio": "16:9"}, "1280x720"),
        ({"resolution": "1080p"}, "1080x1920"),
        ({"aspect_ratio": "18:32", "resolution": "720p"}, "720x1280"),
    ],
)
def test_a_size_by_its_shape(client: Client, shape: dict[str, str], size: str) -> None:
    assert submit(client, speech=recorded(1.0), **shape).json()["size"] == size


def test_any_kind_takes_a_shape(client: Client) -> None:
    assert client.submit(aspect_ratio="1:1", resolution="64p").json()["size"] == "64x64"


def test_a_plain_request_still_goes_to_the_first_model(client: Client) -> None:
    assert client.submit().json()["model"] == "reel-tiny"
