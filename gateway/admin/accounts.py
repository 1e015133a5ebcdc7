"""Accounts as operators see them."""

from collections.abc import Iterator
from datetime import datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, Connection, case, func, select

from gateway.db.tables import account, job, lot
from gateway.domain.errors import NotFound
from gateway.domain.jobs import JobState
from gateway.domain.points import LotKind
from gateway.points.ledger import is_alive
from gateway.points.service import get_balance
from gateway.points.subscriptions import find_subscription

_STREAMED = {"yield_per": 500}
# `plan` is the name of the plan the account is on.
_COLUMNS = {kind: "plan_points" if kind is LotKind.PLAN else kind.value for kind in LotKind}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class LotState(_Frozen):
    """Points granted together."""

    kind: LotKind
    available: int
    held: int
    expires_at: datetime | None


class SubscriptionState(_Frozen):
    """A bought plan; `next_plan` holds from the end of the period on."""

    plan: str
    period: int
    period_ends_at: datetime
    next_plan: str | None
    num_periods: int | None


class AccountState(_Frozen):
    """One account with everything that decides what it may do.

    Attributes:
        lots: in the order of drawing.
        num_queued: jobs that wait.
        num_running: jobs that run.
    """

    id: str
    name: str
    plan: str
    created_at: datetime
    suspended_at: datetime | None
    subscription: SubscriptionState | None
    available: int
    held: int
    lots: list[LotState]
    num_queued: int
    num_running: int


class AccountBalance(_Frozen):
    """One line of the export: points that have not expired, by where they came from."""

    id: str
    name: str
    plan: str
    suspended_at: datetime | None
    available: int
    held: int
    grace: int
    daily: int
    plan_points: int
    bonus: int
    topup: int


def get_account_id(connection: Connection, id_or_name: str) -> str:
    """The id of the account of this id, or else of this name.

    Raises:
        NotFound: there is neither.
    """
    for column in (account.c.id, account.c.name):
        found = connection.execute(select(account.c.id).where(column == id_or_name)).scalar()
        if found is not None:
            return str(found)
    raise NotFound(f"no account {id_or_name!r}", param="account")


def get_state(connection: Connection, account_id: str) -> AccountState:
    """The account as of its last `refresh`.

    Raises:
        NotFound: there is none of this id.
    """
    row = connection.execute(select(account).where(account.c.id == account_id)).one_or_none()
    if row is None:
        raise NotFound(f"no account {account_id!r}", param="account")
    balance = get_balance(connection, account_id)
    bought = find_subscription(connection, account_id)
    return AccountState(
        id=row.id,
        name=row.name,
        plan=row.plan,
        created_at=row.created_at,
        suspended_at=row.suspended_at,
        subscription=SubscriptionState.model_validate(bought, from_attributes=True)
        if bought
        else None,
        available=balance.available,
        held=balance.held,
        lots=[LotState.model_validate(each, from_attributes=True) for each in balance.lots],
        num_queued=_count(connection, account_id, JobState.QUEUED),
        num_running=_count(connection, account_id, JobState.RUNNING),
    )


def iterate_balances(
    connection: Connection,
    *,
    now: datetime,
    after: str | None = None,
    name: str | None = None,
    limit: int | None = None,
) -> Iterator[AccountBalance]:
    """Accounts in the order of their ids, behind the account `after`, less what has expired.

    Nothing is granted by looking: a day's points appear once their owner comes.
    """
    is_live = lot.c.expires_at.is_(None) | (lot.c.expires_at > now)
    query = (
        select(
            account.c.id,
            account.c.name,
            account.c.plan,
            account.c.suspended_at,
            *(_available(is_live & (lot.c.kind == kind), _COLUMNS[kind]) for kind in LotKind),
            _available(is_live, "available"),
            func.coalesce(func.sum(lot.c.held), 0).label("held"),
        )
        .select_from(account)
        .outerjoin(lot, (lot.c.account_id == account.c.id) & is_alive())
        .group_by(account.c.id)
        .order_by(account.c.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(account.c.id > after)
    if name is not None:
        query = query.where(account.c.name == name)
    for row in connection.execute(query, execution_options=_STREAMED):
        yield AccountBalance.model_validate(row, from_attributes=True)


def _available(condition: ColumnElement[bool], name: str) -> ColumnElement[int]:
    total = func.sum(case((condition, lot.c.available), else_=0))
    return func.coalesce(total, 0).label(name)


def _count(connection: Connection, account_id: str, state: JobState) -> int:
    query = select(func.count()).where(job.c.account_id == account_id, job.c.state == state)
    return int(connection.execute(query).scalar_one())
