"""An operator with a key of scope admin, and the commands as a shell would run them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from gateway.accounts.service import Scope, create_key, ensure_account
from gateway.app import create_app
from gateway.cli.admin import admin
from gateway.services import Services


@dataclass
class Operator:
    """Somebody with an admin key."""

    http: httpx2.Client
    key: str

    def get(self, path: str, **kwargs: Any) -> Any:
        """Get a path below `/admin/v1`."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return self.http.get(f"/admin/v1{path}", headers=headers, **kwargs)

    def post(self, path: str, *, key: str | None = None, **fields: Any) -> Any:
        """Post to a path below `/admin/v1`; a reason is given if none is named."""
        headers = {"Authorization": f"Bearer {self.key}"}
        headers |= {"Idempotency-Key": key} if key is not None else {}
        body = {"reason": "a test", **fields}
        return self.http.post(f"/admin/v1{path}", headers=headers, json=body)

    def create(self, name: str) -> str:
        """A new account's id."""
        answer = self.post("/accounts", name=name)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


@pytest.fixture
def http(services: Services) -> TestClient:
    """The application; its background sweeps do not run."""
    return TestClient(create_app(services), raise_server_exceptions=False)


@pytest.fixture
def make_key(services: Services) -> Callable[[str, Scope], str]:
    """A fresh key of the account of this name."""

    def make(name: str, scope: Scope) -> str:
        now = services.clock.now()
        with services.database.write() as connection:
            account_id = ensure_account(connection, name, plan_id="free", now=now)
            return create_key(connection, account_id, now=now, scope=scope)

    return make


@pytest.fixture
def operator(http: TestClient, make_key: Callable[[str, Scope], str]) -> Operator:
    """Somebody who may do everything."""
    return Operator(http, make_key("root", Scope.ADMIN))


@pytest.fixture
def shell(database_url: str, config_dir: Path, tmp_path: Path) -> Callable[..., Any]:
    """`reelgate admin` with these words, on a migrated database."""
    environment = {
        "REELGATE_CONFIG_DIR": str(config_dir),
        "REELGATE_DATABASE_URL": database_url,
        "REELGATE_REDIS_URL": "redis://127.0.0.1:1",
        "REELGATE_STORAGE_DIR": str(tmp_path / "store"),
        "REELGATE_SECRET": "a-secret-that-is-long-enough-for-the-tests",
        "REELGATE_WORKER_TOKEN": "worker-token-of-the-tests",
    }

    def run(*words: str) -> Any:
        return CliRunner().invoke(admin, words, env=environment, catch_exceptions=False)

    return run
