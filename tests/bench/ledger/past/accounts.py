"""Rows of accounts, their bought plans and their lots."""

from datetime import timedelta

from sqlalchemy import ColumnElement, case, literal
from sqlalchemy.sql.dml import Insert

from gateway.db.tables import UtcDateTime, account, lot, subscription
from gateway.domain.points import LotKind
from tests.bench.ledger.past.frame import LOTS_PER_ACCOUNT, Frame, Number, pick, rows

SUBSCRIBED_EVERY = 5
PACK_POINTS = 1_000_000
# Ends of the lots of one account, in days from today.
LOT_DAYS = (-2, -1, 0, 400)
PACK = LOTS_PER_ACCOUNT - 1


def accounts(frame: Frame) -> Insert:
    """All were seen today, so that none is due a grant."""
    numbers, plans = frame.series(frame.num_accounts), frame.workload.plans
    is_subscribed = numbers.c.n % SUBSCRIBED_EVERY == 0
    return rows(
        account,
        numbers,
        id=frame.account_id(numbers.c.n),
        name=literal("account-") + frame.hex16(numbers.c.n),
        plan=case((is_subscribed, plans.plans[1].id), else_=plans.default.id),
        created_at=frame.start,
        last_daily_on=plans.day_of(frame.now),
    )


def subscriptions(frame: Frame) -> Insert:
    """Of the accounts that have bought a plan."""
    numbers, plans = frame.series(frame.num_accounts // SUBSCRIBED_EVERY), frame.workload.plans
    today = plans.day_of(frame.now)
    return rows(
        subscription,
        numbers,
        account_id=frame.account_id(numbers.c.n * SUBSCRIBED_EVERY),
        plan=plans.plans[1].id,
        anchor_on=today,
        period=0,
        period_ends_at=plans.period_start(today, 1),
    )


def lots(frame: Frame) -> Insert:
    """Three days' points and a pack for each account."""
    numbers, plans = frame.series(frame.num_lots), frame.workload.plans
    owner, which = numbers.c.n // LOTS_PER_ACCOUNT, numbers.c.n % LOTS_PER_ACCOUNT
    days = [plans.day_of(frame.now) + timedelta(days=number) for number in LOT_DAYS]
    daily = plans.default.daily_points
    spent = frame.num_settled(owner) * frame.points
    is_pack = which == PACK
    return rows(
        lot,
        numbers,
        id=numbers.c.n + 1,
        account_id=frame.account_id(owner),
        kind=case((is_pack, LotKind.TOPUP), else_=LotKind.DAILY),
        grant_key=grant_key(frame, numbers.c.n),
        priority=case(
            (is_pack, plans.points.priority(LotKind.TOPUP)),
            else_=plans.points.priority(LotKind.DAILY),
        ),
        granted=pick(which, [daily, daily, daily, PACK_POINTS]),
        available=pick(which, [0, 0, daily, PACK_POINTS - spent]),
        held=0,
        spent=pick(which, [0, 0, 0, spent]),
        expired=pick(which, [daily, daily, 0, 0]),
        revoked=0,
        created_at=frame.start,
        expires_at=pick(which, [literal(plans.end_of(day), UtcDateTime) for day in days]),
    )


def grant_key(frame: Frame, number: Number) -> ColumnElement[str]:
    """The key of the grant that made lot `number` (from 0)."""
    account_id = frame.account_id(number // LOTS_PER_ACCOUNT)
    which = number % LOTS_PER_ACCOUNT
    today = frame.workload.plans.day_of(frame.now)
    days = [(today + timedelta(days=days)).isoformat() for days in LOT_DAYS]
    daily = literal("daily:") + account_id + literal(":") + pick(which, days)
    return case((which == PACK, literal("topup:") + account_id), else_=daily)
