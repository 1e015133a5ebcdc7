"""`/v1/points`: what an account has, where it went, and codes for more."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from gateway.accounts.service import Caller
from gateway.api.deps import CallerDep, ServicesDep
from gateway.db.tables import MAX_ROW_ID
from gateway.domain.errors import AccountSuspended
from gateway.domain.plans import Plan
from gateway.domain.points import LotKind, TxKind
from gateway.points.codes import redeem
from gateway.points.service import Balance, get_balance, refresh
from gateway.points.statement import Line, list_lines
from gateway.points.subscriptions import Subscription, find_subscription
from gateway.services import Services

router = APIRouter(prefix="/v1/points", tags=["points"])


class LotObject(BaseModel):
    """Points granted together; they are spent in the order of the list."""

    kind: LotKind
    available: int
    held: int
    expires_at: int | None


class PlanObject(BaseModel):
    """The plan the account is on; a bought one has a period."""

    id: str
    title: str
    daily_points: int
    period_points: int
    period_ends_at: int | None
    next_plan: str | None


class PointsObject(BaseModel):
    """Points now. `resets_at`: when the day's points die and new ones come."""

    object: Literal["points"] = "points"
    available: int
    held: int
    resets_at: int
    plan: PlanObject
    lots: list[LotObject]


class LedgerLine(BaseModel):
    """One transaction; the changes are signed."""

    id: int
    object: Literal["points.transaction"] = "points.transaction"
    kind: TxKind
    video_id: str | None
    reason: str | None
    created_at: int
    available: int
    held: int
    spent: int
    balance_after: int


class LedgerPage(BaseModel):
    """A page of the ledger, the newest first; `last_id` is the next `after`."""

    object: Literal["list"] = "list"
    data: list[LedgerLine]
    last_id: int | None
    has_more: bool


class RedeemRequest(BaseModel):
    """A bonus code as the client got it."""

    code: Annotated[str, Field(min_length=1, max_length=64)]


@router.get("")
def get_points(caller: CallerDep, services: ServicesDep) -> PointsObject:
    """The account's points, brought up to now: asking makes the day's grant."""
    with services.database.write() as connection:
        plan = refresh(
            connection,
            caller.account_id,
            plans=services.configuration.plans,
            now=services.clock.now(),
        )
        balance = get_balance(connection, caller.account_id)
        subscription = find_subscription(connection, caller.account_id)
    return _points_object(services, plan, balance, subscription)


@router.get("/ledger")
def get_ledger(
    caller: CallerDep,
    services: ServicesDep,
    after: Annotated[int | None, Query(ge=1, le=MAX_ROW_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> LedgerPage:
    """What moved the account's points, the newest first."""
    with services.database.read() as connection:
        lines = list_lines(connection, caller.account_id, before=after, limit=limit + 1)
    page = [_ledger_line(line) for line in lines[:limit]]
    return LedgerPage(data=page, last_id=page[-1].id if page else None, has_more=len(lines) > limit)


@router.post("/redeem")
def redeem_code(request: RedeemRequest, caller: CallerDep, services: ServicesDep) -> PointsObject:
    """Turn a bonus code into points; each account can use a code once."""
    if caller.is_suspended:
        raise AccountSuspended("this account is suspended; it can look, not redeem")
    _redeem(services, caller, request.code)
    return get_points(caller, services)


def _redeem(services: Services, caller: Caller, code: str) -> None:
    with services.database.write() as connection:
        redeem(
            connection,
            caller.account_id,
            code,
            plans=services.configuration.plans,
            now=services.clock.now(),
        )


def _points_object(
    services: Services, plan: Plan, balance: Balance, subscription: Subscription | None
) -> PointsObject:
    plans = services.configuration.plans
    return PointsObject(
        available=balance.available,
        held=balance.held,
        resets_at=_unix(plans.end_of(plans.day_of(services.clock.now()))),
        plan=PlanObject(
            id=plan.id,
            title=plan.title,
            daily_points=plan.daily_points,
            period_points=plan.period_points,
            period_ends_at=_unix(subscription.period_ends_at) if subscription else None,
            next_plan=subscription.next_plan if subscription else None,
        ),
        lots=[
            LotObject(
                kind=lot.kind,
                available=lot.available,
                held=lot.held,
                expires_at=_unix(lot.expires_at) if lot.expires_at else None,
            )
            for lot in balance.lots
        ],
    )


def _ledger_line(line: Line) -> LedgerLine:
    return LedgerLine(
        id=line.id,
        kind=line.kind,
        video_id=line.job_id,
        reason=line.reason,
        created_at=_unix(line.at),
        available=line.available,
        held=line.held,
        spent=line.spent,
        balance_after=line.balance_after,
    )


def _unix(instant: datetime) -> int:
    return int(instant.timestamp())
