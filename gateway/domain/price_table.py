"""One request on every plan: what it costs, whether it is allowed, how often points pay it."""

from dataclasses import dataclass

from gateway.domain.entitlement import check_plan
from gateway.domain.errors import PlanLimit
from gateway.domain.plans import Plan, Plans
from gateway.domain.pricing import Quote
from models.spec import VideoSpec


@dataclass(frozen=True)
class PlanPrice:
    """What the request is to one plan.

    Attributes:
        forbidden_by: why the plan refuses it; None if it is allowed.
        per_day: how many the day's points pay; None is without limit (it costs nothing).
        per_period: how many the billing period's points pay, those of its days apart.
    """

    plan: str
    forbidden_by: str | None
    per_day: int | None
    per_period: int | None


def price_on_plans(spec: VideoSpec, quote: Quote, plans: Plans) -> list[PlanPrice]:
    """One line per plan, in the order of the file."""
    return [
        PlanPrice(
            plan=plan.id,
            forbidden_by=_refusal(spec, plan, plans),
            per_day=_at_most(_affords(plan.daily_points, quote), plan.max_jobs_per_day),
            per_period=_affords(plan.period_points, quote),
        )
        for plan in plans.plans
    ]


def _refusal(spec: VideoSpec, plan: Plan, plans: Plans) -> str | None:
    try:
        check_plan(spec, plan, plans)
    except PlanLimit as refused:
        return refused.message
    return None


def _affords(points: int, quote: Quote) -> int | None:
    return points // quote.points if quote.points else None


def _at_most(number: int | None, cap: int | None) -> int | None:
    return min((each for each in (number, cap) if each is not None), default=None)
