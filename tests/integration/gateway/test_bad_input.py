"""Every bad request is refused by name, with limit and value, and leaves nothing behind."""

import base64
import io
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import func, select

from gateway.db.tables import idempotency, job, ledger_tx
from gateway.services import Services
from tests.support.api import PROMPT, Client, png_bytes

# What is refused before the database is asked is refused alike on both kinds.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def assert_nothing_left(services: Services) -> None:
    """No job, no hold, no file."""
    with services.database.read() as connection:
        for table in (job, idempotency, ledger_tx):
            assert connection.execute(select(func.count()).select_from(table)).scalar() == 0
    root = services.settings.storage_dir
    assert root is not None
    files = [path for path in root.rglob("*") if path.is_file()]
    assert files == []


OWN_SIZES = ["96x96", "160x96", "96x160", "64x64", "96x64", "64x96"]
SIZES = OWN_SIZES + [
    f"{factor * width}x{factor * height}"
    for factor in (2, 4)
    for width, height in (map(int, size.split("x")) for size in OWN_SIZES)
]
SECONDS = [2, 1, 3, 4, 6]


@pytest.mark.parametrize(
    ("fields", "param", "limit", "value"),
    [
        ({"prompt": ""}, "prompt", "1 character or more", ""),
        ({"prompt": " \n"}, "prompt", "1 character or more", ""),
        ({"prompt": "x" * 1001}, "prompt", 1000, 1001),
        ({"negative_prompt": "x" * 1001}, "negative_prompt", 1000, 1001),
        ({"prompt": 7}, "prompt", "Input should be a valid string", "7"),
        ({"model": "sora-2"}, "model", ["reel-tiny", "reel-avatar"], "sora-2"),
        ({"size": "512x512"}, "size", SIZES, "512x512"),
        ({"size": "big"}, "size", SIZES, "big"),
        ({"size": "0x96"}, "size", SIZES, "0x96"),
        ({"size": ""}, "size", SIZES, ""),
        ({"mode": ""}, "mode", ["standard", "fast", "pro"], ""),
        ({"size": "\uff16\uff14x64"}, "size", SIZES, "\uff16\uff14x64"),
        ({"width": 64, "height": 65}, "size", SIZES, "64x65"),
        ({"width": 64}, "height", "both or neither", None),
        ({"size": "64x64", "width": 64, "height": 64}, "size", "one of the two", "64x64"),
        ({"seconds": "5"}, "seconds", SECONDS, 5.0),
        ({"seconds": 2.5}, "seconds", SECONDS, 2.5),
        ({"num_frames": 18}, "num_frames", "4k+1 from 9 to 49", 18),
        ({"num_frames": 17, "seconds": 2}, "num_frames", "one of the two", 17),
        ({"fps": 25}, "fps", [8, 16, 24, 48], 25),
        ({"num_inference_steps": 13}, "num_inference_steps", [4, 12], 13),
        ({"mode": "best"}, "mode", ["standard", "fast", "pro"], "best"),
        ({"guidance_scale": 9.5}, "guidance_scale", [1.0, 8.0], 9.5),
        ({"generate_audio": True}, "generate_audio", [False], True),
        ({"generate_audio": "perhaps"}, "generate_audio", None, "perhaps"),
        ({"seed": -1}, "seed", {"ge": 0}, "-1"),
        ({"seed": 2**32}, "seed", {"le": 2**32 - 1}, str(2**32)),
        ({"external_task_id": ""}, "external_task_id", {"min_length": 1}, ""),
        ({"metadata": {"state": "mine"}}, "metadata", None, "state"),
        ({"camera": "left"}, "camera", None, "left"),
        ({"model": "m" * 65}, "model", {"max_length": 64}, None),
        ({"keyframes": [1] * 9}, "keyframes", 8, 9),
        ({"reference_images": [""] * 5}, "reference_images", 4, 5),
        ({f"camera_{number}": 1 for number in range(100)}, None, 100, 101),
        ({"metadata": {str(number): "x" for number in range(101)}}, "metadata", 100, 101),
        ({"input_reference": "https://example.com/a.png"}, "input_reference", None, None),
    ],
)
def test_a_wrong_parameter_is_named(
    client: Client,
    services: Services,
    fields: dict[str, Any],
    param: str | None,
    limit: Any,
    value: Any,
) -> None:
    answer = client.submit(**fields)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    if limit is not None:
        assert error["limit"] == limit
    if value is not None:
        assert error["value"] == value
    assert error["request_id"] == answer.headers["X-Request-ID"]
    assert_nothing_left(services)


