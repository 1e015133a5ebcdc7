"""The mechanics of the ledger: points move between the books of a lot, always in pairs.

A lot's `granted` points are spread over its books; every move is one transaction row with two
entries that sum to zero, and the lot row follows. Nothing here decides when to move.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    insert,
    literal_column,
    select,
    update,
)

from gateway.db.tables import account, ledger_entry, ledger_tx, lot
from gateway.domain.points import Book, LotKind, TxKind

# Every move begins with it: made once, because that takes longer than to run it.
_LOCK_ACCOUNT = select(account.c.id).where(account.c.id == bindparam("account")).with_for_update()


@dataclass(frozen=True)
class Move:
    """`points` (> 0) of one lot, from one book to another."""

    lot_id: int
    points: int
    source: Book
    target: Book


@dataclass(frozen=True)
class Grant:
    """Points to be granted once.

    Attributes:
        key: the same key grants nothing a second time, whichever account asks.
        priority: lower is drawn first.
        reason: why, where a person decided it.
    """

    kind: LotKind
    key: str
    points: int
    priority: int
    expires_at: datetime | None
    reason: str | None = None


def has_available() -> ColumnElement[bool]:
    """Lots with points to draw. A bound zero would hide the index from SQLite."""
    return lot.c.available > literal_column("0")


def is_alive() -> ColumnElement[bool]:
    """Lots that still matter: something in them can be drawn or is held."""
    return has_available() | (lot.c.held > literal_column("0"))


def lock_account(connection: Connection, account_id: str) -> None:
    """Serialise everything about one account. Always the first lock of a transaction."""
    connection.execute(_LOCK_ACCOUNT, {"account": account_id}).one()


def create_lot(connection: Connection, account_id: str, grant: Grant, *, now: datetime) -> bool:
    """Make the grant; False if its key was used before, or if it is of no points."""
    known = connection.execute(select(lot.c.id).where(lot.c.grant_key == grant.key)).first()
    if known is not None or grant.points == 0:
        return False
    lot_id = connection.execute(
        insert(lot)
        .values(
            account_id=account_id,
            kind=grant.kind,
            grant_key=grant.key,
            priority=grant.priority,
            granted=grant.points,
            available=grant.points,
            held=0,
            spent=0,
            expired=0,
            revoked=0,
            created_at=now,
            expires_at=grant.expires_at,
        )
        .returning(lot.c.id)
    ).scalar_one()
    tx_id = _open_tx(
        connection,
        TxKind.GRANT,
        f"grant:{grant.key}",
        account_id=account_id,
        reason=grant.reason,
        now=now,
    )
    _write_entries(connection, tx_id, [Move(lot_id, grant.points, Book.ISSUED, Book.AVAILABLE)])
    return True


def record(
    connection: Connection,
    kind: TxKind,
    key: str,
    moves: list[Move],
    *,
    account_id: str,
    now: datetime,
    job_id: str | None = None,
    reason: str | None = None,
) -> None:
    """One ledger transaction: its row, its entries, and the lots that follow them.

    Raises:
        IntegrityError: `key` was used, the job's hold has ended before, or a book would go
            negative; the caller's transaction rolls back.
    """
    tx_id = _open_tx(
        connection, kind, key, account_id=account_id, job_id=job_id, reason=reason, now=now
    )
    _write_entries(connection, tx_id, moves)
    for move in moves:
        connection.execute(
            update(lot)
            .where(lot.c.id == move.lot_id)
            .values(
                {
                    move.source.value: lot.c[move.source.value] - move.points,
                    move.target.value: lot.c[move.target.value] + move.points,
                }
            )
        )


def _open_tx(
    connection: Connection,
    kind: TxKind,
    key: str,
    *,
    account_id: str,
    now: datetime,
    job_id: str | None = None,
    reason: str | None = None,
) -> int:
    values = {"kind": kind, "key": key, "account_id": account_id, "job_id": job_id}
    tx = insert(ledger_tx).values(**values, reason=reason, at=now).returning(ledger_tx.c.id)
    return int(connection.execute(tx).scalar_one())


def _write_entries(connection: Connection, tx_id: int, moves: list[Move]) -> None:
    """Two entries a move; moves of one lot out of or into the same book are added up."""
    amounts: dict[tuple[int, Book], int] = {}
    for move in moves:
        for book, amount in ((move.source, -move.points), (move.target, move.points)):
            amounts[move.lot_id, book] = amounts.get((move.lot_id, book), 0) + amount
    if amounts:
        connection.execute(
            insert(ledger_entry),
            [
                {"tx_id": tx_id, "lot_id": lot_id, "book": book, "amount": amount}
                for (lot_id, book), amount in amounts.items()
            ],
        )
