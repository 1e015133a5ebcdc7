"""An account's ledger as its owner reads it: one line a transaction, with the balance after it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, case, func, select

from gateway.db.tables import ledger_entry, ledger_tx
from gateway.domain.points import Book, TxKind


@dataclass(frozen=True)
class Line:
    """One transaction.

    Attributes:
        available: change of what can be spent; negative for a hold.
        held: change of what is set aside.
        spent: points charged.
        balance_after: available points once it was done.
    """

    id: int
    kind: TxKind
    job_id: str | None
    reason: str | None
    at: datetime
    available: int
    held: int
    spent: int
    balance_after: int


def list_lines(
    connection: Connection, account_id: str, *, before: int | None = None, limit: int | None = None
) -> list[Line]:
    """The account's transactions, the newest first, those older than the line `before`."""
    per_tx = (
        select(
            ledger_tx.c.id,
            ledger_tx.c.kind,
            ledger_tx.c.job_id,
            ledger_tx.c.reason,
            ledger_tx.c.at,
            *(_change(book).label(book.value) for book in (Book.AVAILABLE, Book.HELD, Book.SPENT)),
        )
        .join(ledger_entry, ledger_entry.c.tx_id == ledger_tx.c.id)
        .where(ledger_tx.c.account_id == account_id)
        .group_by(ledger_tx.c.id)
        .subquery()
    )
    running = func.sum(per_tx.c.available).over(order_by=per_tx.c.id)
    lines = select(per_tx, running.label("balance_after")).subquery()
    query = select(lines).order_by(lines.c.id.desc())
    if before is not None:
        query = query.where(lines.c.id < before)
    if limit is not None:
        query = query.limit(limit)
    return [
        Line(
            id=row.id,
            kind=TxKind(row.kind),
            job_id=row.job_id,
            reason=row.reason,
            at=row.at,
            available=int(row.available),
            held=int(row.held),
            spent=int(row.spent),
            balance_after=int(row.balance_after),
        )
        for row in connection.execute(query)
    ]


def _change(book: Book) -> ColumnElement[int]:
    return func.sum(case((ledger_entry.c.book == book, ledger_entry.c.amount), else_=0))