@pytest.mark.parametrize(
    ("content", "content_type", "param"),
    [
        (b"{", "application/json", None),
        (b"[]", "application/json", None),
        (b"[" * 100_000, "application/json", None),
        (b'{"seed": ' + b"9" * 5000 + b"}", "application/json", None),
        (b"{}", "application/json", "prompt"),
        (b"prompt", "text/plain", "Content-Type"),
        (b"", "", "Content-Type"),
        (b"--x\r\nbroken", "multipart/form-data; boundary=y", None),
        (b"prompt=a&prompt=b", "application/x-www-form-urlencoded", "prompt"),
        (
            b"prompt=a&reference_images[a]=x&reference_images=y",
            "application/x-www-form-urlencoded",
            "reference_images",
        ),
    ],
    ids=[
        "torn",
        "array",
        "deep",
        "long_number",
        "empty",
        "text",
        "nothing",
        "bad_form",
        "twice",
        "list_and_field",
    ],
)
def test_a_body_that_is_no_request_is_refused(
    client: Client, services: Services, content: bytes, content_type: str, param: str | None
) -> None:
    headers = {**client.headers, "Content-Type": content_type}
    answer = client.http.post("/v1/videos", content=content, headers=headers)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert_nothing_left(services)


@pytest.mark.parametrize(
    ("fields", "param", "point"),
    [
        ({"prompt": "a \ud800"}, "prompt", "U+D800"),
        ({"external_task_id": "a\0"}, "external_task_id", "U+0000"),
        ({"metadata": {"a": "\udfff"}}, "metadata.a", "U+DFFF"),
        ({"metadata": {"\udfff": "a"}}, "metadata", "U+DFFF"),
        ({"\udfff": "a"}, None, "U+DFFF"),
        ({"reference_images": ["\ud800"]}, "reference_images.0", "U+D800"),
    ],
)
def test_text_that_is_none_is_refused(
    client: Client, services: Services, fields: dict[str, Any], param: str | None, point: str
) -> None:
    # Escaped, as every JSON writer can write it.
    body = json.dumps({"prompt": PROMPT, **fields}).encode("ascii")
    headers = {**client.headers, "Content-Type": "application/json"}
    answer = client.http.post("/v1/videos", content=body, headers=headers)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["param"], error["limit"]) == (param, "Unicode text without NUL")
    assert error["value"] == point
    assert_nothing_left(services)


def test_it_is_looked_for_however_deep(client: Client, services: Services) -> None:
    body = b'{"prompt": "a", "x": ' + b"[" * 900 + b'"\\ud800"' + b"]" * 900 + b"}"
    headers = {**client.headers, "Content-Type": "application/json"}
    assert client.http.post("/v1/videos", content=body, headers=headers).status_code == 400
    assert_nothing_left(services)


def test_a_form_with_nul_is_refused(client: Client, services: Services) -> None:
    answer = client.http.post("/v1/videos", data={"prompt": "a\0"}, headers=client.headers)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["value"] == "U+0000"
    assert_nothing_left(services)


def test_an_emoji_is_a_pair_and_no_half(client: Client) -> None:
    body = json.dumps({"prompt": "a \U0001f534 circle"}).encode("ascii")
    headers = {**client.headers, "Content-Type": "application/json"}
    answer = client.http.post("/v1/videos", content=body, headers=headers)
    assert answer.json()["prompt"] == "a \U0001f534 circle"


def test_nothing_is_read_of_a_request_without_a_key(client: Client) -> None:
    for path in ("/v1/videos", "/v1/videos/estimate"):
        answer = client.http.post(path, content=b"[", headers={"Content-Type": "text/plain"})
        assert answer.status_code == 401


