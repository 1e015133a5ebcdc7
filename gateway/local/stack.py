"""The whole system as child processes on loopback: queue, gateway and one worker.

    with LocalStack(Path("data")) as stack:
        client = openai.OpenAI(base_url=stack.base_url + "/v1", api_key=stack.api_key)

Everything lies under the data folder: `secrets.json` and `operator.env` (0600), `reelgate.db`,
`files/`, `spool/`, `valkey/`, `logs/`.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from gateway.local.probe import LOOPBACK, free_port, get_status
from gateway.local.processes import STOP_GRACE_S, Child, LocalError
from gateway.local.valkey import Valkey

READY_WITHIN_S = 60.0
DEMO_ACCOUNT = "demo"


class LocalStack:
    """A running system; a context manager that leaves nothing running behind it.

    Args:
        data_dir: made if missing, mode 0700; used by one stack at a time.
        port: of the gateway on 127.0.0.1; None picks a free one.
        say: gets a line for each part that starts.

    Attributes:
        base_url: of the gateway, without a path.
        api_key: of the account `demo`, the same for as long as the data folder lives.
        children: every running process, in the order of their start.
        operator_env: a file for a shell to source, so that `reelgate admin` finds this stack.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._data_dir = data_dir.absolute()
        self._port = port or free_port()
        self._say = say
        self._cleanup = contextlib.ExitStack()
        self._secrets: dict[str, str] = {}
        self.logs_dir = self._data_dir / "logs"
        self.operator_env = self._data_dir / "operator.env"
        self.base_url = f"http://{LOOPBACK}:{self._port}"
        self.api_key = ""
        self.children: list[Child] = []

    def __enter__(self) -> Self:
        """Start everything; answers when the gateway is ready and the worker runs."""
        try:
            self._start()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop everything, last started first."""
        self._cleanup.close()

    def check(self) -> None:
        """Raise ChildDiedError if a process has ended."""
        for child in self.children:
            child.check()

    def _start(self) -> None:
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.logs_dir.mkdir(exist_ok=True)
        self._cleanup.enter_context(_lock(self._data_dir))
        self._secrets = _ensure_secrets(self._data_dir / "secrets.json")
        redis_url = os.environ.get("REDIS_URL") or self._start_valkey()
        environment = self._environment(redis_url)
        _write_private(self.operator_env, _as_exports(environment))
        self._say("starting the gateway")
        gateway = self._start_child("gateway", ["serve", "--migrate"], environment)
        self._wait_until_ready(gateway)
        self.api_key = self._ensure_api_key(environment)
        self._say("starting a worker")
        self._start_child("worker", ["worker"], environment)

    def _start_valkey(self) -> str:
        self._say("starting the queue")
        valkey = Valkey(self._data_dir / "valkey", self.logs_dir / "valkey.log")
        self._cleanup.callback(valkey.stop)
        valkey.start()
        self.children.append(valkey.child)
        return valkey.url

    def _start_child(self, name: str, arguments: list[str], env: dict[str, str]) -> Child:
        log_path = self.logs_dir / f"{name}.log"
        child = Child(name, [*_reelgate(), *arguments], env=env, log_path=log_path)
        self._cleanup.callback(child.stop)
        child.start()
        self.children.append(child)
        return child

    def _environment(self, redis_url: str) -> dict[str, str]:
        inherited = {
            "REELGATE_CONFIG_DIR": str(Path(__file__).parents[2] / "configs"),
            "REELGATE_DEVICE": "cpu",
        }
        return {
            **{name: os.environ.get(name, value) for name, value in inherited.items()},
            "REELGATE_HOST": LOOPBACK,
            "REELGATE_PORT": str(self._port),
            "REELGATE_GATEWAY_URL": self.base_url,
            "REELGATE_DATABASE_URL": f"sqlite:///{self._data_dir / 'reelgate.db'}",
            "REELGATE_REDIS_URL": redis_url,
            "REELGATE_STORAGE_DIR": str(self._data_dir / "files"),
            # Empty is unset: an operator's own variable must not reach this stack.
            "REELGATE_STORAGE_URL": "",
            "REELGATE_SPOOL_DIR": str(self._data_dir / "spool"),
            "REELGATE_SECRET": self._secrets["secret"],
            "REELGATE_WORKER_TOKEN": self._secrets["worker_token"],
            "REELGATE_POOL": "default",
            # Hand a running job back before our patience ends and the kill comes.
            "REELGATE_DRAIN_S": str(STOP_GRACE_S / 2),
        }

    def _wait_until_ready(self, gateway: Child) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        last = "no answer"
        while time.monotonic() < deadline:
            self.check()
            with contextlib.suppress(OSError):
                status, body = get_status(LOOPBACK, self._port, "/readyz")
                if status == 200:  # noqa: PLR2004 -- HTTP's own number for "ready"
                    return
                last = f"{status} {body[:300]}"
            time.sleep(0.05)
        raise LocalError(
            f"the gateway was not ready within {READY_WITHIN_S:.0f} s ({last}); the end of "
            f"{gateway.log_path}:\n{gateway.log_tail()}"
        )

    def _ensure_api_key(self, environment: dict[str, str]) -> str:
        if "api_key" not in self._secrets:
            self._secrets["api_key"] = _create_api_key(environment)
            _write_private(self._data_dir / "secrets.json", json.dumps(self._secrets))
        return self._secrets["api_key"]


def _reelgate() -> list[str]:
    """The command line of `reelgate` in this very Python."""
    safe_path = ["-P"] if sys.flags.safe_path else []
    return [sys.executable, *safe_path, "-m", "gateway"]


def _as_exports(environment: dict[str, str]) -> str:
    """Lines for a shell to source; `reelgate` is found then as well."""
    exports = [f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()]
    programs = shlex.quote(str(Path(sys.executable).parent))
    return "".join([*exports, f'export PATH={programs}:"$PATH"\n'])


def _create_api_key(environment: dict[str, str]) -> str:
    command = [*_reelgate(), "admin", "key", "create", "--account", DEMO_ACCOUNT, "--json"]
    done = subprocess.run(  # noqa: S603 -- our own command line
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return str(json.loads(done.stdout)["key"])
    except (ValueError, KeyError, TypeError):
        raise LocalError(
            f"`{' '.join(command[-6:])}` gave no key (status {done.returncode}):\n{done.stderr}"
        ) from None


@contextlib.contextmanager
def _lock(data_dir: Path) -> Iterator[None]:
    """Hold `data_dir` for this process; raises LocalError where another one has it."""
    with (data_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalError(
                f"{data_dir} is in use by another `reelgate up`; stop that one, or give this one "
                "a folder of its own with --data"
            ) from None
        yield


def _ensure_secrets(path: Path) -> dict[str, str]:
    """The secrets of this data folder, made once."""
    if path.exists():
        return {str(name): str(value) for name, value in json.loads(path.read_text()).items()}
    made = {"secret": secrets.token_urlsafe(48), "worker_token": secrets.token_urlsafe(32)}
    _write_private(path, json.dumps(made))
    return made


def _write_private(path: Path, text: str) -> None:
    """Replace `path` in one step; nobody else can read it at any moment."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    part.write_text(text, encoding="utf-8")
    part.replace(path)
