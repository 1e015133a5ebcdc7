"""A gateway on a real port, for clients that are not ours."""

import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from gateway.accounts.service import create_key, ensure_account
from gateway.app import create_app
from gateway.services import Services


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
