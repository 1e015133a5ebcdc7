"""Rows of the ledger: transactions numbered as grants, expiries, holds, ends; their entries."""

from sqlalchemy import ColumnElement, FromClause, case, cast, literal
from sqlalchemy.sql.dml import Insert

from gateway.db.tables import Id, ledger_entry, ledger_tx
from gateway.domain.points import Book, TxKind
from tests.bench.ledger.past.accounts import PACK, PACK_POINTS, grant_key
from tests.bench.ledger.past.frame import (
    FAILED_EVERY,
    LOTS_PER_ACCOUNT,
    Frame,
    Number,
    pick,
    rows,
    seed,
)

EXPIRED_PER_ACCOUNT = 2


def transactions(frame: Frame) -> list[Insert]:
    """A grant for each lot, an expiry for each dead one, a hold and an end for each job."""
    lots, dead = frame.series(frame.num_lots), frame.series(_num_expired(frame))
    dead_lot = _expired_lot(dead.c.n)
    is_failed = seed.c.is_failed == 1
    return [
        rows(
            ledger_tx,
            lots,
            id=lots.c.n + 1,
            kind=TxKind.GRANT,
            key=literal("grant:") + grant_key(frame, lots.c.n),
            account_id=frame.account_id(lots.c.n // LOTS_PER_ACCOUNT),
            at=frame.start,
        ),
        rows(
            ledger_tx,
            dead,
            id=dead.c.n + 1 + frame.num_lots,
            kind=TxKind.EXPIRE,
            key=literal("expire:") + cast(dead_lot, Id) + literal(":0"),
            account_id=frame.account_id(dead.c.n // EXPIRED_PER_ACCOUNT),
            at=frame.now,
        ),
        rows(
            ledger_tx,
            seed,
            id=seed.c.n + 1 + _first_hold(frame),
            kind=TxKind.HOLD,
            key=literal("hold:") + seed.c.id,
            account_id=seed.c.account_id,
            job_id=seed.c.id,
            at=seed.c.created_at,
        ),
        rows(
            ledger_tx,
            seed,
            id=seed.c.n + 1 + _first_hold(frame) + frame.num_jobs,
            kind=case((is_failed, TxKind.REFUND), else_=TxKind.SETTLE),
            key=case((is_failed, literal("refund:")), else_=literal("settle:")) + seed.c.id,
            account_id=seed.c.account_id,
            job_id=seed.c.id,
            at=seed.c.ended_at,
        ),
    ]


def entries(frame: Frame) -> list[Insert]:
    """Two for each transaction, in its order."""
    daily = frame.workload.plans.default.daily_points
    granted, expired, held, ended = (
        frame.series(2 * count)
        for count in (frame.num_lots, _num_expired(frame), frame.num_jobs, frame.num_jobs)
    )
    lot = granted.c.n // 2
    amount = case((lot % LOTS_PER_ACCOUNT == PACK, PACK_POINTS), else_=daily)
    job = ended.c.n // 2
    is_failed = job // frame.num_accounts % FAILED_EVERY == FAILED_EVERY - 1
    end_book = case((is_failed, Book.AVAILABLE), else_=Book.SPENT)
    first_end = _first_hold(frame) + frame.num_jobs
    return [
        _pairs(granted, 0, lot + 1, Book.ISSUED, Book.AVAILABLE, amount),
        _pairs(
            expired,
            frame.num_lots,
            _expired_lot(expired.c.n // 2),
            Book.AVAILABLE,
            Book.EXPIRED,
            daily,
        ),
        _pairs(
            held,
            _first_hold(frame),
            _pack_of(frame, held.c.n // 2),
            Book.AVAILABLE,
            Book.HELD,
            frame.points,
        ),
        _pairs(ended, first_end, _pack_of(frame, job), Book.HELD, end_book, frame.points),
    ]


def _pairs(
    numbers: FromClause,
    first_tx: int,
    lot_id: Number,
    source: Book,
    target: Book | ColumnElement[str],
    points: int | Number,
) -> Insert:
    """Entries 2k and 2k+1 of transaction k, counted from `first_tx`."""
    number, side = numbers.c.n, numbers.c.n % 2
    return rows(
        ledger_entry,
        numbers,
        tx_id=number // 2 + 1 + first_tx,
        lot_id=lot_id,
        book=pick(side, [source, target]),
        amount=(side * 2 - 1) * points,
    )


def _num_expired(frame: Frame) -> int:
    return frame.num_accounts * EXPIRED_PER_ACCOUNT


def _first_hold(frame: Frame) -> int:
    """How many transactions come before the first job's."""
    return frame.num_lots + _num_expired(frame)


def _expired_lot(number: Number) -> Number:
    owner = number // EXPIRED_PER_ACCOUNT
    return owner * LOTS_PER_ACCOUNT + number % EXPIRED_PER_ACCOUNT + 1


def _pack_of(frame: Frame, job: Number) -> Number:
    return job % frame.num_accounts * LOTS_PER_ACCOUNT + PACK + 1
