"""Many at once: no point is spent twice, no cap is passed, every job ends once."""

from collections.abc import Callable
from functools import partial
from itertools import permutations

import pytest
from sqlalchemy import func, select

from gateway.db.session import Database
from gateway.db.tables import bonus_code, job, ledger_tx, lot
from gateway.domain.jobs import JobState
from tests.support.clock import ManualClock
from tests.support.ledger import LEASE_S, Teller, plans_for_tests
from tests.support.postgres import PostgresServer
from tests.support.together import at_once, kinds, submit_from_processes

DAILY_POINTS = 60


@pytest.mark.parametrize(("price", "accepted"), [(10, 6), (20, 3), (60, 1), (61, 0)])
def test_of_parallel_submits_exactly_what_the_points_cover_is_accepted(
    teller: Teller, ada: str, price: int, accepted: int
) -> None:
    answers = at_once(*[lambda: teller.submit(ada, price)] * 12)
    expected = {"Placed": accepted, "InsufficientPoints": 12 - accepted}
    assert kinds(answers) == {name: number for name, number in expected.items() if number}
    balance = teller.balance(ada)
    assert balance.held == accepted * price
    if accepted:
        assert balance.available == DAILY_POINTS - accepted * price


def test_parallel_submits_pass_no_cap_of_waiting_jobs(teller: Teller, ada: str) -> None:
    answers = at_once(*[lambda: teller.submit(ada, 1)] * 14)
    assert kinds(answers) == {"Placed": 10, "TooManyJobs": 4}


def test_parallel_submits_pass_no_cap_of_a_day(database: Database, clock: ManualClock) -> None:
    teller = Teller(database, clock, plans_for_tests(max_jobs_per_day=5))
    ada = teller.open_account("ada")
    answers = at_once(*[lambda: teller.submit(ada, 1)] * 12)
    assert kinds(answers) == {"Placed": 5, "DailyLimit": 7}


def test_the_same_request_in_parallel_is_one_job(teller: Teller, ada: str) -> None:
    answers = at_once(*[lambda: teller.submit(ada, 10, key="one")] * 8)
    assert kinds(answers) == {"Placed": 8}
    assert len({getattr(answer, "job_id", None) for answer in answers}) == 1
    assert teller.balance(ada).held == 10


@pytest.mark.slow
def test_several_processes_on_postgresql_overdraw_nothing(
    postgres: PostgresServer, clock: ManualClock
) -> None:
    with postgres.fresh_database() as url:
        database = Database(url)
        teller = Teller(database, clock)
        ada = teller.open_account("ada")
        answers = submit_from_processes(
            url, ada, now=clock.now(), price=10, num_processes=3, num_each=6
        )
        assert answers == {"Placed": 6, "InsufficientPoints": 12}
        assert (teller.balance(ada).available, teller.balance(ada).held) == (0, 60)
        assert teller.breaches() == []
        database.close()


def test_parallel_claims_give_a_job_to_one_worker_and_keep_the_cap(
    database: Database, clock: ManualClock
) -> None:
    teller = Teller(database, clock, plans_for_tests(max_running=2))
    accounts = [teller.open_account(name) for name in ("ada", "bob", "eve")]
    for account in accounts:
        for _ in range(5):
            teller.submit(account, 1)

    for _ in range(4):
        answers = at_once(*[lambda: teller.claim(limit=4)] * 6)
        assert kinds(answers) == {"list": 6}
        assert max(running_jobs(teller)) <= 2
    assert running_jobs(teller) == [2, 2, 2]
    assert teller.breaches() == []


def running_jobs(teller: Teller) -> list[int]:
    """How many jobs run, for each account that runs any."""
    with teller.database.read() as connection:
        query = select(func.count()).where(job.c.state == JobState.RUNNING)
        return list(connection.execute(query.group_by(job.c.account_id)).scalars())


def test_a_job_that_everybody_ends_at_once_ends_once(
    teller: Teller, ada: str, clock: ManualClock
) -> None:
    for order in permutations(range(4)):
        job_id = teller.submit(ada, 1).job_id
        [ref] = teller.claim()
        clock.advance(seconds=LEASE_S)
        moves: list[Callable[[], object]] = [
            partial(teller.complete, ref),
            partial(teller.cancel, ada, job_id),
            partial(teller.reap, job_id),
            partial(teller.fail, ref),
        ]
        at_once(*[moves[number] for number in order])
        if not teller.job(job_id).state.is_terminal:
            teller.cancel(ada, job_id)
        ended = teller.job(job_id)
        assert ended.points_charged == (1 if ended.state is JobState.SUCCEEDED else 0)
        with teller.database.read() as connection:
            ends = connection.execute(
                select(func.count()).where(
                    ledger_tx.c.job_id == job_id, ledger_tx.c.kind.in_(["settle", "refund"])
                )
            ).scalar_one()
        assert ends == 1
        if teller.balance(ada).available == 0:
            teller.give(ada, 10)


def test_a_job_that_is_deleted_while_the_sweep_comes_is_refunded_once(
    teller: Teller, ada: str, clock: ManualClock
) -> None:
    for _ in range(6):
        job_id = teller.submit(ada, 10).job_id
        teller.claim()
        clock.advance(seconds=LEASE_S)
        answers = at_once(partial(teller.forget, ada, job_id), partial(teller.reap, job_id))
        assert set(kinds(answers)) <= {"Moved", "NoneType"}
        assert teller.balance(ada).held == 0
        assert teller.balance(ada).available == DAILY_POINTS


def test_the_sweep_leaves_a_job_whose_lease_was_renewed(
    teller: Teller, ada: str, clock: ManualClock
) -> None:
    job_id = teller.submit(ada, 10).job_id
    teller.claim()
    clock.advance(seconds=LEASE_S - 1)
    assert teller.reap(job_id) is None
    assert teller.job(job_id).state is JobState.RUNNING


def test_a_payment_that_is_reported_in_parallel_grants_once(teller: Teller, ada: str) -> None:
    answers = at_once(*[lambda: teller.topup(ada, "payment")] * 8)
    assert kinds(answers) == {"NoneType": 1, "AlreadyDone": 7}
    assert teller.balance(ada).available == 100


def test_a_code_at_its_last_use_serves_one_account(teller: Teller) -> None:
    teller.create_code("WELCOME", points=5, max_uses=1)
    accounts = [teller.open_account(f"account-{number}") for number in range(6)]
    answers = at_once(*[partial(teller.redeem, account, "WELCOME") for account in accounts])
    assert kinds(answers) == {"int": 1, "InvalidRequest": 5}
    with teller.database.read() as connection:
        assert connection.execute(select(bonus_code.c.uses)).scalar_one() == 1
        assert connection.execute(select(func.sum(lot.c.granted))).scalar_one() == 5


def test_a_code_is_used_once_by_an_account_in_parallel(teller: Teller, ada: str) -> None:
    teller.create_code("WELCOME", points=5, max_uses=3)
    answers = at_once(*[lambda: teller.redeem(ada, "WELCOME")] * 6)
    assert kinds(answers) == {"int": 1, "AlreadyDone": 5}
    assert teller.balance(ada).available == 5


def test_the_day_is_granted_once_however_many_look(teller: Teller, ada: str) -> None:
    at_once(*[lambda: teller.refresh(ada)] * 8)
    assert teller.balance(ada).available == DAILY_POINTS
