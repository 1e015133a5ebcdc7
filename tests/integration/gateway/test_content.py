"""Finished files: whole, in ranges, revalidated; and the pages of a list."""

import pytest

from gateway.protocol import ArtifactRole
from gateway.services import Services
from gateway.storage.local import LocalStore
from tests.support.api import VIDEO_BYTES, Client, PaperWorker, png_bytes
from tests.support.clock import ManualClock

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def finished(client: Client, worker: PaperWorker) -> str:
    """Path of a completed video's content."""
    video_id = client.submit().json()["id"]
    [assignment] = worker.claim()
    worker.finish(assignment)
    return f"/videos/{video_id}/content"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-9", 0, 10), ("bytes=100-199", 100, 200), ("bytes=-50", -50, None)],
)
def test_a_range_is_a_206_with_just_those_bytes(
    client: Client, finished: str, asked: str, start: int, end: int | None
) -> None:
    answer = client.get(finished, headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == VIDEO_BYTES[start:end]
    assert answer.headers["content-range"].endswith(f"/{len(VIDEO_BYTES)}")


def test_a_range_beyond_the_end_is_a_416(client: Client, finished: str) -> None:
    answer = client.get(finished, headers={"Range": f"bytes={len(VIDEO_BYTES)}-"})
    assert answer.status_code == 416


def test_a_stale_if_range_gets_the_whole_file(client: Client, finished: str) -> None:
    headers = {"Range": "bytes=0-9", "If-Range": '"another"'}
    assert client.get(finished, headers=headers).status_code == 200
    etag = client.get(finished).headers["etag"]
    headers["If-Range"] = etag
    assert client.get(finished, headers=headers).status_code == 206


def test_a_file_that_is_still_the_same_is_not_sent_again(client: Client, finished: str) -> None:
    etag = client.get(finished).headers["etag"]
    same = client.get(finished, headers={"If-None-Match": f'"another", {etag}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert client.get(finished, headers={"If-None-Match": '"another"'}).status_code == 200


def test_head_tells_size_type_and_etag_without_a_body(client: Client, finished: str) -> None:
    answer = client.http.head(f"/v1{finished}", headers=client.headers)
    assert answer.status_code == 200
    assert answer.content == b""
    assert int(answer.headers["content-length"]) == len(VIDEO_BYTES)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"] == client.get(finished).headers["etag"]


def test_browsers_may_be_asked_to_save_it(client: Client, finished: str) -> None:
    shown = client.get(finished).headers["content-disposition"]
    saved = client.get(f"{finished}?download=true").headers["content-disposition"]
    assert shown.startswith("inline")
    assert saved.startswith("attachment")
    assert saved.endswith('.mp4"')


def test_a_file_that_somebody_removed_is_not_there(
    client: Client, finished: str, services: Services
) -> None:
    services.store.delete_prefix(f"jobs/{finished.split('/')[2]}")
    answer = client.get(finished)
    assert answer.status_code == 404
    assert "is gone" in answer.json()["error"]["message"]


def test_there_is_no_content_before_the_end(client: Client, worker: PaperWorker) -> None:
    video_id = client.submit().json()["id"]
    for state in ("queued", "running"):
        answer = client.get(f"/videos/{video_id}/content")
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "content_not_ready"
        assert state in answer.json()["error"]["message"]
        worker.claim()


def test_an_unfinished_upload_is_not_to_be_seen(client: Client, worker: PaperWorker) -> None:
    video_id = client.submit().json()["id"]
    [assignment] = worker.claim()
    worker.upload(assignment, ArtifactRole.VIDEO, VIDEO_BYTES)
    assert client.get(f"/videos/{video_id}/content").status_code == 404


def test_an_unknown_variant_is_refused(client: Client, finished: str) -> None:
    answer = client.get(f"{finished}?variant=gif")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "variant"


def test_a_signed_link_opens_one_file_for_a_while(
    client: Client, worker: PaperWorker, services: Services, clock: ManualClock
) -> None:
    client.http.post(
        "/v1/videos",
        data={"prompt": "x"},
        files={"input_reference": ("a.png", png_bytes(), "image/png")},
        headers=client.headers,
    )
    url = worker.claim()[0].inputs[0].url
    assert client.http.get(url).status_code == 200
    forged = [
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.replace("image.png", "other.png"),
        f"{url}%C3%A9",
    ]
    assert [client.http.get(link).status_code for link in forged] == [404, 404, 404]
    clock.advance(seconds=services.settings.file_url_ttl_s + 1)
    assert client.http.get(url).status_code == 404
    assert isinstance(services.store, LocalStore)


def test_a_list_is_paged_by_the_last_id(client: Client, clock: ManualClock) -> None:
    ids = []
    for seed in range(5):
        ids.append(client.submit(seed=seed).json()["id"])
        clock.advance(seconds=1)
    newest = client.get("/videos?limit=2").json()
    assert [video["id"] for video in newest["data"]] == ids[:2:-1]
    assert (newest["has_more"], newest["last_id"]) == (True, ids[3])
    rest = client.get(f"/videos?limit=3&after={newest['last_id']}").json()
    assert [video["id"] for video in rest["data"]] == ids[2::-1]
    assert rest["has_more"] is False
    oldest = client.get("/videos?order=asc&limit=1").json()
    assert oldest["data"][0]["id"] == ids[0]
    assert client.get("/videos?after=" + ids[0]).json()["data"] == []
