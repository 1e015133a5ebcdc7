"""A whole job whose files never touch the gateway's disk: given picture, video, signed links."""

import hashlib
from collections.abc import Iterator

import httpx2
import pytest
from fastapi.testclient import TestClient

from gateway.accounts.service import create_key, ensure_account
from gateway.app import create_app
from gateway.jobs.files import job_folder
from gateway.services import Services, build_services, close_services
from gateway.settings import Settings
from gateway.storage.s3 import S3Store
from tests.conftest import ROOT, WORKER_TOKEN
from tests.support.api import VIDEO_BYTES, Client, PaperWorker, png_bytes
from tests.support.clock import ManualClock


@pytest.fixture
def services(
    sqlite_url: str, redis_url: str, storage_url: str, clock: ManualClock
) -> Iterator[Services]:
    """A whole gateway's parts, with a bucket for its files."""
    settings = Settings(
        database_url=sqlite_url,
        redis_url=redis_url,
        storage_url=storage_url,
        secret="a-secret-that-is-long-enough-for-the-tests",
        worker_token=WORKER_TOKEN,
        config_dir=ROOT / "configs",
    )
    built = build_services(settings, clock)
    yield built
    close_services(built)


def test_a_job_runs_over_a_bucket(services: Services) -> None:
    assert isinstance(services.store, S3Store)
    http = TestClient(create_app(services))
    client = Client(http, _key(services))
    worker = PaperWorker(http, WORKER_TOKEN)

    answer = http.post(
        "/v1/videos",
        data={"prompt": "it moves up"},
        files={"input_reference": ("photo.png", png_bytes(200, 100), "image/png")},
        headers=client.headers,
    )
    video_id = answer.json()["id"]
    assert answer.json()["kind"] == "image_to_video"

    [assignment] = worker.claim()
    [given] = assignment.inputs
    picture = httpx2.get(given.url)
    assert picture.headers["content-type"] == "image/png"
    assert hashlib.sha256(picture.content).hexdigest() == given.sha256
    worker.finish(assignment)
    assert client.video(video_id)["status"] == "completed"

    redirect = client.get(f"/videos/{video_id}/content", follow_redirects=False)
    assert redirect.status_code == 307
    video = httpx2.get(redirect.headers["location"], headers={"Range": "bytes=100-199"})
    assert (video.status_code, video.content) == (206, VIDEO_BYTES[100:200])
    assert video.headers["content-type"] == "video/mp4"

    facts = client.http.head(f"/v1/videos/{video_id}/content", headers=client.headers)
    assert (facts.status_code, facts.headers["content-length"]) == (200, str(len(VIDEO_BYTES)))

    client.delete(f"/videos/{video_id}")
    assert services.store.age_of(job_folder(video_id), services.clock.now()).total_seconds() == 0
    assert httpx2.get(redirect.headers["location"]).status_code == 404


def test_a_gateway_with_its_bucket_is_ready(services: Services) -> None:
    answer = TestClient(create_app(services)).get("/readyz")
    assert answer.json()["checks"]["storage"] == "ok"


def _key(services: Services) -> str:
    now = services.clock.now()
    with services.database.write() as connection:
        account_id = ensure_account(connection, "ada", plan_id="free", now=now)
        return create_key(connection, account_id, now=now)
