"""Connections and transactions, the same for SQLite and PostgreSQL.

`write()` and `read()` are opened and closed by the edges (routes, housekeeping, commands) around
a whole request; services get the connection and never commit.
"""

import fcntl
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection

_SQLITE_PRAGMAS = (
    "journal_mode=WAL",
    # FULL: a commit that was answered survives a power cut.
    "synchronous=FULL",
    "busy_timeout=20000",
    "foreign_keys=ON",
)


class DatabaseInUse(Exception):
    """Another gateway process serves this SQLite file."""


class Database:
    """One database, opened by URL.

    SQLite lets one writer in at a time and is unfair to those who wait, so writers of this
    process queue at a lock of our own first; readers never wait.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self.engine = _create_engine(url, read_only=False)
        self._readers = _create_engine(url, read_only=True) if self.is_sqlite else self.engine
        self._write_lock: AbstractContextManager[Any] = (
            threading.Lock() if self.is_sqlite else nullcontext()
        )

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits when the block ends and rolls back when it raises."""
        with self._write_lock, self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction for looking; on SQLite it cannot write."""
        with self._readers.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()
        self._readers.dispose()


@contextmanager
def serve_alone(database: Database) -> Iterator[None]:
    """Hold the right to serve a SQLite file; PostgreSQL is shared and needs none.

    Raises:
        DatabaseInUse: another process holds it.
    """
    path = make_url(database.url).database
    if not database.is_sqlite or not path:
        yield
        return
    with Path(f"{path}.lock").open("w") as lock_file:
        _lock(lock_file, path)
        yield


def _lock(lock_file: IO[str], path: str) -> None:
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DatabaseInUse(
            f"{path} is served by another gateway process; stop it, or use PostgreSQL for several"
        ) from None


def _create_engine(url: str, *, read_only: bool) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(
            url, pool_pre_ping=True, pool_size=20, max_overflow=20, hide_parameters=True
        )
    # What clients wrote is in the parameters, and errors are logged.
    engine = create_engine(
        url,
        connect_args={"isolation_level": None, "check_same_thread": False},
        hide_parameters=True,
    )
    begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"

    @event.listens_for(engine, "connect")
    def _configure(connection: DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in (*_SQLITE_PRAGMAS, *(["query_only=ON"] if read_only else [])):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that first reads and then writes must not be turned away half-way.
        connection.exec_driver_sql(begin)

    return engine
