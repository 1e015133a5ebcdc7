"""Give a database its past, quickly: without safety nets while it is written, with all after."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Table, create_engine, text
from sqlalchemy.sql.dml import Insert

from gateway.db.tables import (
    account,
    attempt,
    hold,
    idempotency,
    job,
    ledger_entry,
    ledger_tx,
    lot,
    subscription,
)
from tests.bench.ledger.backends import Backend, Postgres
from tests.bench.ledger.past import accounts, jobs, ledger
from tests.bench.ledger.past.frame import Frame, seed

_SQLITE_FAST = (
    "journal_mode=OFF",
    "synchronous=OFF",
    "foreign_keys=OFF",
    "cache_size=-1000000",
    "temp_store=FILE",
)
_POSTGRES_SERVER = (
    "fsync = off",
    "full_page_writes = off",
    "autovacuum = off",
    "max_wal_size = '8GB'",
    "checkpoint_timeout = '1h'",
)
_RELOAD = "SELECT pg_reload_conf()"
_POSTGRES_SESSION = {
    # No triggers, so no look-ups of foreign keys: the rows are right by construction.
    "session_replication_role": "replica",
    "synchronous_commit": "off",
    "maintenance_work_mem": "1GB",
    "work_mem": "256MB",
    "temp_buffers": "256MB",
}

# Rows that came with their numbers leave the sequence behind.
_NEXT_NUMBER = text("SELECT setval(pg_get_serial_sequence(:table, 'id'), :last)")


@dataclass(frozen=True)
class Filled:
    """One table: its rows, and its bytes with all its indexes."""

    table: str
    num_rows: int
    num_bytes: int


def fill(backend: Backend, database: str, frame: Frame) -> tuple[list[Filled], float]:
    """Write the past of `frame` into a fresh database; what was written, and seconds it took."""
    started = time.perf_counter()
    with _fast_connection(backend, database) as connection:
        filled = _fill_tables(connection, frame)
        connection.commit()
        _tidy(connection)
    # What is still on its way to the disk would be paid for by the first to commit.
    os.sync()
    return filled, time.perf_counter() - started


def _fill_tables(connection: Connection, frame: Frame) -> list[Filled]:
    seed.create(connection)
    connection.execute(frame.seeds())
    plan: list[tuple[Table, list[Insert]]] = [
        (account, [accounts.accounts(frame)]),
        (subscription, [accounts.subscriptions(frame)]),
        (lot, [accounts.lots(frame)]),
        (job, [jobs.jobs(frame)]),
        (attempt, [jobs.attempts(frame)]),
        (hold, [jobs.holds(frame)]),
        (idempotency, [jobs.identities(frame)]),
        (ledger_tx, ledger.transactions(frame)),
        (ledger_entry, ledger.entries(frame)),
    ]
    filled = [_fill_table(connection, table, statements) for table, statements in plan]
    seed.drop(connection)
    return filled


def _fill_table(connection: Connection, table: Table, statements: list[Insert]) -> Filled:
    """Indexes are made anew afterwards, which is faster than keeping them up."""
    before = _num_bytes(connection)
    for index in table.indexes:
        index.drop(connection)
    num_rows = sum(_write(connection, statement) for statement in statements)
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        index.create(connection)
    if connection.dialect.name == "postgresql" and table in (lot, ledger_tx):
        connection.execute(_NEXT_NUMBER, {"table": table.name, "last": num_rows})
    return Filled(table.name, num_rows, _num_bytes(connection) - before)


def _write(connection: Connection, statement: Insert) -> int:
    """Rows written; Python's SQLite does not count those of an INSERT that begins with WITH."""
    done = connection.execute(statement, execution_options={"preserve_rowcount": True})
    if connection.dialect.name == "postgresql":
        return int(done.rowcount)
    return int(connection.exec_driver_sql("SELECT changes()").scalar_one())


def _num_bytes(connection: Connection) -> int:
    if connection.dialect.name == "postgresql":
        size = text("SELECT pg_database_size(current_database())")
        return int(connection.execute(size).scalar_one())
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    return int(pages) * int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())


@contextmanager
def _fast_connection(backend: Backend, database: str) -> Iterator[Connection]:
    """A connection that gives up safety for speed, and leaves none of that behind."""
    if isinstance(backend, Postgres):
        options = " ".join(f"-c {name}={value}" for name, value in _POSTGRES_SESSION.items())
        engine = create_engine(backend.url(database), connect_args={"options": options})
        backend.execute(*(f"ALTER SYSTEM SET {each}" for each in _POSTGRES_SERVER), _RELOAD)
    else:
        engine = create_engine(backend.url(database), connect_args={"isolation_level": None})
    try:
        with engine.connect() as connection:
            if not isinstance(backend, Postgres):
                for pragma in _SQLITE_FAST:
                    connection.exec_driver_sql(f"PRAGMA {pragma}")
            yield connection
    finally:
        engine.dispose()
        if isinstance(backend, Postgres):
            backend.execute("ALTER SYSTEM RESET ALL", _RELOAD, "CHECKPOINT")


def _tidy(connection: Connection) -> None:
    """What autovacuum would have done by now."""
    if connection.dialect.name == "postgresql":
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("VACUUM (ANALYZE)"))
