"""A gateway on a real port, for clients that are not ours."""

import threading
import time
from collections.abc import Iterator

import httpx2
import pytest
import uvicorn

from gateway.accounts.service import create_key, ensure_account
from gateway.app import create_app
from gateway.services import Services
from tests.conftest import WORKER_TOKEN
from tests.support.api import Client, PaperWorker
from tests.support.listening import WAIT_S
from workers.live import LiveChannel


class Server:
    """A running gateway and the key of one account."""

    def __init__(self, port: int, key: str) -> None:
        self.base_url = f"http://127.0.0.1:{port}"
        self.key = key


@pytest.fixture
def server(services: Services) -> Iterator[Server]:
    """The gateway behind uvicorn on a free loopback port."""
    now = services.clock.now()
    with services.database.write() as connection:
        account_id = ensure_account(connection, "ada", plan_id="free", now=now)
        key = create_key(connection, account_id, now=now)
    config = uvicorn.Config(create_app(services), host="127.0.0.1", port=0, log_config=None)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not running.started:
        assert time.monotonic() < deadline, "the gateway did not start"
        time.sleep(0.02)
    yield Server(running.servers[0].sockets[0].getsockname()[1], key)
    running.should_exit = True
    thread.join()


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
