"""Orders carried out: each in one transaction with its line in the log, and each only once.

Services never commit; edges do.
"""

from datetime import datetime, timedelta

from pydantic import BaseModel
from sqlalchemy import Connection, select, update

from gateway.accounts.service import ensure_account
from gateway.admin.accounts import AccountState, get_state
from gateway.admin.log import lock_log
from gateway.admin.once import Done, Signature, find_replay, keep
from gateway.admin.orders import (
    AccountOrder,
    CorrectPoints,
    CreateAccount,
    CreateCode,
    GrantPoints,
    Resume,
    SetPlan,
    Suspend,
    TopUpPoints,
)
from gateway.db.tables import account
from gateway.domain.errors import AlreadyDone, InvalidRequest
from gateway.domain.plans import Plan, Plans
from gateway.points.codes import create_code
from gateway.points.ledger import lock_account
from gateway.points.service import buy_topup, grant_bonus, refresh, revoke
from gateway.points.subscriptions import change_plan


class CodeState(BaseModel):
    """A bonus code as it was made."""

    code: str
    points: int
    valid_days: int
    max_uses: int
    expires_at: datetime


def show_account(
    connection: Connection, account_id: str, *, plans: Plans, now: datetime
) -> AccountState:
    """The account brought up to now, as its owner would see it: the day's grant is made.

    Raises:
        NotFound: there is none of this id.
    """
    get_state(connection, account_id)
    refresh(connection, account_id, plans=plans, now=now)
    return get_state(connection, account_id)


def create_account(
    connection: Connection,
    order: CreateAccount,
    signature: Signature,
    *,
    plans: Plans,
    now: datetime,
) -> Done[AccountState]:
    """Make an account.

    Raises:
        AlreadyDone: there is one of this name.
        InvalidRequest: there is no such plan.
        IdempotencyMismatch: the key was used for another order.
    """
    lock_log(connection)
    earlier = find_replay(connection, order, signature, None, AccountState)
    if earlier is not None:
        return earlier
    plan = _get_plan(order.plan, plans) if order.plan is not None else plans.default
    if connection.execute(select(account.c.id).where(account.c.name == order.name)).first():
        raise AlreadyDone(f"there is an account {order.name!r} already", param="name")
    account_id = ensure_account(connection, order.name, plan_id=plans.default.id, now=now)
    change_plan(connection, account_id, plan, plans=plans, now=now)
    # Behind the plan, whose day's points are the first.
    refresh(connection, account_id, plans=plans, now=now)
    state = get_state(connection, account_id)
    return keep(
        connection, order, signature, target=None, account_id=account_id, result=state, now=now
    )


def change_account(
    connection: Connection,
    account_id: str,
    order: AccountOrder,
    signature: Signature,
    *,
    plans: Plans,
    now: datetime,
) -> Done[AccountState]:
    """Carry out an order about one account; the account after it.

    Raises:
        NotFound: there is no such account.
        InvalidRequest: an unknown plan or pack, or fewer points than are to be taken.
        AlreadyDone: the payment has granted its points before.
        IdempotencyMismatch: the key was used for another order.
    """
    get_state(connection, account_id)
    lock_account(connection, account_id)
    lock_log(connection)
    earlier = find_replay(connection, order, signature, account_id, AccountState)
    if earlier is not None:
        return earlier
    refresh(connection, account_id, plans=plans, now=now)
    _carry_out(connection, account_id, order, f"admin:{signature.key}", plans=plans, now=now)
    state = get_state(connection, account_id)
    return keep(
        connection,
        order,
        signature,
        target=account_id,
        account_id=account_id,
        result=state,
        now=now,
    )


def create_bonus_code(
    connection: Connection, order: CreateCode, signature: Signature, *, plans: Plans, now: datetime
) -> Done[CodeState]:
    """Make a bonus code; it can be used until the end of the day `usable_days` from today.

    Raises:
        AlreadyDone: there is one of this name.
        IdempotencyMismatch: the key was used for another order.
    """
    lock_log(connection)
    earlier = find_replay(connection, order, signature, None, CodeState)
    if earlier is not None:
        return earlier
    code = CodeState(
        code=order.code,
        points=order.points,
        valid_days=order.valid_days,
        max_uses=order.max_uses,
        expires_at=plans.end_of(plans.day_of(now) + timedelta(days=order.usable_days)),
    )
    create_code(connection, **dict(code), now=now)
    return keep(connection, order, signature, target=None, account_id=None, result=code, now=now)


def _carry_out(
    connection: Connection,
    account_id: str,
    order: AccountOrder,
    key: str,
    *,
    plans: Plans,
    now: datetime,
) -> None:
    match order:
        case Suspend():
            _set_suspended(connection, account_id, now)
        case Resume():
            _set_suspended(connection, account_id, None)
        case SetPlan():
            change_plan(
                connection,
                account_id,
                _get_plan(order.plan, plans),
                plans=plans,
                now=now,
                num_periods=order.num_periods,
            )
        case TopUpPoints():
            _top_up(connection, account_id, order, plans=plans, now=now)
        case CorrectPoints(points=points) if points < 0:
            revoke(connection, account_id, -points, key=key, reason=order.reason, now=now)
        case GrantPoints() | CorrectPoints():
            grant_bonus(
                connection,
                account_id,
                order.points,
                key=key,
                valid_days=order.valid_days,
                reason=order.reason,
                plans=plans,
                now=now,
            )


def _set_suspended(connection: Connection, account_id: str, at: datetime | None) -> None:
    change = update(account).where(account.c.id == account_id)
    if at is not None:
        # The instant of a suspension that holds stays.
        change = change.where(account.c.suspended_at.is_(None))
    connection.execute(change.values(suspended_at=at))


def _top_up(
    connection: Connection, account_id: str, order: TopUpPoints, *, plans: Plans, now: datetime
) -> None:
    pack = plans.find_topup(order.pack)
    if pack is None:
        known = [each.id for each in plans.topups]
        raise InvalidRequest(
            f"no pack {order.pack!r}; there are {', '.join(known) or 'none'}",
            param="pack",
            limit=known,
            value=order.pack,
        )
    buy_topup(connection, account_id, pack, payment_id=order.payment_id, plans=plans, now=now)


def _get_plan(plan_id: str, plans: Plans) -> Plan:
    plan = plans.find(plan_id)
    if plan is None:
        known = [each.id for each in plans.plans]
        raise InvalidRequest(
            f"no plan {plan_id!r}; there are {', '.join(known)}",
            param="plan",
            limit=known,
            value=plan_id,
        )
    return plan
