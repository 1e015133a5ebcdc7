"""Points of one account: granted by the day, held by a job, then spent or given back.

Every function runs inside the caller's transaction, which holds the account's lock (`hold`,
`settle`, `refund` and `refresh` take it themselves; taking it twice is harmless).
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, or_, select, update

from gateway.db.tables import account, hold, ledger_entry, ledger_tx, lot
from gateway.domain.errors import InsufficientPoints
from gateway.domain.plans import Plan, Plans
from gateway.domain.pricing import Quote
from gateway.points.ledger import (
    Book,
    LotKind,
    Move,
    TxKind,
    create_lot,
    lock_account,
    record,
)


@dataclass(frozen=True)
class Balance:
    """Points of an account now."""

    available: int
    held: int


def refresh(
    connection: Connection, account_id: str, *, plan: Plan, plans: Plans, now: datetime
) -> None:
    """Bring the account up to `now`: expire what is due, make today's grant if it is missing."""
    lock_account(connection, account_id)
    _expire_due(connection, account_id, now)
    _grant_today(connection, account_id, plan=plan, plans=plans, now=now)


def get_balance(connection: Connection, account_id: str) -> Balance:
    """The account's points, as of the last `refresh`."""
    row = connection.execute(
        select(
            func.coalesce(func.sum(lot.c.available), 0), func.coalesce(func.sum(lot.c.held), 0)
        ).where(lot.c.account_id == account_id)
    ).one()
    return Balance(available=int(row[0]), held=int(row[1]))


def place_hold(
    connection: Connection,
    account_id: str,
    job_id: str,
    *,
    quote: Quote,
    next_grant_at: datetime | None,
    now: datetime,
) -> None:
    """Set aside the price of a job, from what is to be drawn first. Call `refresh` before.

    Raises:
        InsufficientPoints: nothing was set aside.
    """
    moves = _draw(connection, account_id, quote.points, now)
    if moves is None:
        raise InsufficientPoints(
            required=quote.points,
            available=get_balance(connection, account_id).available,
            next_grant_at=next_grant_at,
        )
    connection.execute(
        insert(hold).values(
            job_id=job_id,
            account_id=account_id,
            points=quote.points,
            price_version=quote.price_version,
            created_at=now,
        )
    )
    record(
        connection,
        TxKind.HOLD,
        f"hold:{job_id}",
        account_id=account_id,
        job_id=job_id,
        moves=moves,
        now=now,
    )


def settle(connection: Connection, account_id: str, job_id: str, *, now: datetime) -> None:
    """End the job's hold by spending it.

    Raises:
        IntegrityError: the hold has ended before.
    """
    _end_hold(connection, account_id, job_id, kind=TxKind.SETTLE, target=Book.SPENT, now=now)


def refund(connection: Connection, account_id: str, job_id: str, *, now: datetime) -> None:
    """End the job's hold by giving it back to the lots it came from.

    Raises:
        IntegrityError: the hold has ended before.
    """
    _end_hold(connection, account_id, job_id, kind=TxKind.REFUND, target=Book.AVAILABLE, now=now)


def _end_hold(
    connection: Connection,
    account_id: str,
    job_id: str,
    *,
    kind: TxKind,
    target: Book,
    now: datetime,
) -> None:
    lock_account(connection, account_id)
    parts = connection.execute(
        select(ledger_entry.c.lot_id, ledger_entry.c.amount)
        .join(ledger_tx, ledger_tx.c.id == ledger_entry.c.tx_id)
        .where(
            ledger_tx.c.job_id == job_id,
            ledger_tx.c.kind == TxKind.HOLD,
            ledger_entry.c.book == Book.HELD,
        )
        .order_by(ledger_entry.c.id)
    ).all()
    moves = [Move(part.lot_id, part.amount, Book.HELD, target) for part in parts]
    record(
        connection,
        kind,
        f"{kind}:{job_id}",
        account_id=account_id,
        job_id=job_id,
        moves=moves,
        now=now,
    )
    charged = hold.c.points if target is Book.SPENT else 0
    connection.execute(
        update(hold).where(hold.c.job_id == job_id).values(charged=charged, closed_at=now)
    )


def _draw(connection: Connection, account_id: str, points: int, now: datetime) -> list[Move] | None:
    """Moves that set `points` aside, soonest to expire first; None if there are too few."""
    lots = connection.execute(
        select(lot.c.id, lot.c.available)
        .where(
            lot.c.account_id == account_id,
            lot.c.available > 0,
            or_(lot.c.expires_at.is_(None), lot.c.expires_at > now),
        )
        .order_by(lot.c.priority, lot.c.expires_at.is_(None), lot.c.expires_at, lot.c.id)
    ).all()
    moves: list[Move] = []
    missing = points
    for row in lots:
        if missing == 0:
            break
        taken = min(missing, row.available)
        moves.append(Move(row.id, taken, Book.AVAILABLE, Book.HELD))
        missing -= taken
    return moves if missing == 0 else None


def _expire_due(connection: Connection, account_id: str, now: datetime) -> None:
    due = connection.execute(
        select(lot.c.id, lot.c.available, lot.c.spent, lot.c.held, lot.c.expired).where(
            lot.c.account_id == account_id, lot.c.available > 0, lot.c.expires_at <= now
        )
    ).all()
    for row in due:
        # A refund can bring points back into a lot that expired before, so the key counts on.
        record(
            connection,
            TxKind.EXPIRE,
            f"expire:{row.id}:{row.expired}:{row.spent}:{row.held}",
            account_id=account_id,
            job_id=None,
            moves=[Move(row.id, row.available, Book.AVAILABLE, Book.EXPIRED)],
            now=now,
        )


def _grant_today(
    connection: Connection, account_id: str, *, plan: Plan, plans: Plans, now: datetime
) -> None:
    today = plans.day_of(now)
    last = connection.execute(
        select(account.c.last_daily_on).where(account.c.id == account_id)
    ).scalar_one()
    if last is not None and last >= today:
        return
    create_lot(
        connection,
        account_id,
        kind=LotKind.DAILY,
        grant_key=f"daily:{account_id}:{today.isoformat()}",
        points=plan.daily_points,
        now=now,
        expires_at=plans.end_of(today),
    )
    connection.execute(
        update(account).where(account.c.id == account_id).values(last_daily_on=today)
    )
