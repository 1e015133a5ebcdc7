"""The yardstick: the statements that a submit sends, sent again by the bare driver.

They are recorded on one copy of a database and replayed, in the same order and with the same
parameters, on another; ids that the database hands out come out the same, so nothing is left out.
"""

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection

from gateway.db.session import _SQLITE_PRAGMAS, Database
from tests.bench.ledger.backends import file_of
from tests.bench.ledger.workload import Latency, Request, Workload, send


@dataclass(frozen=True)
class Statement:
    """What one call of the driver's cursor was given."""

    text: str
    parameters: Any
    is_many: bool


Transaction = Sequence[Statement]


def record(url: str, requests: list[Request], workload: Workload) -> list[Transaction]:
    """Submit `requests`; the statements of each."""
    heard: list[Statement] = []

    def hear(_c: object, _cursor: object, text: str, parameters: object, *rest: object) -> None:
        heard.append(Statement(text, parameters, is_many=bool(rest[-1])))

    transactions: list[Transaction] = []
    with closing(Database(url)) as database:
        with database.read():
            pass  # the first connection asks the server about itself
        event.listen(database.engine, "before_cursor_execute", hear)
        for request in requests:
            send(database, request, workload)
            transactions.append(tuple(heard))
            heard.clear()
    return transactions


def connect(url: str) -> DBAPIConnection:
    """The bare driver, set up as the gateway sets up its own."""
    if not url.startswith("sqlite"):
        dsn = url.replace("postgresql+psycopg://", "postgresql://", 1)
        return cast("DBAPIConnection", psycopg.connect(dsn))
    connection = sqlite3.connect(file_of(url), isolation_level=None)
    for pragma in _SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return cast("DBAPIConnection", connection)


def play(connection: DBAPIConnection, transaction: Transaction) -> Latency:
    """Run and commit a recorded transaction, reading every answer."""
    started = time.perf_counter()
    cursor = connection.cursor()
    for statement in transaction:
        if statement.is_many:
            cursor.executemany(statement.text, statement.parameters)
            continue
        cursor.execute(statement.text, statement.parameters)
        if cursor.description:
            cursor.fetchall()
    cursor.close()
    worked = time.perf_counter()
    connection.commit()
    return Latency(time.perf_counter() - started, worked - started)
