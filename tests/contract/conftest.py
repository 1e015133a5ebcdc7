"""A gateway on a real port, for clients that are not ours."""

from collections.abc import Iterator

import httpx2
import pytest

from gateway.accounts.service import create_key, ensure_account
from gateway.app import create_app
from gateway.services import Services
from tests.conftest import WORKER_TOKEN
from tests.support.api import Client, PaperWorker
from tests.support.listening import WAIT_S
from tests.support.serving import serving
from workers.live import LiveChannel


class Server:
    """A running gateway and the key of one account."""

    def __init__(self, base_url: str, key: str) -> None:
        self.base_url = base_url
        self.key = key


@pytest.fixture
def server(services: Services) -> Iterator[Server]:
    """The gateway behind uvicorn on a free loopback port."""
    now = services.clock.now()
    with services.database.write() as connection:
        account_id = ensure_account(connection, "ada", plan_id="free", now=now)
        key = create_key(connection, account_id, now=now)
    with serving(create_app(services)) as base_url:
        yield Server(base_url, key)


@pytest.fixture
def http(server: Server) -> Iterator[httpx2.Client]:
    """Connections to the gateway."""
    limits = httpx2.Limits(max_connections=100)
    with httpx2.Client(base_url=server.base_url, timeout=WAIT_S, limits=limits) as client:
        yield client


@pytest.fixture
def client(http: httpx2.Client, server: Server) -> Client:
    """The account that submits."""
    return Client(http, server.key)


@pytest.fixture
def worker(http: httpx2.Client) -> PaperWorker:
    """Claims and reports."""
    return PaperWorker(http, WORKER_TOKEN)


@pytest.fixture
def channel(redis_url: str) -> Iterator[LiveChannel]:
    """What workers tell progress with."""
    live = LiveChannel(redis_url)
    yield live
    live.close()
