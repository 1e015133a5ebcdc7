"""What an operator sets for a worker host, read from `REELGATE_*` environment variables."""

import os
import secrets
import socket
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.protocol import PoolName, WorkerName


def _unique_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


class SpoolSettings(BaseSettings):
    """What a health check has to know.

    Attributes:
        spool_dir: finished renders wait here until the gateway has them; one worker each.
    """

    model_config = SettingsConfigDict(env_prefix="REELGATE_", frozen=True)

    spool_dir: Path = Path("reelgate-data/spool")


class WorkerSettings(SpoolSettings):
    """One worker host: one pool, one device, one spool folder.

    Attributes:
        gateway_url: where the worker API lives, without `/worker/v1`.
        worker_token: what the gateway accepts as a worker.
        redis_url: may hold a password, so it is never printed.
        worker_name: unique among live workers. One that is to stay drained over a restart needs the
            same name again; if none is given, every start has a new one.
        config_dir: holds `models.yaml`.
        drain_s: after SIGTERM, how long the running batch may still take.
        cancel_grace_s: how long a renderer may stay deaf to a cancel before it is killed.
        model_budget_bytes: what the models kept on the device may take together; one model alone
            may take more, and 0 keeps no more than one.
        quarantine_after: failures in a row that point at the machine before the worker claims
            nothing until a self-test succeeds.
    """

    gateway_url: str = "http://127.0.0.1:8000"
    worker_token: SecretStr
    redis_url: str = Field(default="redis://127.0.0.1:6379/0", repr=False)
    pool: PoolName = "default"
    device: str = "cpu"
    worker_name: WorkerName = Field(default_factory=_unique_name)
    config_dir: Path = Path("configs")
    log_level: str = "INFO"
    drain_s: float = Field(default=60.0, ge=0)
    cancel_grace_s: float = Field(default=10.0, ge=0)
    model_budget_bytes: int = Field(default=0, ge=0)
    quarantine_after: int = Field(default=3, ge=1)
