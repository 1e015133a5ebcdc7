"""A last frame and references: from the request to the worker, and refused where of no use."""

from pathlib import Path
from typing import Any

import pytest

from gateway.services import Services
from tests.support.api import PROMPT, Client, PaperWorker
from tests.support.pictures import colours, offer_pictures, part, url
from tests.support.talking import data_url


@pytest.fixture
def pictures() -> str:
    """What the card of the default model says of them."""
    return "{last_image: taken, reference_images: 2}"


@pytest.fixture
def config_dir(config_dir: Path, pictures: str) -> Path:
    """A catalogue whose default model says so."""
    offer_pictures(config_dir, pictures)
    return config_dir


def test_first_and_last_frame_reach_the_worker(client: Client, worker: PaperWorker) -> None:
    answer = client.post(
        "/videos",
        data={"prompt": PROMPT},
        files=[part("input_reference", "red"), part("last_image", "blue")],
    )
    assert answer.json()["kind"] == "image_to_video"
    [job] = worker.claim()
    assert colours(client, job) == {"image": "red", "last_image": "blue"}


@pytest.mark.parametrize("name", ["reference_images", "reference_images[]"])
def test_references_of_a_form_keep_their_order(
    client: Client, worker: PaperWorker, name: str
) -> None:
    answer = client.post(
        "/videos", data={"prompt": PROMPT}, files=[part(name, "green"), part(name, "red")]
    )
    assert answer.json()["kind"] == "text_to_video"
    [job] = worker.claim()
    assert colours(client, job) == {"reference_1": "green", "reference_2": "red"}


def test_json_carries_all_of_them(client: Client, worker: PaperWorker) -> None:
    answer = client.submit(
        input_reference=url("red"),
        last_image={"image_url": url("green")},
        reference_images=[url("blue"), {"image_url": url("red")}],
    )
    assert answer.status_code == 200
    [job] = worker.claim()
    assert colours(client, job) == {
        "image": "red",
        "last_image": "green",
        "reference_1": "blue",
        "reference_2": "red",
    }


def test_they_are_part_of_what_makes_two_requests_the_same(client: Client) -> None:
    def send(last: str, references: list[str]) -> Any:
        return client.submit(
            headers={"Idempotency-Key": "k"},
            input_reference=url("red"),
            last_image=url(last),
            reference_images=[url(each) for each in references],
        )

    first = send("blue", ["red", "green"])
    assert send("blue", ["red", "green"]).json()["id"] == first.json()["id"]
    for other in (send("green", ["red", "green"]), send("blue", ["green", "red"])):
        assert other.json()["error"]["code"] == "idempotency_mismatch"


def test_nothing_of_them_stays_when_the_job_is_gone(client: Client, services: Services) -> None:
    video_id = client.submit(input_reference=url("red"), last_image=url("blue")).json()["id"]
    root = services.settings.storage_dir
    assert root is not None
    names = {path.name for path in root.rglob("*.png")}
    assert names == {"image.png", "last_image.png"}
    assert client.delete(f"/videos/{video_id}").status_code == 200
    assert not [*root.rglob("*.png")]


def test_the_model_list_says_who_takes_them(client: Client) -> None:
    by_id = {model["id"]: model["pictures"] for model in client.get("/models").json()["data"]}
    assert by_id["reel-tiny"] == {"last_image": "taken", "reference_images": 2, "keyframes": 0}
    assert by_id["reel-avatar"] == {"last_image": "refused", "reference_images": 0, "keyframes": 0}


REFUSALS = [
    ("{}", {"input_reference": "red", "last_image": "red"}, "last_image", None),
    ("{}", {"reference_images": ["red"]}, "reference_images", 0),
    (
        "{reference_images: 2}",
        {"reference_images": ["red", "green", "blue"]},
        "reference_images",
        2,
    ),
    ("{last_image: taken}", {"last_image": "red"}, "last_image", "with input_reference"),
    ("{last_image: needed}", {"input_reference": "red"}, "last_image", "required"),
]


@pytest.mark.parametrize(("pictures", "given", "param", "limit"), REFUSALS)
@pytest.mark.parametrize("path", ["/videos", "/videos/estimate"])
@pytest.mark.usefixtures("pictures")
def test_what_the_model_has_no_use_for_is_refused(
    client: Client, given: dict[str, Any], param: str, limit: object, path: str
) -> None:
    sent = {
        name: [url(each) for each in value] if isinstance(value, list) else url(value)
        for name, value in given.items()
    }
    answer = client.post(path, json={"prompt": PROMPT, **sent})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["limit"]) == (400, param, limit)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"last_image": "https://example.com/a.png"}, "invalid_parameter", "last_image"),
        ({"last_image": {"url": "x"}}, "invalid_parameter", "last_image"),
        ({"last_image": data_url(b"no picture", "image/png")}, "invalid_image", "last_image"),
        ({"reference_images": url("red")}, "invalid_parameter", "reference_images"),
        ({"reference_images": ["a.png"]}, "invalid_parameter", "reference_images"),
        (
            {"reference_images": [url("red"), data_url(b"no", "image/png")]},
            "invalid_image",
            "reference_images",
        ),
    ],
)
def test_what_is_no_picture_is_named(
    client: Client, fields: dict[str, Any], code: str, param: str
) -> None:
    error = client.submit(input_reference=url("red"), **fields).json()["error"]
    assert (error["code"], error["param"]) == (code, param)
