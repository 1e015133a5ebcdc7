"""Points of one account, brought up to now: what expired, the period's and the day's grants.

Every function runs inside the caller's transaction; `refresh` takes the account's lock.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, update

from gateway.db.tables import account, lot
from gateway.domain.errors import AlreadyDone, InvalidRequest
from gateway.domain.plans import Plan, Plans, TopUp
from gateway.domain.points import Book, LotKind, TxKind
from gateway.points.holds import draw
from gateway.points.ledger import (
    Grant,
    Move,
    create_lot,
    has_available,
    is_alive,
    lock_account,
    record,
)
from gateway.points.subscriptions import roll


@dataclass(frozen=True)
class LotView:
    """Points granted together, as their owner sees them."""

    kind: LotKind
    available: int
    held: int
    expires_at: datetime | None


@dataclass(frozen=True)
class Balance:
    """Points of an account now; `lots` in the order of drawing."""

    available: int
    held: int
    lots: list[LotView]


def refresh(connection: Connection, account_id: str, *, plans: Plans, now: datetime) -> Plan:
    """Bring the account up to `now`; the plan it is on.

    Expires what is due, moves a bought plan on to its current period, makes today's grant. Safe to
    repeat: each grant has a key of its own.
    """
    lock_account(connection, account_id)
    _expire_due(connection, account_id, now)
    plan = roll(connection, account_id, plans=plans, now=now)
    _grant_today(connection, account_id, plan, plans=plans, now=now)
    return plan


def get_balance(connection: Connection, account_id: str) -> Balance:
    """The account's points, as of the last `refresh`."""
    rows = connection.execute(
        select(lot.c.kind, lot.c.available, lot.c.held, lot.c.expires_at)
        .where(lot.c.account_id == account_id, is_alive())
        .order_by(lot.c.priority, lot.c.expires_at.is_(None), lot.c.expires_at, lot.c.id)
    )
    lots = [LotView(LotKind(row.kind), row.available, row.held, row.expires_at) for row in rows]
    return Balance(
        available=sum(each.available for each in lots),
        held=sum(each.held for each in lots),
        lots=lots,
    )


def available_points(connection: Connection, account_id: str) -> int:
    """Points that could be held now, as of the last `refresh`."""
    total = select(func.coalesce(func.sum(lot.c.available), 0))
    mine = total.where(lot.c.account_id == account_id, has_available())
    return int(connection.execute(mine).scalar_one())


def buy_topup(
    connection: Connection,
    account_id: str,
    pack: TopUp,
    *,
    payment_id: str,
    plans: Plans,
    now: datetime,
) -> None:
    """Grant a bought pack.

    Raises:
        AlreadyDone: this payment has granted its points before.
    """
    last_day = plans.day_of(now) + timedelta(days=pack.valid_days)
    grant = Grant(
        kind=LotKind.TOPUP,
        key=f"topup:{payment_id}",
        points=pack.points,
        priority=plans.points.priority(LotKind.TOPUP),
        expires_at=plans.end_of(last_day),
        reason=f"{pack.id}, payment {payment_id}",
    )
    lock_account(connection, account_id)
    if not create_lot(connection, account_id, grant, now=now):
        raise AlreadyDone(f"payment {payment_id} has granted its points before")


def grant_bonus(
    connection: Connection,
    account_id: str,
    points: int,
    *,
    key: str,
    valid_days: int,
    reason: str,
    plans: Plans,
    now: datetime,
) -> None:
    """Give points away; they live until the end of the day `valid_days` from today.

    Raises:
        AlreadyDone: `key` has granted points before.
    """
    last_day = plans.day_of(now) + timedelta(days=valid_days)
    grant = Grant(
        kind=LotKind.BONUS,
        key=f"bonus:{key}",
        points=points,
        priority=plans.points.priority(LotKind.BONUS),
        expires_at=plans.end_of(last_day),
        reason=reason,
    )
    lock_account(connection, account_id)
    if not create_lot(connection, account_id, grant, now=now):
        raise AlreadyDone(f"{key} has granted its points before")


def revoke(
    connection: Connection,
    account_id: str,
    points: int,
    *,
    key: str,
    reason: str,
    now: datetime,
) -> None:
    """Take available points back, in the order of drawing. Held and spent ones stay.

    Call `refresh` before, in the same transaction.

    Raises:
        InvalidRequest: fewer are available; nothing was taken.
        IntegrityError: `key` has taken points before.
    """
    moves = draw(connection, account_id, points, target=Book.REVOKED, now=now)
    if moves is None:
        available = available_points(connection, account_id)
        raise InvalidRequest(
            f"{points} points cannot be taken, {available} are available",
            param="points",
            limit=available,
            value=points,
        )
    record(
        connection,
        TxKind.REVOKE,
        f"revoke:{key}",
        moves,
        account_id=account_id,
        reason=reason,
        now=now,
    )


def _expire_due(connection: Connection, account_id: str, now: datetime) -> None:
    due = connection.execute(
        select(lot.c.id, lot.c.available, lot.c.expired).where(
            lot.c.account_id == account_id, has_available(), lot.c.expires_at <= now
        )
    ).all()
    for row in due:
        # After a clock stepped back a refund can wake a lot that had expired: the key counts on.
        record(
            connection,
            TxKind.EXPIRE,
            f"expire:{row.id}:{row.expired}",
            [Move(row.id, row.available, Book.AVAILABLE, Book.EXPIRED)],
            account_id=account_id,
            now=now,
        )


def _grant_today(
    connection: Connection, account_id: str, plan: Plan, *, plans: Plans, now: datetime
) -> None:
    today = plans.day_of(now)
    last = connection.execute(
        select(account.c.last_daily_on).where(account.c.id == account_id)
    ).scalar_one()
    if last is not None and last >= today:
        return
    grant = Grant(
        kind=LotKind.DAILY,
        key=f"daily:{account_id}:{today.isoformat()}",
        points=plan.daily_points,
        priority=plans.points.priority(LotKind.DAILY),
        expires_at=plans.end_of(today),
    )
    create_lot(connection, account_id, grant, now=now)
    connection.execute(
        update(account).where(account.c.id == account_id).values(last_daily_on=today)
    )
