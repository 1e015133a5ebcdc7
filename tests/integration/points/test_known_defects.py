"""Defects that other gateways had in public, and what keeps each of them out of this one.

A row names the file (below `tests/`) and the test; those without a file are in this one.

 1  check, then an unconditional decrement: a negative balance
    integration/points/test_races.py
    test_of_parallel_submits_exactly_what_the_points_cover_is_accepted
 2  fifty requests in parallel overdraw five times
    integration/points/test_races.py
    test_several_processes_on_postgresql_overdraw_nothing
 3  limits checked before, usage recorded after
    test_points_are_set_aside_before_the_answer
 4  a failure that comes later is never refunded
    test_every_end_without_a_video_gives_the_points_back
 5  a refund runs twice
    test_the_database_refuses_a_second_end
 6  a refund restores the balance and leaves the total of what was used
    test_totals_follow_from_the_entries
 7  the settled amount is not written back; lists show 0
    test_a_list_shows_what_was_charged
 8  too few points look like a fault of the model's host
    integration/gateway/test_bad_input.py
    test_without_points_the_answer_is_402_with_what_is_missing
 9  running jobs counted in one place and started in another
    integration/points/test_races.py
    test_parallel_claims_give_a_job_to_one_worker_and_keep_the_cap
10  the cancel of a job that waits again acts on its last attempt
    test_a_job_that_waits_again_is_canceled_free_of_charge
11  a retry after a refund runs free
    test_a_new_request_after_a_refund_pays_anew
12  a month is granted twice where its window and its period differ
    integration/points/test_days_and_periods.py
    test_periods_are_counted_from_the_day_of_the_purchase
13  a day that is 24 rolling hours
    integration/points/test_days_and_periods.py
    test_the_day_begins_at_midnight_in_the_plans_zone
14  a day that ends at midnight in UTC
    integration/points/test_days_and_periods.py
    test_a_day_lasts_as_long_as_its_zone_says
15  the offset of an instant is lost on the way through the database
    test_instants_keep_their_zone
16  the day ends at the hour of its first use
    integration/points/test_days_and_periods.py
    test_points_die_at_midnight_whenever_they_were_granted
17  a reset that runs on a schedule, and did not run
    integration/points/test_days_and_periods.py
    test_a_gateway_that_was_silent_grants_the_current_period_alone
18  a model without a price is free
    unit/gateway/test_plans_and_prices.py
    test_a_model_without_a_price_is_not_served
19  a daily counter that is made once and never again
    integration/points/test_days_and_periods.py
    test_no_day_is_left_out_and_none_comes_twice
20  at the very instant of a reset a grant counts twice, or not at all
    integration/points/test_days_and_periods.py
    test_a_pack_lives_its_days_to_their_end
21  expiry in UTC, periods in local time
    integration/points/test_days_and_periods.py
    test_an_upgrade_grants_the_difference_and_keeps_the_end
22  nothing in the database forbids a negative balance
    test_the_database_refuses_a_negative_book
23  given points and bought points cannot be told apart
    test_what_was_spent_is_known_by_its_kind
24  a purchase that is sent again is charged again
    test_a_payment_counts_once_whoever_reports_it
25  a webhook that is delivered again grants again
    integration/points/test_races.py
    test_a_payment_that_is_reported_in_parallel_grants_once
26  a call that moves points is repeated without a key
    test_every_transaction_has_a_key_of_its_own
27  where a job belongs is read out of its id
    test_a_jobs_model_is_stored_and_not_in_its_id
28  a sweep for timeouts races the settlement
    integration/points/test_races.py
    test_a_job_that_everybody_ends_at_once_ends_once
"""

import ast
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError, StatementError

from gateway.db.tables import account, job, ledger_entry, ledger_tx, lot
from gateway.domain.errors import AlreadyDone, IdempotencyMismatch, StaleAttempt
from gateway.domain.jobs import JobState
from gateway.domain.points import Book, Fault, LotKind, TxKind
from gateway.jobs.repository import list_jobs
from gateway.points.holds import refund, settle
from gateway.points.statement import list_lines
from tests.support.clock import ManualClock
from tests.support.ledger import LEASE_S, MAX_ATTEMPTS, Teller, spent_by_kind

TESTS = Path(__file__).parents[2]
DEFECTS = 28


