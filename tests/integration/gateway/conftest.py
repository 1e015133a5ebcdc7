"""The gateway's HTTP application over real parts, called in process; sweeps run when called."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from gateway.accounts.service import create_key, ensure_account
from gateway.app import create_app
from gateway.services import Services
from tests.conftest import WORKER_TOKEN
from tests.support.api import Client, PaperWorker


@pytest.fixture
def http(services: Services) -> TestClient:
    """The application; its background sweeps do not run."""
    return TestClient(create_app(services), raise_server_exceptions=False)


@pytest.fixture
def make_client(services: Services, http: TestClient) -> Callable[[str], Client]:
    """A client with a fresh key of the account of this name."""

    def make(name: str) -> Client:
        now = services.clock.now()
        with services.database.write() as connection:
            account_id = ensure_account(connection, name, plan_id="free", now=now)
            return Client(http, create_key(connection, account_id, now=now))

    return make


@pytest.fixture
def client(make_client: Callable[[str], Client]) -> Client:
    """An ordinary account."""
    return make_client("ada")


@pytest.fixture
def worker(http: TestClient) -> PaperWorker:
    """A worker of the default pool."""
    return PaperWorker(http, WORKER_TOKEN)
