"""The writer is killed in the middle of its work, again and again: no answer it gave is lost."""

import multiprocessing
import random
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from sqlalchemy import func, select

from gateway.db.session import Database
from gateway.db.tables import hold, job, ledger_tx, lot
from gateway.domain.jobs import JobState
from tests.support.ledger import Teller
from tests.support.writer import (
    PRICE,
    Diary,
    LaterClock,
    read_diary,
    send,
    unanswered,
    write_until_killed,
)

NUM_KILLS = 50
# After its first ends; short enough for fifty in half a minute.
LIVES_S = (0.1, 0.5)
MIN_ENDS = 2
PATIENCE_S = 60.0


@pytest.fixture(scope="session")
def nursery() -> ForkServerContext:
    """Starts children that have the gateway loaded already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.writer"])
    return context


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh database, of each kind."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fifty_kills_lose_nothing_and_charge_nothing_twice(
    database: Database, nursery: ForkServerContext, tmp_path: Path
) -> None:
    teller = Teller(database, LaterClock(NUM_KILLS))
    account_id = teller.open_account("ada")
    path = tmp_path / "diary"
    path.touch()

    for number in range(NUM_KILLS):
        writer = nursery.Process(
            target=write_until_killed, args=(database.url, account_id, path, number)
        )
        writer.start()
        wait_for_ends(path)
        time.sleep(random.uniform(*LIVES_S))  # noqa: S311 -- the moment of the kill is the test
        writer.kill()
        writer.join()
        if number % 10 == 0:
            assert teller.breaches() == []

    teller.reap_all()
    diary = Diary(path)
    for key in unanswered(read_diary(path)):
        send(teller, account_id, key, diary)
    check_answers(database, read_diary(path))
    assert teller.breaches() == []


def wait_for_ends(path: Path) -> None:
    """Return once the writer has ended some jobs: it is at work, however slow the machine is."""
    before, until = num_ended(path), time.monotonic() + PATIENCE_S
    while num_ended(path) < before + MIN_ENDS:
        assert time.monotonic() < until, "the writer gets nothing done"
        time.sleep(0.01)


def num_ended(path: Path) -> int:
    """Jobs whose end the diary tells."""
    return len({line[1] for line in read_diary(path) if line[0] == "ended"})


def check_answers(database: Database, lines: list[list[str]]) -> None:
    """Whatever the diary says has happened, once."""
    jobs_by_key = {line[1]: line[2] for line in lines if line[0] == "sent"}
    ended = {line[1]: JobState(line[2]) for line in lines if line[0] == "ended"}
    payments = {line[1] for line in lines if line[0] == "granted"}
    assert len(ended) >= NUM_KILLS * MIN_ENDS
    with database.read() as connection:
        states = {row.id: row.state for row in connection.execute(select(job.c.id, job.c.state))}
        charges = {row.job_id: row.charged for row in connection.execute(select(hold))}
        grants = connection.execute(select(lot.c.grant_key)).scalars().all()
        num_ends = connection.execute(
            select(func.count()).where(ledger_tx.c.kind.in_(["settle", "refund"]))
        ).scalar_one()
        spent = connection.execute(select(func.sum(lot.c.spent))).scalar_one()
    assert sorted(jobs_by_key.values()) == sorted(states)
    assert {job_id: states[job_id] for job_id in ended} == ended
    assert {f"topup:{payment}" for payment in payments} <= set(grants)
    succeeded = [job_id for job_id, state in states.items() if state == JobState.SUCCEEDED]
    assert all(charges[job_id] == PRICE for job_id in succeeded)
    assert spent == PRICE * len(succeeded)
    assert num_ends == sum(JobState(state).is_terminal for state in states.values())
