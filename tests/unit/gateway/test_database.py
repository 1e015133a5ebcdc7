"""Migrations, transactions, and who may serve a SQLite file."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from gateway.accounts.service import create_key
from gateway.db.migrate import check, downgrade, is_at_head, upgrade
from gateway.db.session import Database, DatabaseInUse, serve_alone
from gateway.db.tables import account
from gateway.services import Services
from tests.support.clock import ManualClock


def test_migrations_end_where_the_tables_stand(database_url: str) -> None:
    database = Database(database_url)
    check(database)
    downgrade(database, "base")
    assert not is_at_head(database)
    upgrade(database)
    upgrade(database)
    assert is_at_head(database)
    check(database)
    database.close()


def test_a_block_that_raises_leaves_nothing(services: Services, clock: ManualClock) -> None:
    row = {"id": "acc_1", "name": "ada", "plan": "free", "created_at": clock.now()}
    twice = [row, {**row, "id": "acc_2"}]
    with pytest.raises(IntegrityError), services.database.write() as connection:
        connection.execute(insert(account), twice)
    with services.database.read() as connection:
        assert connection.execute(select(account)).all() == []


def test_what_clients_wrote_is_in_no_error(services: Services, clock: ManualClock) -> None:
    row = {"id": "acc_1", "name": "a secret", "plan": "free", "created_at": clock.now()}
    twice = insert(account).values([row, row])
    with pytest.raises(IntegrityError) as caught, services.database.write() as connection:
        connection.execute(twice)
    assert "INSERT INTO account" in str(caught.value)
    assert "a secret" not in str(caught.value).partition("DETAIL")[0]


def test_readers_cannot_write_and_do_not_wait(sqlite_url: str, clock: ManualClock) -> None:
    database = Database(sqlite_url)
    row = {"id": "acc_1", "name": "ada", "plan": "free", "created_at": clock.now()}
    with database.write() as writing:
        writing.execute(insert(account).values(row))
        with database.read() as reading:
            assert reading.execute(select(account)).all() == []
    with pytest.raises(DBAPIError, match="readonly"), database.read() as reading:
        reading.execute(insert(account).values({**row, "id": "acc_2", "name": "bob"}))
    database.close()


def test_instants_come_back_aware_and_equal(services: Services, clock: ManualClock) -> None:
    row = {"id": "acc_1", "name": "ada", "plan": "free", "created_at": clock.now()}
    with services.database.write() as connection:
        connection.execute(insert(account).values(row))
        assert connection.execute(select(account.c.created_at)).scalar_one() == clock.now()
    naive = clock.now().replace(tzinfo=None)
    with pytest.raises(Exception, match="naive"), services.database.write() as connection:
        connection.execute(insert(account).values({**row, "id": "b", "created_at": naive}))


def test_foreign_keys_hold(services: Services) -> None:
    with pytest.raises(IntegrityError), services.database.write() as connection:
        create_key(connection, "acc_nobody", now=services.clock.now())


def test_writers_take_turns(services: Services, clock: ManualClock) -> None:
    def add(number: int) -> None:
        with services.database.write() as connection:
            count = len(connection.execute(select(account)).all())
            connection.execute(
                insert(account).values(
                    id=f"acc_{number}", name=f"n{number}", plan=str(count), created_at=clock.now()
                )
            )

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with services.database.read() as connection:
        assert len(connection.execute(select(account)).all()) == 8


def test_one_process_serves_a_sqlite_file(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    with (
        serve_alone(database),
        pytest.raises(DatabaseInUse, match="another gateway process"),
        serve_alone(database),
    ):
        pass
    with serve_alone(database):
        pass
    database.close()
