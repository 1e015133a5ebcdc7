"""The system under attack: Valkey, a gateway and two worker hosts, wires between them that we own.

Everything runs as in production; only leases and pauses are short, so that a lost worker is
noticed within seconds. Processes are started by the main thread alone: its end is their end.
"""

import os
import re
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import select

from gateway.db.migrate import upgrade
from gateway.db.session import Database
from gateway.db.tables import job
from gateway.domain.jobs import JobState
from gateway.local.probe import LOOPBACK, free_port
from gateway.local.processes import Child
from gateway.local.valkey import Valkey
from tests.chaos.faults import HOSTS
from tests.chaos.proxy import Proxy, Target
from tests.support.postgres import PostgresServer
from tests.support.stack import find_renderer, roomy_configs

LEASE_S = 4.0
_TIMES = {
    "REELGATE_LEASE_S": str(LEASE_S),
    "REELGATE_HEARTBEAT_S": "0.5",
    "REELGATE_REAP_EVERY_S": "0.5",
    "REELGATE_CANCEL_GRACE_S": "3",
    "REELGATE_DRAIN_S": "3",
    # Two workers and a gateway share two cores with their clients.
    "OMP_NUM_THREADS": "1",
}
_ENDLESS = "10000000"


@dataclass
class System:
    """What is running, and where its traces are.

    Attributes:
        environment: of every process; `REELGATE_DATABASE_URL` and the like lead over the wires.
        processes: by name.
        wires: `redis`, `http` (to the gateway, from clients and workers), maybe `database`.
        database: our own way to the truth, over no wire.
        redis_url: our own way to Valkey, over no wire.
        base_url: of the gateway, over its wire.
    """

    folder: Path
    environment: dict[str, str]
    processes: dict[str, Child]
    wires: dict[str, Proxy]
    database: Database
    redis_url: str
    base_url: str

    @property
    def logs_dir(self) -> Path:
        """A log for each process."""
        return self.folder / "logs"

    @property
    def store_dir(self) -> Path:
        """The files of jobs."""
        return self.folder / "files"

    def spool_dir(self, host: str) -> Path:
        """Where a worker host keeps what it has not reported yet."""
        return self.folder / "spool" / host

    def find_renderer_pid(self, host: str) -> int | None:
        """Process id of the child that owns the host's device, if it has one now."""
        child = self.processes[host]
        return find_renderer(child.pid) if child.poll() is None else None

    def has_model(self, host: str) -> bool:
        """Whether the newest renderer of the host has loaded its model."""
        text = self.processes[host].log_path.read_text(encoding="utf-8", errors="replace")
        return text.rfind('"model_loaded"') > text.rfind('"child_started"')

    def has_job(self, host: str) -> bool:
        """Whether the host holds a job now: it fetches, renders or reports."""
        with self.database.read() as connection:
            query = select(job.c.id).where(job.c.worker == host, job.c.state == JobState.RUNNING)
            return connection.execute(query.limit(1)).first() is not None


@contextmanager
def running_system(folder: Path, database: str) -> Iterator[System]:
    """All of it, started but not waited for; `database`: `sqlite` or `postgresql`."""
    with ExitStack() as cleanup:
        (folder / "logs").mkdir()
        valkey = Valkey(folder / "valkey", folder / "logs" / "valkey.log")
        cleanup.callback(valkey.stop)
        valkey.start()
        port = free_port()
        wires = {
            "redis": _start_proxy(cleanup, (LOOPBACK, urlsplit(valkey.url).port or 0)),
            "http": _start_proxy(cleanup, (LOOPBACK, port)),
        }
        truth_url = wired_url = f"sqlite:///{folder / 'reelgate.db'}"
        if database == "postgresql":
            truth_url = cleanup.enter_context(_postgres_database())
            wires["database"] = _start_proxy(cleanup, _postgres_socket(truth_url))
            name = urlsplit(truth_url).path
            wired_url = f"postgresql+psycopg://postgres@{LOOPBACK}:{wires['database'].port}{name}"
        truth = Database(truth_url)
        cleanup.callback(truth.close)
        upgrade(truth)
        environment = _environment(folder, wires, port=port, database_url=wired_url)
        environment["REELGATE_REDIS_URL"] = _moved(valkey.url, wires["redis"].port)
        processes = {"valkey": valkey.child, **_reelgate_processes(folder, environment)}
        for name, process in processes.items():
            if name != "valkey":
                cleanup.callback(process.stop)
                process.start()
        yield System(
            folder=folder,
            environment=environment,
            processes=processes,
            wires=wires,
            database=truth,
            redis_url=valkey.url,
            base_url=environment["REELGATE_GATEWAY_URL"],
        )


def _start_proxy(cleanup: ExitStack, target: Target) -> Proxy:
    proxy = Proxy(target)
    proxy.start()
    cleanup.callback(proxy.stop)
    return proxy


def _environment(
    folder: Path, wires: dict[str, Proxy], *, port: int, database_url: str
) -> dict[str, str]:
    return {
        **_TIMES,
        "REELGATE_CONFIG_DIR": str(_endless_configs(folder / "configs")),
        "REELGATE_DEVICE": "cpu",
        "REELGATE_HOST": LOOPBACK,
        "REELGATE_PORT": str(port),
        "REELGATE_GATEWAY_URL": f"http://{LOOPBACK}:{wires['http'].port}",
        "REELGATE_DATABASE_URL": database_url,
        "REELGATE_STORAGE_DIR": str(folder / "files"),
        # Empty is unset: an operator's own variable must not reach this system.
        "REELGATE_STORAGE_URL": "",
        "REELGATE_SECRET": secrets.token_urlsafe(48),
        "REELGATE_WORKER_TOKEN": secrets.token_urlsafe(32),
        "REELGATE_POOL": "default",
    }


def _reelgate_processes(folder: Path, environment: dict[str, str]) -> dict[str, Child]:
    program = [sys.executable, "-m", "gateway"]
    logs = folder / "logs"
    gateway = Child("gateway", [*program, "serve"], env=environment, log_path=logs / "gateway.log")
    hosts = {
        host: Child(
            host,
            [*program, "worker"],
            env={
                **environment,
                "REELGATE_WORKER_NAME": host,
                "REELGATE_SPOOL_DIR": str(folder / "spool" / host),
            },
            log_path=logs / f"{host}.log",
        )
        for host in HOSTS
    }
    return {"gateway": gateway, **hosts}


def _endless_configs(folder: Path) -> Path:
    """The shipped configuration with points and jobs a day for a run of hours."""
    plans = roomy_configs(folder) / "plans.yaml"
    text = plans.read_text(encoding="utf-8")
    text = re.sub(r"(daily_points|max_jobs_per_day): \d+", rf"\1: {_ENDLESS}", text)
    plans.write_text(text, encoding="utf-8")
    return folder


def _moved(url: str, port: int) -> str:
    """`url` with another port."""
    return url.replace(f":{urlsplit(url).port}/", f":{port}/")


@contextmanager
def _postgres_database() -> Iterator[str]:
    """URL of a migrated database; our connections to it are called `chaos`."""
    server = PostgresServer(Path(tempfile.mkdtemp(prefix="reelgate-pg-")))
    try:
        server.make_template()
        with server.fresh_database() as url:
            yield f"{url}&application_name=chaos"
    finally:
        server.stop()


def _postgres_socket(url: str) -> Path:
    [folder] = parse_qs(urlsplit(url).query)["host"]
    return Path(folder) / ".s.PGSQL.5432"


def signal_process(pid: int, number: int) -> bool:
    """Send the signal; False if the process has gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