def test_a_full_disk_keeps_nothing_and_asks_to_try_again(
    client: Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(services.store, "put", full)
    answer = client.http.post(
        "/v1/videos",
        data={"prompt": PROMPT},
        files={"input_reference": ("a.png", png_bytes(), "image/png")},
        headers=client.headers,
    )
    assert answer.status_code == 503
    assert "No space left" in answer.json()["error"]["message"]
    assert_nothing_left(services)


def huge_png(width: int, height: int) -> bytes:
    """A PNG whose header promises more pixels than anyone should decode."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def gif_bytes() -> bytes:
    """A moving picture, of a kind we do not take."""
    file = io.BytesIO()
    first, *others = (Image.new("RGB", (32, 32), colour) for colour in ("red", "green", "blue"))
    first.save(file, "GIF", save_all=True, append_images=others)
    return file.getvalue()


@pytest.mark.parametrize(
    ("picture", "limit"),
    [
        (lambda: b"not a picture", ["JPEG", "PNG", "WEBP"]),
        (lambda: b"", ["JPEG", "PNG", "WEBP"]),
        (gif_bytes, ["JPEG", "PNG", "WEBP"]),
        (lambda: png_bytes(256, 256)[:-40], "a whole file"),
        (lambda: huge_png(10_000, 5_000), 40_000_000),
        (lambda: huge_png(20_000, 10_000), 40_000_000),
        (lambda: huge_png(60_000, 60_000), 40_000_000),
        (lambda: png_bytes(8, 300), 16),
        (lambda: png_bytes(20, 4000), 16),
        (lambda: b"\x00" * (10 * 1024 * 1024 + 1), 10 * 1024 * 1024),
    ],
    ids=[
        "text",
        "empty",
        "gif",
        "truncated",
        "50_megapixels",
        "200_megapixels",
        "3_gigapixels",
        "thin",
        "thin_once_it_fits",
        "heavy",
    ],
)
@pytest.mark.parametrize("way", ["file", "data_url"])
def test_a_bad_picture_is_refused(
    client: Client, services: Services, picture: Callable[[], bytes], limit: Any, way: str
) -> None:
    data = picture()
    if way == "file":
        answer = client.http.post(
            "/v1/videos",
            data={"prompt": PROMPT},
            files={"input_reference": ("a.png", data, "image/png")},
            headers=client.headers,
        )
    else:
        url = "data:image/png;base64," + base64.b64encode(data).decode()
        answer = client.submit(input_reference={"image_url": url})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("invalid_image", "input_reference")
    assert error["limit"] == limit
    assert_nothing_left(services)


def test_a_huge_body_is_refused_before_it_is_read(client: Client, services: Services) -> None:
    body = json.dumps({"prompt": "x" * (33 * 1024 * 1024)})
    answer = client.http.post(
        "/v1/videos",
        content=body,
        headers={**client.headers, "Content-Type": "application/json"},
    )
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"
    assert_nothing_left(services)


@pytest.mark.parametrize(
    ("authorization", "says"),
    [
        (None, "no API key"),
        ("Bearer ", "no API key"),
        ("Basic abc", "no API key"),
        ("Bearer sk-123", "start with rg_"),
        ("Bearer rg_" + "x" * 43, "does not exist"),
    ],
)
def test_a_request_without_a_good_key_is_refused(
    client: Client, services: Services, authorization: str | None, says: str
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = client.http.post("/v1/videos", json={"prompt": PROMPT}, headers=headers)
    assert answer.status_code == 401
    assert says in answer.json()["error"]["message"]
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert_nothing_left(services)


def test_somebody_elses_job_does_not_exist(make_client: Callable[[str], Client]) -> None:
    ada, bob = make_client("ada"), make_client("bob")
    video_id = ada.submit().json()["id"]

    answers = [
        bob.get(f"/videos/{video_id}"),
        bob.get(f"/videos/{video_id}/content"),
        bob.post(f"/videos/{video_id}/cancel"),
        bob.delete(f"/videos/{video_id}"),
        bob.get("/videos/video_unknown"),
    ]
    assert [answer.status_code for answer in answers] == [404] * 5
    assert {answer.json()["error"]["type"] for answer in answers} == {"not_found_error"}
    assert bob.get("/videos").json()["data"] == []
    assert ada.video(video_id)["status"] == "queued"


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "order=up"])
def test_a_wrong_page_is_refused(client: Client, query: str) -> None:
    answer = client.get(f"/videos?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == query.partition("=")[0]


def test_without_points_the_answer_is_402_with_what_is_missing(client: Client) -> None:
    for seed in range(6):
        assert client.submit(seed=seed).status_code == 200
    answer = client.submit()
    assert answer.status_code == 402
    error = answer.json()["error"]
    assert (error["code"], error["required"], error["available"]) == ("insufficient_points", 10, 0)
    assert error["next_grant_at"] == "2026-11-22T00:00:00+08:00"
    assert len(client.get("/videos").json()["data"]) == 6


def test_workers_only_routes_want_the_worker_token(client: Client) -> None:
    for headers in ({}, client.headers):
        answer = client.http.post(
            "/worker/v1/claim", json={"pool": "default", "worker": "x"}, headers=headers
        )
        assert answer.status_code == 401
