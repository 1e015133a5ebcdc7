"""The mechanics of the ledger: points move between the books of a lot, always in pairs.

A lot's `granted` points are spread over four books; every move is one transaction row with two
entries that sum to zero, and the lot row follows. Nothing here decides when to move.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, insert, select, update

from gateway.db.tables import account, ledger_entry, ledger_tx, lot


class Book(StrEnum):
    """Where points of a lot stand. `ISSUED` mirrors `granted` with the opposite sign."""

    ISSUED = "issued"
    AVAILABLE = "available"
    HELD = "held"
    SPENT = "spent"
    EXPIRED = "expired"


class TxKind(StrEnum):
    """Why points moved. A job has one `HOLD`, then one `SETTLE` or `REFUND`."""

    GRANT = "grant"
    HOLD = "hold"
    SETTLE = "settle"
    REFUND = "refund"
    EXPIRE = "expire"


class LotKind(StrEnum):
    """Where points came from."""

    DAILY = "daily"


DRAW_PRIORITY = {LotKind.DAILY: 10}
"""Lower is spent first; within one priority, what expires soonest."""


@dataclass(frozen=True)
class Move:
    """`points` (> 0) of one lot, from one book to another."""

    lot_id: int
    points: int
    source: Book
    target: Book


def lock_account(connection: Connection, account_id: str) -> None:
    """Serialise everything about one account. Always the first lock of a transaction."""
    connection.execute(
        select(account.c.id).where(account.c.id == account_id).with_for_update()
    ).one()


def create_lot(
    connection: Connection,
    account_id: str,
    *,
    kind: LotKind,
    grant_key: str,
    points: int,
    now: datetime,
    expires_at: datetime | None,
) -> bool:
    """Grant `points` once per `grant_key`; False if that grant was made before."""
    known = connection.execute(select(lot.c.id).where(lot.c.grant_key == grant_key)).first()
    if known is not None or points == 0:
        return False
    lot_id = connection.execute(
        insert(lot)
        .values(
            account_id=account_id,
            kind=kind,
            grant_key=grant_key,
            priority=DRAW_PRIORITY[kind],
            granted=points,
            available=points,
            held=0,
            spent=0,
            expired=0,
            created_at=now,
            expires_at=expires_at,
        )
        .returning(lot.c.id)
    ).scalar_one()
    tx_id = _open_tx(connection, TxKind.GRANT, f"grant:{grant_key}", account_id=account_id, now=now)
    _write_entries(connection, tx_id, [Move(lot_id, points, Book.ISSUED, Book.AVAILABLE)])
    return True


def record(
    connection: Connection,
    kind: TxKind,
    key: str,
    *,
    account_id: str,
    job_id: str | None,
    moves: list[Move],
    now: datetime,
) -> None:
    """One ledger transaction: its row, its entries, and the lots that follow them.

    Raises:
        IntegrityError: `key` was used, the job's hold has ended before, or a book would go
            negative; the caller's transaction rolls back.
    """
    tx_id = _open_tx(connection, kind, key, account_id=account_id, job_id=job_id, now=now)
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
) -> int:
    return int(
        connection.execute(
            insert(ledger_tx)
            .values(kind=kind, key=key, account_id=account_id, job_id=job_id, at=now)
            .returning(ledger_tx.c.id)
        ).scalar_one()
    )


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