def test_every_defect_has_its_test() -> None:
    rows = re.findall(r"^ ?(\d+)  .+\n(?: +(\S+\.py)\n)? +(test_\w+)$", __doc__ or "", re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == list(range(1, DEFECTS + 1))
    for _, name, test in rows:
        path = TESTS / name if name else Path(__file__)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_points_are_set_aside_before_the_answer(teller: Teller, ada: str) -> None:
    teller.submit(ada, 40)
    assert (teller.balance(ada).available, teller.balance(ada).held) == (20, 40)


def fail_at_once(teller: Teller, account_id: str, job_id: str) -> None:
    """The worker says that it cannot be done."""
    for ref in teller.claim():
        teller.fail(ref)


def fail_every_time(teller: Teller, account_id: str, job_id: str) -> None:
    """The worker tries as often as it may."""
    for _ in range(MAX_ATTEMPTS):
        [ref] = teller.claim()
        teller.fail(ref, retryable=True)


def lose_every_worker(teller: Teller, account_id: str, job_id: str) -> None:
    """Nobody is heard of again."""
    assert isinstance(teller.clock, ManualClock)
    for _ in range(MAX_ATTEMPTS):
        teller.claim()
        teller.clock.advance(seconds=LEASE_S)
        teller.reap_all()


def cancel_waiting(teller: Teller, account_id: str, job_id: str) -> None:
    """The owner changes their mind at once."""
    teller.cancel(account_id, job_id)


def cancel_running(teller: Teller, account_id: str, job_id: str) -> None:
    """The owner changes their mind later."""
    teller.claim()
    teller.cancel(account_id, job_id)


def delete(teller: Teller, account_id: str, job_id: str) -> None:
    """The owner deletes what waits."""
    teller.forget(account_id, job_id)


@pytest.mark.parametrize(
    "end",
    [fail_at_once, fail_every_time, lose_every_worker, cancel_waiting, cancel_running, delete],
)
def test_every_end_without_a_video_gives_the_points_back(
    teller: Teller, ada: str, end: Callable[[Teller, str, str], None]
) -> None:
    end(teller, ada, teller.submit(ada, 40).job_id)
    assert (teller.balance(ada).available, teller.balance(ada).held) == (60, 0)
    with teller.database.read() as connection:
        states = connection.execute(select(job.c.state)).scalars().all()
    assert all(JobState(state).is_terminal for state in states)


@pytest.mark.parametrize("first_is_settle", [True, False])
@pytest.mark.parametrize("second_is_settle", [True, False])
def test_the_database_refuses_a_second_end(
    teller: Teller, ada: str, *, first_is_settle: bool, second_is_settle: bool
) -> None:
    other = teller.submit(ada, 20).job_id
    job_id = teller.submit(ada, 20).job_id
    [_, ref] = sorted(teller.claim(limit=2), key=lambda each: each.job_id != other)
    assert ref.job_id == job_id
    if first_is_settle:
        teller.complete(ref)
    else:
        teller.cancel(ada, job_id)
    before = teller.balance(ada)
    with pytest.raises(IntegrityError):
        end_again(teller, ada, job_id, settling=second_is_settle)
    assert teller.balance(ada) == before


def end_again(teller: Teller, account_id: str, job_id: str, *, settling: bool) -> None:
    """What a bug that forgets to look at the job would do."""
    rules, now = teller.plans.points, teller.clock.now()
    with teller.database.write() as connection:
        if settling:
            settle(connection, account_id, job_id, rules=rules, now=now)
        else:
            refund(connection, account_id, job_id, fault=Fault.OURS, rules=rules, now=now)


@pytest.mark.parametrize("kinds", [("hold", "hold"), ("settle", "refund"), ("refund", "settle")])
def test_the_database_allows_a_job_one_hold_and_one_end(
    teller: Teller, ada: str, kinds: tuple[str, str]
) -> None:
    job_id = teller.submit(ada, 20).job_id
    now = teller.clock.now()
    rows = [
        {"kind": kind, "key": f"key-{number}", "account_id": ada, "job_id": job_id, "at": now}
        for number, kind in enumerate(kinds)
    ]
    with pytest.raises(IntegrityError), teller.database.write() as connection:
        connection.execute(insert(ledger_tx), rows)


def test_totals_follow_from_the_entries(teller: Teller, ada: str) -> None:
    teller.submit(ada, 40)
    fail_at_once(teller, ada, "")
    assert teller.spent(ada) == 0
    with teller.database.read() as connection:
        lines = list_lines(connection, ada)
        entries = connection.execute(
            select(ledger_entry.c.book, func.sum(ledger_entry.c.amount)).group_by(
                ledger_entry.c.book
            )
        ).all()
    assert [(line.kind, line.available, line.balance_after) for line in lines] == [
        (TxKind.REFUND, 40, 60),
        (TxKind.HOLD, -40, 20),
        (TxKind.GRANT, 60, 60),
    ]
    assert {book: int(points) for book, points in entries} == {
        Book.ISSUED: -60,
        Book.AVAILABLE: 60,
        Book.HELD: 0,
    }


def test_a_list_shows_what_was_charged(teller: Teller, ada: str) -> None:
    teller.submit(ada, 40)
    for ref in teller.claim():
        teller.complete(ref)
    with teller.database.read() as connection:
        [listed] = list_jobs(connection, ada, after=None, limit=10, newest_first=True)
    assert (listed.points_held, listed.points_charged) == (40, 40)


def test_a_job_that_waits_again_is_canceled_free_of_charge(teller: Teller, ada: str) -> None:
    job_id = teller.submit(ada, 40).job_id
    [ref] = teller.claim()
    teller.fail(ref, retryable=True)
    teller.cancel(ada, job_id)
    assert teller.balance(ada).available == 60
    with pytest.raises(StaleAttempt):
        teller.complete(ref)
    with pytest.raises(StaleAttempt):
        teller.fail(ref, retryable=True)
    assert teller.claim() == []
    assert teller.balance(ada).available == 60


def test_an_attempt_that_was_replaced_ends_nothing(
    teller: Teller, ada: str, clock: ManualClock
) -> None:
    job_id = teller.submit(ada, 40).job_id
    [lost] = teller.claim()
    clock.advance(seconds=LEASE_S)
    teller.reap_all()
    [owner] = teller.claim()
    assert (owner.job_id, owner.attempt) == (job_id, lost.attempt + 1)
    for end in (teller.complete, teller.fail):
        with pytest.raises(StaleAttempt):
            end(lost)
    assert (teller.job(job_id).state, teller.balance(ada).held) == (JobState.RUNNING, 40)
    teller.complete(owner)
    assert teller.spent(ada) == 40


def test_a_key_answers_one_request_for_a_day(teller: Teller, ada: str, clock: ManualClock) -> None:
    first = teller.submit(ada, 10, key="one").job_id
    clock.advance(hours=24, seconds=-1)
    assert teller.submit(ada, 10, key="one").job_id == first
    with pytest.raises(IdempotencyMismatch):
        teller.submit(ada, 10, key="one", prompt="another")
    clock.advance(seconds=1)
    assert teller.submit(ada, 10, key="one", prompt="another").job_id != first


def test_a_new_request_after_a_refund_pays_anew(teller: Teller, ada: str) -> None:
    first = teller.submit(ada, 40, key="one").job_id
    teller.cancel(ada, first)
    second = teller.submit(ada, 40, key="two").job_id
    assert second != first
    for ref in teller.claim():
        teller.complete(ref)
    assert teller.submit(ada, 40, key="one").job_id == first
    assert (teller.spent(ada), teller.balance(ada).available) == (40, 20)


def test_instants_keep_their_zone(teller: Teller, ada: str) -> None:
    teller.refresh(ada)
    [daily] = teller.balance(ada).lots
    assert daily.expires_at == datetime(2026, 11, 21, 16, 0, tzinfo=UTC)
    assert daily.expires_at.utcoffset() is not None
    naive = datetime(2026, 11, 21, 16, 0)  # noqa: DTZ001 -- the mistake under test
    with (
        pytest.raises(StatementError, match="naive"),
        teller.database.write() as connection,
    ):
        connection.execute(update(account).values(suspended_at=naive))


@pytest.mark.parametrize("book", [Book.AVAILABLE, Book.HELD, Book.SPENT])
def test_the_database_refuses_a_negative_book(teller: Teller, ada: str, book: Book) -> None:
    teller.refresh(ada)
    column = lot.c[book.value]
    with pytest.raises(IntegrityError), teller.database.write() as connection:
        connection.execute(
            update(lot).values({book.value: column - 61, "expired": lot.c.expired + 61})
        )
    with pytest.raises(IntegrityError), teller.database.write() as connection:
        connection.execute(update(lot).values({book.value: column + 1}))


def test_what_was_spent_is_known_by_its_kind(teller: Teller, ada: str) -> None:
    teller.topup(ada, "payment")
    teller.submit(ada, 90)
    for ref in teller.claim():
        teller.complete(ref)
    with teller.database.read() as connection:
        assert spent_by_kind(connection, ada) == {LotKind.DAILY: 60, LotKind.TOPUP: 30}


def test_a_payment_counts_once_whoever_reports_it(teller: Teller, ada: str) -> None:
    teller.topup(ada, "payment")
    for account_id in (ada, teller.open_account("bob")):
        with pytest.raises(AlreadyDone):
            teller.topup(account_id, "payment")
    assert teller.balance(ada).available == 100


def test_every_transaction_has_a_key_of_its_own(teller: Teller, ada: str) -> None:
    teller.refresh(ada)
    teller.revoke(ada, 5, "correction")
    with pytest.raises(IntegrityError):
        teller.revoke(ada, 5, "correction")
    assert teller.balance(ada).available == 55
    assert ledger_tx.c.key.unique


def test_a_jobs_model_is_stored_and_not_in_its_id(teller: Teller, ada: str) -> None:
    job_id = teller.submit(ada, 5).job_id
    found = teller.job(job_id)
    assert (found.model, found.pool) == (teller.card.id, teller.card.pool)
    assert found.model not in job_id
