"""The points of one account without a database, for simulations.

The rules are those of `gateway.points`: a day's and a period's points by the calendar of the
plans' zone, gone when it says so; drawn by priority, then by what expires soonest.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from gateway.domain.plans import Plan, Plans
from gateway.domain.points import Fault, LotKind


@dataclass
class SimulatedLot:
    """Points granted together."""

    priority: int
    expires_at: datetime
    available: int


Part = tuple[SimulatedLot, int]


class Wallet:
    """Grants, holds and gives back. Settling needs nothing: what is held is gone already."""

    def __init__(self, plans: Plans) -> None:
        self._plans = plans
        self._lots: list[SimulatedLot] = []
        self._last_daily_on: date | None = None
        self._plan_id: str | None = None
        self._anchor_on = date.min
        self._period_ends_at = datetime.min.replace(tzinfo=UTC)

    def refresh(self, plan: Plan, now: datetime) -> None:
        """Make the grants that are due when an account on `plan` sends something at `now`.

        A plan other than the last one begins a period of its own on that day.
        """
        self._lots = [lot for lot in self._lots if lot.expires_at > now]
        today = self._plans.day_of(now)
        if plan.id != self._plan_id:
            self._plan_id, self._anchor_on = plan.id, today
            self._grant_period(plan, now)
        elif now >= self._period_ends_at:
            self._grant_period(plan, now)
        if self._last_daily_on is None or self._last_daily_on < today:
            self._last_daily_on = today
            self._grant(LotKind.DAILY, plan.daily_points, self._plans.end_of(today))

    def hold(self, points: int, now: datetime) -> list[Part] | None:
        """Take `points` out; where they came from, or None if there are too few."""
        live = [lot for lot in self._lots if lot.expires_at > now and lot.available]
        if sum(lot.available for lot in live) < points:
            return None
        parts: list[Part] = []
        missing = points
        for lot in sorted(live, key=lambda each: (each.priority, each.expires_at)):
            taken = min(missing, lot.available)
            if taken:
                lot.available -= taken
                missing -= taken
                parts.append((lot, taken))
        return parts

    def give_back(self, parts: list[Part], fault: Fault, now: datetime) -> int:
        """Put a hold's points back where they came from; how many the account has again.

        What belongs to a lot that has expired is lost; if the fault is ours, it is granted anew
        for a while.
        """
        returned = lost = 0
        for lot, points in parts:
            if lot.expires_at > now:
                lot.available += points
                returned += points
            else:
                lost += points
        if fault is Fault.OURS:
            grace = timedelta(hours=self._plans.points.grace_hours)
            self._grant(LotKind.GRACE, lost, now + grace)
            returned += lost
        return returned

    def _grant_period(self, plan: Plan, now: datetime) -> None:
        number = 1
        while self._plans.period_start(self._anchor_on, number) <= now:
            number += 1
        self._period_ends_at = self._plans.period_start(self._anchor_on, number).astimezone(UTC)
        self._grant(LotKind.PLAN, plan.period_points, self._period_ends_at)

    def _grant(self, kind: LotKind, points: int, expires_at: datetime) -> None:
        if points:
            priority = self._plans.points.priority(kind)
            self._lots.append(SimulatedLot(priority, expires_at.astimezone(UTC), points))
