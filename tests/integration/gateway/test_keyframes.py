"""Pictures at given frames of a clip: from the request to the worker, and refused by name."""

import json
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from gateway.app import create_app
from gateway.jobs.request import parse_request
from gateway.services import Services
from tests.support.api import PROMPT, Client, PaperWorker
from tests.support.pictures import colours, offer_pictures, part, url
from tests.support.talking import data_url, recorded

NUM_FRAMES = 17
"""Of the default clip: 2 s at 8 fps."""


@pytest.fixture
def pictures() -> str:
    """What the card of the default model says of them."""
    return "{last_image: taken, reference_images: 2, keyframes: 3}"


@pytest.fixture
def config_dir(config_dir: Path, pictures: str) -> Path:
    """A catalogue whose default model says so."""
    offer_pictures(config_dir, pictures)
    return config_dir


def keyframe(frame: object, colour: str = "red") -> dict[str, object]:
    """One, as JSON carries it."""
    return {"frame": frame, "image": url(colour)}


def test_they_reach_the_worker_in_the_order_of_their_frames(
    client: Client, worker: PaperWorker
) -> None:
    answer = client.submit(keyframes=[keyframe(12, "blue"), keyframe(4, "green")])
    assert (answer.status_code, answer.json()["kind"]) == (200, "text_to_video")
    [job] = worker.claim()
    assert [each.frame for each in job.spec.keyframes] == [4, 12]
    assert colours(client, job) == {"keyframe_1": "green", "keyframe_2": "blue"}


def test_a_form_has_the_frame_in_the_name_of_the_part(client: Client, worker: PaperWorker) -> None:
    files = [part("keyframes[12]", "blue"), part("keyframes[4]", "green")]
    answer = client.post("/videos", data={"prompt": PROMPT}, files=files)
    assert answer.status_code == 200
    [job] = worker.claim()
    assert [each.frame for each in job.spec.keyframes] == [4, 12]
    assert colours(client, job) == {"keyframe_1": "green", "keyframe_2": "blue"}


def test_they_stand_beside_all_other_pictures(client: Client, worker: PaperWorker) -> None:
    answer = client.submit(
        input_reference=url("red"),
        last_image=url("green"),
        reference_images=[url("blue")],
        keyframes=[{"frame": NUM_FRAMES - 2, "image": {"image_url": url("red")}}],
    )
    assert answer.json()["kind"] == "image_to_video"
    [job] = worker.claim()
    assert colours(client, job) == {
        "image": "red",
        "last_image": "green",
        "reference_1": "blue",
        "keyframe_1": "red",
    }


def test_a_text_may_end_with_a_picture(client: Client, worker: PaperWorker) -> None:
    assert client.submit(keyframes=[keyframe(NUM_FRAMES - 1)]).status_code == 200
    [job] = worker.claim()
    assert job.spec.keyframes[0].frame == job.spec.num_frames - 1


def test_where_frames_are_interpolated_those_of_the_model_are_taken(client: Client) -> None:
    answer = client.submit(fps=24, keyframes=[keyframe(3), keyframe(48)])
    assert answer.status_code == 200


def test_no_keyframes_are_as_good_as_none(client: Client, worker: PaperWorker) -> None:
    nothing: list[dict[str, object]] = []
    for keyframes in (None, nothing):
        client.submit(keyframes=keyframes)
        [job] = worker.claim()
        assert (job.spec.keyframes, job.inputs) == ((), [])
    told = parse_request({"prompt": PROMPT}).model_dump(mode="json")
    assert "keyframes" not in told, "requests from before they were known have the same identity"


def test_the_same_keyframes_in_another_order_are_the_same_request(client: Client) -> None:
    def send(*keyframes: dict[str, object]) -> Any:
        headers = {"Idempotency-Key": "k"}
        return client.submit(headers=headers, keyframes=[*keyframes]).json()

    early, late = keyframe(4, "red"), keyframe(8, "blue")
    first = send(early, late)
    assert send(late, early)["id"] == first["id"]
    for other in ([early], [early, keyframe(9, "blue")], [early, keyframe(8, "green")]):
        assert send(*other)["error"]["code"] == "idempotency_mismatch"


def test_nothing_of_them_stays_when_the_job_is_gone(client: Client, services: Services) -> None:
    video_id = client.submit(keyframes=[keyframe(4)]).json()["id"]
    root = services.settings.storage_dir
    assert root is not None
    assert [path.name for path in root.rglob("*.png")] == ["keyframe_1.png"]
    assert client.delete(f"/videos/{video_id}").status_code == 200
    assert not [*root.rglob("*.png")]


