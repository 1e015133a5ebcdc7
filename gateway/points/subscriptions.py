"""Bought plans: billing periods counted from the day of the purchase, and changes of plan.

Nothing runs on a schedule. Whoever touches an account first after a period has ended moves it on
(`roll`), so a gateway that was down for a month grants neither too much nor too little.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from gateway.db.tables import account, subscription
from gateway.domain.plans import Plan, Plans
from gateway.domain.points import LotKind
from gateway.points.ledger import Grant, create_lot


@dataclass(frozen=True)
class Subscription:
    """The state of a bought plan.

    Attributes:
        period: number of the current billing period, the one of the purchase being 0.
        next_plan: what the next period begins with, if it is another plan.
        num_periods: how many there are; None is without end.
    """

    plan: str
    anchor_on: date
    period: int
    period_ends_at: datetime
    next_plan: str | None
    num_periods: int | None


def find_subscription(connection: Connection, account_id: str) -> Subscription | None:
    """The account's bought plan, as of its last `roll`."""
    row = connection.execute(
        select(subscription).where(subscription.c.account_id == account_id)
    ).one_or_none()
    if row is None:
        return None
    return Subscription(
        plan=row.plan,
        anchor_on=row.anchor_on,
        period=row.period,
        period_ends_at=row.period_ends_at,
        next_plan=row.next_plan,
        num_periods=row.num_periods,
    )


def roll(connection: Connection, account_id: str, *, plans: Plans, now: datetime) -> Plan:
    """Move the account's subscription on to the period of `now`; the plan that holds then.

    Points of periods that passed untouched are not granted: they would have died with them. A
    clock that steps back changes nothing.
    """
    current = find_subscription(connection, account_id)
    if current is None:
        return _account_plan(connection, account_id, plans)
    if now < current.period_ends_at:
        return plans.get(current.plan)
    period = current.period + 1
    while plans.period_start(current.anchor_on, period + 1) <= now:
        period += 1
    plan = plans.get(current.next_plan or current.plan)
    is_over = current.num_periods is not None and period >= current.num_periods
    if is_over or plan.id == plans.default.id:
        _end(connection, account_id, plans)
        return plans.default
    _update(
        connection,
        account_id,
        plan=plan.id,
        period=period,
        period_ends_at=plans.period_start(current.anchor_on, period + 1),
        next_plan=None,
    )
    _set_account_plan(connection, account_id, plan)
    _grant_period(connection, account_id, plan, plan.period_points, plans=plans, now=now)
    return plan


def change_plan(
    connection: Connection,
    account_id: str,
    plan: Plan,
    *,
    plans: Plans,
    now: datetime,
    num_periods: int | None = None,
) -> None:
    """Put the account on `plan`: a higher one now, a lower one when the current period ends.

    An upgrade inside a period grants the difference of the period's points and keeps its end; a
    first purchase starts a period of its own today. Asking for the plan that holds takes a pending
    change back. `num_periods` counts from the first purchase; left out, it stays as it is.

    Call `gateway.points.service.refresh` before, in the same transaction.
    """
    current = find_subscription(connection, account_id)
    held = plans.get(current.plan) if current else plans.default
    if current is None:
        if plan.id != plans.default.id:
            _begin(connection, account_id, plan, plans=plans, now=now, num_periods=num_periods)
    elif plan.id == held.id:
        _update(
            connection, account_id, next_plan=None, num_periods=num_periods or current.num_periods
        )
    elif plans.rank(plan) < plans.rank(held):
        _update(connection, account_id, next_plan=plan.id)
    else:
        _update(
            connection,
            account_id,
            plan=plan.id,
            next_plan=None,
            num_periods=num_periods or current.num_periods,
        )
        _set_account_plan(connection, account_id, plan)
        more = max(plan.period_points - held.period_points, 0)
        _grant_period(connection, account_id, plan, more, plans=plans, now=now)


def _begin(
    connection: Connection,
    account_id: str,
    plan: Plan,
    *,
    plans: Plans,
    now: datetime,
    num_periods: int | None,
) -> None:
    today = plans.day_of(now)
    connection.execute(
        insert(subscription).values(
            account_id=account_id,
            plan=plan.id,
            anchor_on=today,
            period=0,
            period_ends_at=plans.period_start(today, 1),
            num_periods=num_periods,
        )
    )
    _set_account_plan(connection, account_id, plan)
    _grant_period(connection, account_id, plan, plan.period_points, plans=plans, now=now)


def _end(connection: Connection, account_id: str, plans: Plans) -> None:
    connection.execute(delete(subscription).where(subscription.c.account_id == account_id))
    _set_account_plan(connection, account_id, plans.default)


def _grant_period(
    connection: Connection,
    account_id: str,
    plan: Plan,
    points: int,
    *,
    plans: Plans,
    now: datetime,
) -> None:
    current = find_subscription(connection, account_id)
    if current is None:
        raise LookupError(account_id)
    grant = Grant(
        kind=LotKind.PLAN,
        key=f"period:{account_id}:{current.anchor_on}:{current.period}:{plan.id}",
        points=points,
        priority=plans.points.priority(LotKind.PLAN),
        expires_at=current.period_ends_at,
    )
    create_lot(connection, account_id, grant, now=now)


def _account_plan(connection: Connection, account_id: str, plans: Plans) -> Plan:
    plan_id = connection.execute(
        select(account.c.plan).where(account.c.id == account_id)
    ).scalar_one()
    return plans.get(plan_id)


def _set_account_plan(connection: Connection, account_id: str, plan: Plan) -> None:
    connection.execute(update(account).where(account.c.id == account_id).values(plan=plan.id))


def _update(connection: Connection, account_id: str, **values: Any) -> None:  # noqa: ANN401 -- columns
    connection.execute(
        update(subscription).where(subscription.c.account_id == account_id).values(**values)
    )
