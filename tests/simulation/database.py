"""The truth in memory: one SQLite for all seeds, set back to the same rows before each."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from sqlalchemy import Connection
from typing_extensions import override

from gateway.accounts.service import ensure_account
from gateway.db.migrate import upgrade
from gateway.db.session import Database
from gateway.db.tables import metadata
from gateway.domain.plans import Plans
from gateway.points.service import refresh
from gateway.points.subscriptions import change_plan
from tests.simulation.process import Process
from tests.simulation.settings import ACCOUNTS, OPENED_AT

_TABLES = [table.name for table in metadata.sorted_tables]


class MemoryDatabase(Database):
    """A migrated SQLite in memory with the accounts of the simulation, all on one connection.

    `raw` looks at it beside the product's own code; never inside a transaction.
    """

    def __init__(self, plans: Plans) -> None:
        super().__init__("sqlite://")
        self._readers.dispose()
        # A database in memory is seen by its own connection alone.
        self._readers = self.engine
        upgrade(self)
        self.raw = cast("sqlite3.Connection", self.engine.raw_connection().driver_connection)
        _open_accounts(self, plans)
        self._rows = {name: self._read(name) for name in _TABLES}

    def reset(self) -> None:
        """Back to how it was made."""
        self.raw.execute("PRAGMA foreign_keys=OFF")
        self.raw.execute("BEGIN")
        for name in _TABLES:
            self.raw.execute(f"DELETE FROM {name}")  # noqa: S608 -- a table of ours
            rows = self._rows[name]
            if rows:
                marks = ", ".join("?" * len(rows[0]))
                statement = f"INSERT INTO {name} VALUES ({marks})"  # noqa: S608 -- as above
                self.raw.executemany(statement, rows)
        self.raw.execute("COMMIT")
        self.raw.execute("PRAGMA foreign_keys=ON")

    def dump(self) -> str:
        """Every row there is."""
        return "\n".join(f"{name} {row}" for name in _TABLES for row in self._read(name))

    def _read(self, name: str) -> list[tuple[object, ...]]:
        statement = f"SELECT * FROM {name} ORDER BY rowid"  # noqa: S608 -- a table of ours
        return self.raw.execute(statement).fetchall()


class ProcessDatabase(Database):
    """What one life of the gateway sees of it: a kill may come before a commit, or after it."""

    def __init__(
        self, database: MemoryDatabase, process: Process, look: Callable[[], None]
    ) -> None:
        self.url = database.url
        self.is_sqlite = True
        self.engine = database.engine
        self._database = database
        self._process = process
        self._look = look

    @contextmanager
    @override
    def write(self) -> Iterator[Connection]:
        self._process.check()
        with self._database.write() as connection:
            yield connection
            self._process.may_die("before a commit")
        self._look()
        self._process.may_die("after a commit")

    @contextmanager
    @override
    def read(self) -> Iterator[Connection]:
        self._process.check()
        with self._database.read() as connection:
            yield connection


def _open_accounts(database: Database, plans: Plans) -> None:
    with database.write() as connection:
        for name, plan in ACCOUNTS.items():
            account_id = ensure_account(connection, name, plan_id=plans.default.id, now=OPENED_AT)
            refresh(connection, account_id, plans=plans, now=OPENED_AT)
            change_plan(connection, account_id, plans.get(plan), plans=plans, now=OPENED_AT)
