"""The hold of a job: its price set aside, then spent or given back, once.

Every function runs inside the caller's transaction and under the account's lock. That a hold ends
once is kept by the caller's compare-and-set on the job, and again by the database's own index.
"""

from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, or_, select, update

from gateway.db.tables import hold, ledger_entry, ledger_tx, lot
from gateway.domain.plans import PointRules
from gateway.domain.points import Book, Fault, LotKind, TxKind
from gateway.domain.pricing import Quote
from gateway.points.ledger import Grant, Move, create_lot, has_available, lock_account, record


def draw(
    connection: Connection, account_id: str, points: int, *, target: Book, now: datetime
) -> list[Move] | None:
    """Moves of `points` out of what is available, in the order of drawing; None if too few."""
    lots = connection.execute(
        select(lot.c.id, lot.c.available)
        .where(
            lot.c.account_id == account_id,
            has_available(),
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
        moves.append(Move(row.id, taken, Book.AVAILABLE, target))
        missing -= taken
    return moves if missing == 0 else None


def place_hold(
    connection: Connection, account_id: str, job_id: str, *, quote: Quote, now: datetime
) -> bool:
    """Set the quote's points aside for the job; False if there are too few, and nothing is done.

    Call `gateway.points.service.refresh` before, in the same transaction.
    """
    moves = draw(connection, account_id, quote.points, target=Book.HELD, now=now)
    if moves is None:
        return False
    connection.execute(
        insert(hold).values(
            job_id=job_id,
            account_id=account_id,
            points=quote.points,
            price_version=quote.price_version,
            breakdown=quote.breakdown.model_dump(mode="json"),
            created_at=now,
        )
    )
    record(
        connection,
        TxKind.HOLD,
        f"hold:{job_id}",
        moves,
        account_id=account_id,
        job_id=job_id,
        now=now,
    )
    return True


def settle(
    connection: Connection,
    account_id: str,
    job_id: str,
    *,
    rules: PointRules,
    now: datetime,
    points: int | None = None,
) -> int:
    """End the job's hold by spending `points` of it, or all; the rest goes back. What was spent.

    More than was held is never charged.

    Raises:
        IntegrityError: the hold has ended before.
    """
    lock_account(connection, account_id)
    parts = _held_parts(connection, job_id)
    held = sum(part.points for part in parts)
    charged = held if points is None else min(points, held)
    spent, rest = _split(parts, charged)
    moves = [Move(part.lot_id, part.points, Book.HELD, Book.SPENT) for part in spent]
    back = _ways_back(connection, rest, now)
    _end(
        connection,
        TxKind.SETTLE,
        account_id,
        job_id,
        [*moves, *back],
        charged=charged,
        now=now,
    )
    _grant_grace(connection, account_id, job_id, back, rules=rules, now=now)
    return charged


def refund(
    connection: Connection,
    account_id: str,
    job_id: str,
    *,
    fault: Fault,
    rules: PointRules,
    now: datetime,
) -> None:
    """End the job's hold by giving all of it back to the lots it came from.

    What belongs to a lot that has expired meanwhile is gone; if the fault is ours, as many points
    are granted again for `rules.grace_hours`.

    Raises:
        IntegrityError: the hold has ended before.
    """
    lock_account(connection, account_id)
    back = _ways_back(connection, _held_parts(connection, job_id), now)
    _end(connection, TxKind.REFUND, account_id, job_id, back, charged=0, now=now)
    if fault is Fault.OURS:
        _grant_grace(connection, account_id, job_id, back, rules=rules, now=now)


def _held_parts(connection: Connection, job_id: str) -> list[Move]:
    """What the hold set aside, lot by lot, in the order of drawing."""
    rows = connection.execute(
        select(ledger_entry.c.lot_id, ledger_entry.c.amount)
        .join(ledger_tx, ledger_tx.c.id == ledger_entry.c.tx_id)
        .where(
            ledger_tx.c.job_id == job_id,
            ledger_tx.c.kind == TxKind.HOLD,
            ledger_entry.c.book == Book.HELD,
        )
        .order_by(ledger_entry.c.id)
    )
    return [Move(row.lot_id, row.amount, Book.AVAILABLE, Book.HELD) for row in rows]


def _split(parts: list[Move], points: int) -> tuple[list[Move], list[Move]]:
    """The first `points` of `parts`, and the rest."""
    first, rest = [], []
    missing = points
    for part in parts:
        taken = min(missing, part.points)
        missing -= taken
        if taken:
            first.append(Move(part.lot_id, taken, part.source, part.target))
        if part.points > taken:
            rest.append(Move(part.lot_id, part.points - taken, part.source, part.target))
    return first, rest


def _ways_back(connection: Connection, parts: list[Move], now: datetime) -> list[Move]:
    """Moves that take held points back to their lots, or to the dead if the lot has expired."""
    ids = [part.lot_id for part in parts]
    rows = connection.execute(select(lot.c.id, lot.c.expires_at).where(lot.c.id.in_(ids)))
    expiries = {row.id: row.expires_at for row in rows}
    moves = []
    for part in parts:
        expires_at = expiries[part.lot_id]
        is_dead = expires_at is not None and expires_at <= now
        target = Book.EXPIRED if is_dead else Book.AVAILABLE
        moves.append(Move(part.lot_id, part.points, Book.HELD, target))
    return moves


def _end(
    connection: Connection,
    kind: TxKind,
    account_id: str,
    job_id: str,
    moves: list[Move],
    *,
    charged: int,
    now: datetime,
) -> None:
    record(
        connection,
        kind,
        f"{kind}:{job_id}",
        moves,
        account_id=account_id,
        job_id=job_id,
        now=now,
    )
    connection.execute(
        update(hold).where(hold.c.job_id == job_id).values(charged=charged, closed_at=now)
    )


def _grant_grace(
    connection: Connection,
    account_id: str,
    job_id: str,
    back: list[Move],
    *,
    rules: PointRules,
    now: datetime,
) -> None:
    lost = sum(move.points for move in back if move.target is Book.EXPIRED)
    grant = Grant(
        kind=LotKind.GRACE,
        key=f"grace:{job_id}",
        points=lost,
        priority=rules.priority(LotKind.GRACE),
        expires_at=now + timedelta(hours=rules.grace_hours),
    )
    create_lot(connection, account_id, grant, now=now)