IMPOSSIBLE: list[tuple[str, dict[str, Any], object, object]] = [
    ("{}", {"keyframes": [keyframe(4)]}, 0, 1),
    ("{keyframes: 1}", {"keyframes": [keyframe(4), keyframe(8)]}, 1, 2),
    ("{keyframes: 1}", {"keyframes": [keyframe(17)]}, [1, 16], 17),
    (
        "{keyframes: 1, last_image: taken}",
        {"keyframes": [keyframe(16)], "input_reference": url("red"), "last_image": url("red")},
        [1, 15],
        16,
    ),
    ("{keyframes: 2}", {"keyframes": [keyframe(4), keyframe(4, "blue")]}, 1, 4),
    ("{keyframes: 2}", {"keyframes": [keyframe(4), keyframe(8)], "fps": 24}, "a multiple of 3", 4),
]


@pytest.mark.parametrize(("pictures", "fields", "limit", "value"), IMPOSSIBLE)
@pytest.mark.parametrize("path", ["/videos", "/videos/estimate"])
@pytest.mark.usefixtures("pictures")
def test_what_the_model_cannot_hold_is_refused_before_a_point_is_held(
    client: Client, path: str, fields: dict[str, Any], limit: object, value: object
) -> None:
    answer = client.post(path, json={"prompt": PROMPT, **fields})
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert (error["param"], error["limit"], error["value"]) == ("keyframes", limit, value)
    assert client.get("/points").json()["held"] == 0


@pytest.mark.parametrize(
    ("keyframes", "code", "param"),
    [
        (url("red"), "invalid_parameter", "keyframes"),
        ({"4": url("red")}, "invalid_parameter", "keyframes"),
        ([url("red")], "invalid_parameter", "keyframes.0"),
        ([{"frame": 4}], "invalid_parameter", "keyframes.0.image"),
        ([{"frame": 4, "image": None}], "invalid_parameter", "keyframes.0.image"),
        ([{"image": url("red")}], "invalid_parameter", "keyframes.0.frame"),
        ([keyframe(4), keyframe(0)], "invalid_parameter", "keyframes.1.frame"),
        ([keyframe(-1)], "invalid_parameter", "keyframes.0.frame"),
        ([keyframe(4.5)], "invalid_parameter", "keyframes.0.frame"),
        ([keyframe("soon")], "invalid_parameter", "keyframes.0.frame"),
        ([{**keyframe(4), "strength": 1}], "unknown_parameter", "keyframes.0.strength"),
        ([{"frame": 4, "image": "https://example.com/a.png"}], "invalid_parameter", "keyframes"),
        ([{"frame": 4, "image": data_url(b"no", "image/png")}], "invalid_image", "keyframes"),
    ],
)
def test_what_is_no_keyframe_is_named(
    client: Client, keyframes: object, code: str, param: str
) -> None:
    answer = client.submit(keyframes=keyframes)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)


def test_two_parts_for_one_frame_are_refused_by_their_name(client: Client) -> None:
    files = [part("keyframes[4]", "blue"), part("keyframes[4]", "green")]
    answer = client.post("/videos", data={"prompt": PROMPT}, files=files)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "keyframes[4]")


def test_an_estimate_costs_what_the_clip_costs_without(client: Client) -> None:
    bodies = [{"prompt": PROMPT, "keyframes": [keyframe(4)]}, {"prompt": PROMPT}]
    told = [client.post("/videos/estimate", json=body).json()["points"] for body in bodies]
    assert told[0] == told[1] > 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_document_says_how_json_carries_files(
    client: Client, services: Services, tmp_path: Path
) -> None:
    post = create_app(services).openapi()["paths"]["/v1/videos"]["post"]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    body: dict[str, Any] = {
        "prompt": PROMPT,
        "input_reference": url("red"),
        "last_image": {"image_url": url("green")},
        "reference_images": [url("blue"), {"image_url": url("red")}],
        "keyframes": [keyframe(4), {"frame": 8, "image": {"image_url": url("blue")}}],
    }
    spoken = {"speech": recorded(2), "input_reference": url("red")}
    assert _fits(schema, body, tmp_path)
    assert _fits(schema, spoken, tmp_path)
    assert client.post("/videos", json=body).status_code == 200
    assert client.post("/videos", json=spoken).status_code == 200
    link = "https://example.com/a.png"
    for name, value in (
        ("input_reference", link),
        ("last_image", {"url": url("red")}),
        ("reference_images", [link]),
        ("keyframes", [{"frame": 0, "image": url("red")}]),
    ):
        assert not _fits(schema, {**body, name: value}, tmp_path), name
        assert client.post("/videos", json={**body, name: value}).status_code == 400, name


def _fits(schema: dict[str, Any], body: dict[str, Any], folder: Path) -> bool:
    """Whether `body` follows `schema`, as `check-jsonschema` sees it."""
    tool = Path(sysconfig.get_path("scripts")) / "check-jsonschema"
    files = []
    for name, content in (("schema.json", schema), ("body.json", body)):
        (folder / name).write_text(json.dumps(content), "utf-8")
        files.append(folder / name)
    done = subprocess.run([tool, "--schemafile", *files], capture_output=True, check=False)
    return done.returncode == 0
