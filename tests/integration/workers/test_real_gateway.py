"""Worker hosts under a real gateway: who died, who cannot render, and who does the work then."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.db.session import Database
from gateway.jobs.operate import WorkerLine, list_worker_lines
from gateway.jobs.workers import WorkerState
from gateway.local.probe import free_port, get_status
from gateway.local.processes import Child
from tests.conftest import ROOT, WORKER_TOKEN
from tests.integration.workers.conftest import write_cards
from tests.integration.workers.harness.polling import wait_until
from tests.integration.workers.harness.processes import Valkey, WorkerProcess
from tests.support.api import Client

pytestmark = pytest.mark.slow

LEASE_S, HEARTBEAT_S, REAP_EVERY_S = 3.0, 0.3, 0.3
# Of a twentieth of a second each: long enough to be killed in.
NUM_STEPS = 120
# Far less than the lease of a gateway that is not told otherwise.
SOON_S = 25.0
PRICES = "prices:\n" + "".join(
    f"  - {{model: {name}, points_per_second: 0, flat_points: 1}}\n"
    for name in ("scripted", "other")
)


@dataclass
class Site:
    """A gateway process, its operator, and the workers that were started for it."""

    folder: Path
    environment: dict[str, str]
    database: Database
    workers: dict[str, WorkerProcess]

    @property
    def url(self) -> str:
        """Where the gateway listens."""
        return self.environment["REELGATE_GATEWAY_URL"]

    def admin(self, *words: str) -> Any:
        """The JSON that `reelgate admin ...` prints."""
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "admin", *words, "--json"],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    def shown(self, worker: str) -> dict[str, Any]:
        """What `admin workers` says of a worker."""
        [line] = [each for each in self.admin("workers")["workers"] if each["name"] == worker]
        return dict(line)

    def find(self, worker: str) -> WorkerLine | None:
        """The same, asked without a process for each look."""
        with self.database.read() as connection:
            lines = list_worker_lines(
                connection, now=datetime.now(UTC), alive_for=timedelta(seconds=LEASE_S)
            )
        return next((line for line in lines if line.name == worker), None)

    def is_in_state(self, worker: str, state: WorkerState) -> bool:
        """Whether the worker is known so."""
        line = self.find(worker)
        return line is not None and line.state is state

    def start_worker(self, name: str) -> WorkerProcess:
        """A worker host with a spool of its own."""
        own = {"WORKER_NAME": name, "SPOOL_DIR": str(self.folder / f"spool-{name}")}
        env = {**self.environment, **{f"REELGATE_{key}": value for key, value in own.items()}}
        worker = WorkerProcess(env, self.folder / f"{name}.log")
        self.workers[name] = worker
        return worker


@pytest.fixture
def site(tmp_path: Path, valkey: Valkey) -> Iterator[Site]:
    """A gateway with short leases that serves the scripted models of the default pool."""
    write_cards(tmp_path, {"pool": "default", "modes": {"standard": NUM_STEPS}})
    shutil.copyfile(ROOT / "tests" / "support" / "plans.yaml", tmp_path / "plans.yaml")
    (tmp_path / "pricing.yaml").write_text(PRICES, "utf-8")
    (tmp_path / "gateway.yaml").write_text(
        f"lease_s: {LEASE_S}\nheartbeat_s: {HEARTBEAT_S}\nreap_every_s: {REAP_EVERY_S}\n", "utf-8"
    )
    port = free_port()
    values = {
        "CONFIG_DIR": str(tmp_path),
        "PORT": str(port),
        "GATEWAY_URL": f"http://127.0.0.1:{port}",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'reelgate.db'}",
        "REDIS_URL": valkey.url,
        "STORAGE_DIR": str(tmp_path / "store"),
        "SECRET": "a-secret-that-is-long-enough-for-the-tests",
        "WORKER_TOKEN": WORKER_TOKEN,
    }
    environment = {f"REELGATE_{key}": value for key, value in values.items()}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-m", "gateway", "serve", "--migrate"]
    gateway = Child("gateway", command, env=environment, log_path=tmp_path / "gateway.log")
    made = Site(tmp_path, environment, Database(values["DATABASE_URL"]), {})
    gateway.start()
    try:
        wait_until(lambda: _is_ready(gateway, port), within_s=60)
        yield made
    finally:
        for worker in made.workers.values():
            worker.kill()
        gateway.stop()
        made.database.close()


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    """Somebody with points."""
    key = site.admin("key", "create", "--account", "ada")["key"]
    with httpx2.Client(base_url=site.url, timeout=20) as http:
        yield Client(http, key)


def test_a_job_of_a_killed_worker_is_done_by_another_within_the_lease(
    site: Site, client: Client
) -> None:
    for name in ("one", "two"):
        site.start_worker(name).wait_ready()
    video_id = client.submit(seed=1).json()["id"]
    wait_until(lambda: client.video(video_id)["status"] == "in_progress")
    victim, other = "one", "two"
    if site.is_in_state(other, WorkerState.BUSY):
        victim, other = other, victim
    line = site.find(victim)
    assert line is not None
    assert line.running == [video_id]

    site.workers[victim].kill()
    killed_at = time.monotonic()
    wait_until(lambda: client.video(video_id)["metadata"]["attempt"] == 2, within_s=SOON_S)
    assert time.monotonic() - killed_at > LEASE_S - 2 * HEARTBEAT_S, "it might have lived"
    wait_until(lambda: client.video(video_id)["status"] == "completed", within_s=SOON_S)
    history = site.admin("job", video_id)["attempts"]
    assert [(each["worker"], each["outcome"]) for each in history] == [
        (victim, "lost"),
        (other, "succeeded"),
    ]
    assert site.is_in_state(victim, WorkerState.DEAD)
    assert site.is_in_state(other, WorkerState.IDLE)


def test_an_idle_worker_is_known_before_its_first_job_and_its_death_too(site: Site) -> None:
    worker = site.start_worker("quiet")
    wait_until(lambda: site.is_in_state("quiet", WorkerState.IDLE), within_s=SOON_S)
    assert site.shown("quiet")["loaded_models"] == ["scripted"]
    worker.kill()
    wait_until(lambda: site.is_in_state("quiet", WorkerState.DEAD), within_s=SOON_S)


def test_a_worker_whose_model_never_loads_is_unfit_and_says_why(site: Site) -> None:
    def says(unfit: str) -> bool:
        line = site.find("broken")
        return line is not None and str(line.unfit_reason).endswith(unfit)

    broken = site.folder / "broken-scripted"
    broken.touch()
    site.start_worker("broken")
    reason = "model scripted does not load: LoadFailed: the weights are not there"
    wait_until(lambda: says(reason), within_s=SOON_S)
    line = site.shown("broken")
    assert (line["state"], line["running"]) == ("unfit", [])
    assert line["unfit_reason"].endswith(reason)
    broken.unlink()
    wait_until(lambda: site.is_in_state("broken", WorkerState.IDLE), within_s=SOON_S)


def test_a_drained_worker_stays_drained_over_its_restart(site: Site, client: Client) -> None:
    worker = site.start_worker("same")
    worker.wait_ready()
    site.admin("drain", "same", "--reason", "a new driver")
    worker.kill()
    site.start_worker("same").wait_ready()
    video_id = client.submit(seed=1).json()["id"]
    wait_until(lambda: "worker_draining" in site.workers["same"].events)
    # Until its next heartbeat it is still what it was while its model loaded: unfit.
    wait_until(lambda: site.is_in_state("same", WorkerState.DRAINING), within_s=SOON_S)
    assert client.video(video_id)["status"] == "queued"
    site.admin("undrain", "same", "--reason", "it is in")
    wait_until(lambda: client.video(video_id)["status"] == "completed", within_s=SOON_S)


def _is_ready(gateway: Child, port: int) -> bool:
    gateway.check()
    try:
        status, _ = get_status("127.0.0.1", port, "/readyz")
    except OSError:
        return False
    return status == httpx2.codes.OK
