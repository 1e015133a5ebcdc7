"""The embedded queue is a real server: closed to strangers, and its log outlives kill -9."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from gateway.local import valkey as valkey_module
from gateway.local.probe import free_port
from gateway.local.processes import LocalError
from gateway.local.valkey import Valkey, answers, find_server

Eventually = Callable[[Callable[[], bool]], None]
IsRunning = Callable[[int], bool]

LOGGED_WITHIN_S = 20


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A running server."""
    server = Valkey(tmp_path / "with space" / "valkey", tmp_path / "valkey.log")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(valkey: Valkey) -> Iterator[redis.Redis]:
    """Connected to the server."""
    with redis.Redis.from_url(
        valkey.url, decode_responses=True, socket_timeout=LOGGED_WITHIN_S + 5
    ) as connected:
        yield connected


def wait_for_the_log(client: redis.Redis) -> None:
    """Until all that the client wrote is in the log: while the disk is slow, answers come first."""
    assert client.waitaof(1, 0, LOGGED_WITHIN_S * 1000) == [1, 0]


def test_it_persists_and_never_evicts(client: redis.Redis) -> None:
    assert client.config_get("appendonly") == {"appendonly": "yes"}
    assert client.config_get("appendfsync") == {"appendfsync": "everysec"}
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert client.config_get("bind") == {"bind": "127.0.0.1"}


def test_it_refuses_a_stranger(valkey: Valkey) -> None:
    port = valkey.url.rpartition(":")[2]
    with (
        redis.Redis.from_url(f"redis://127.0.0.1:{port}") as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


def test_its_password_is_for_our_eyes_only(valkey: Valkey, tmp_path: Path) -> None:
    password = valkey.url.partition("://:")[2].partition("@")[0]
    config = tmp_path / "with space" / "valkey" / "valkey.conf"
    assert password in config.read_text()
    assert config.stat().st_mode & 0o777 == 0o600
    assert config.parent.stat().st_mode & 0o777 == 0o700
    assert password not in Path(f"/proc/{valkey.child.pid}/cmdline").read_text()


def test_what_it_logged_survives_kill_9(valkey: Valkey, client: redis.Redis) -> None:
    for number in range(100):
        client.rpush("queue", number)
    wait_for_the_log(client)
    os.kill(valkey.child.pid, signal.SIGKILL)
    valkey.stop()
    valkey.start()
    with redis.Redis.from_url(valkey.url, decode_responses=True) as again:
        assert again.lrange("queue", 0, -1) == [str(number) for number in range(100)]


def test_a_restarted_process_keeps_its_address(
    valkey: Valkey, client: redis.Redis, eventually: Eventually
) -> None:
    client.set("key", "value")
    wait_for_the_log(client)
    os.kill(valkey.child.pid, signal.SIGKILL)
    eventually(lambda: valkey.child.poll() is not None)
    valkey.child.start()
    eventually(lambda: answers(valkey.url))
    assert client.get("key") == "value"


def test_it_dies_with_its_parent(
    tmp_path: Path, eventually: Eventually, is_running: IsRunning
) -> None:
    script = (
        "import time; from pathlib import Path; from gateway.local.valkey import Valkey\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "server = Valkey(folder / 'valkey', folder / 'log'); server.start()\n"
        "print(server.child.pid, server.url, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        pid, url = parent.stdout.readline().split()
        assert answers(url)
        parent.kill()
    eventually(lambda: not is_running(int(pid)))
    assert not answers(url)


def test_a_port_that_somebody_took_is_tried_again(
    tmp_path: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = int(valkey.url.rpartition(":")[2].partition("/")[0])
    ports = iter([taken, free_port()])
    monkeypatch.setattr(valkey_module, "free_port", lambda: next(ports))
    second = Valkey(tmp_path / "second", tmp_path / "second.log")
    started = time.monotonic()
    second.start()
    try:
        assert answers(second.url)
        assert second.url != valkey.url
        assert time.monotonic() - started < valkey_module.START_WITHIN_S
    finally:
        second.stop()


def test_without_any_server_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert find_server().name == "valkey-server"
    monkeypatch.setattr(valkey_module, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LocalError, match=r"install the extra `local`.*or set REDIS_URL"):
        find_server()
