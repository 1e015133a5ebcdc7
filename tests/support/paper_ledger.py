"""The points of one account on paper: the rules again, in plain Python, to compare with.

It shares the words and the plans with the gateway, and none of its arithmetic: days are found by
walking along the clock, months by counting on fingers.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from gateway.domain.plans import Plan, Plans
from gateway.domain.points import LotKind

DRAW_ORDER = [LotKind.GRACE, LotKind.DAILY, LotKind.PLAN, LotKind.BONUS, LotKind.TOPUP]
GRACE = timedelta(hours=24)
FOREVER = datetime.max.replace(tzinfo=UTC)


@lru_cache
def first_instant(day: date, zone: str) -> datetime:
    """The first quarter of an hour whose local date is `day` or later."""
    instant = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=16)
    while instant.astimezone(ZoneInfo(zone)).date() < day:
        instant += timedelta(minutes=15)
    return instant


def later_month(day: date, months: int) -> date:
    """The same day `months` months on, or the last one before it that the month has."""
    year, month = day.year, day.month
    for _ in range(months):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    for number in range(day.day, 0, -1):
        try:
            return date(year, month, number)
        except ValueError:
            continue
    raise AssertionError(day)


@dataclass
class PaperLot:
    """Points of one grant that are still there."""

    kind: LotKind
    available: int
    expires_at: datetime
    number: int
    held: int = 0


@dataclass
class Purchase:
    """A bought plan."""

    plan: Plan
    bought_on: date
    period: int
    ends_at: datetime
    then: Plan | None = None


@dataclass
class PaperLedger:
    """One account. `spent` is what it was charged in all."""

    plans: Plans
    lots: list[PaperLot] = field(default_factory=list)
    holds: dict[str, list[tuple[PaperLot, int]]] = field(default_factory=dict)
    spent: int = 0
    purchase: Purchase | None = None
    last_daily: date | None = None
    num_lots: int = 0

    @property
    def available(self) -> int:
        """Points nobody holds, dead ones that nobody noticed included."""
        return sum(lot.available for lot in self.lots)

    @property
    def plan(self) -> Plan:
        """The plan that holds."""
        return self.purchase.plan if self.purchase else self.plans.default

    def rows(self) -> list[tuple[LotKind, int, int, datetime]]:
        """Kind, available, held and expiry of every lot with points, in the order of drawing."""
        return [
            (lot.kind, lot.available, lot.held, lot.expires_at)
            for lot in self._in_order()
            if lot.available or lot.held
        ]

    def look(self, now: datetime) -> None:
        """Somebody looks: dead points go, the period and the day bring theirs."""
        for lot in self.lots:
            if lot.expires_at <= now:
                lot.available = 0
        self._move_on(now)
        today = self.day_of(now)
        if self.last_daily is None or self.last_daily < today:
            self.last_daily = today
            ends_at = first_instant(today + timedelta(days=1), self.plans.timezone)
            self.grant(LotKind.DAILY, self.plan.daily_points, ends_at)

    def grant(self, kind: LotKind, points: int, expires_at: datetime) -> None:
        """Points arrive."""
        if points:
            self.num_lots += 1
            self.lots.append(PaperLot(kind, points, expires_at, self.num_lots))

    def grant_days(self, kind: LotKind, points: int, days: int, now: datetime) -> None:
        """Points arrive that live until the end of the day `days` from now."""
        last = self.day_of(now) + timedelta(days=days + 1)
        self.grant(kind, points, first_instant(last, self.plans.timezone))

    def take(self, points: int) -> list[tuple[PaperLot, int]]:
        """Take points off the lots in their order; there must be enough."""
        parts = []
        for lot in self._in_order():
            part = min(points, lot.available)
            if part:
                lot.available -= part
                points -= part
                parts.append((lot, part))
        assert points == 0
        return parts

    def hold(self, job_id: str, points: int) -> None:
        """Set points aside."""
        self.holds[job_id] = self.take(points)
        for lot, part in self.holds[job_id]:
            lot.held += part

    def charge(self, job_id: str) -> None:
        """What was set aside is spent."""
        for lot, part in self.holds.pop(job_id):
            lot.held -= part
            self.spent += part

    def give_back(self, job_id: str, now: datetime, *, is_our_fault: bool) -> int:
        """What was set aside goes back; points that died meanwhile, which grace may replace."""
        dead = 0
        for lot, part in self.holds.pop(job_id):
            lot.held -= part
            if lot.expires_at <= now:
                dead += part
            else:
                lot.available += part
        if is_our_fault:
            self.grant(LotKind.GRACE, dead, now + GRACE)
        return dead

    def buy(self, plan: Plan, now: datetime) -> None:
        """Ask for a plan: more at once, less when the period ends."""
        if self.purchase is None:
            if plan != self.plans.default:
                today = self.day_of(now)
                self.purchase = Purchase(plan, today, 0, self._period_start(today, 1))
                self.grant(LotKind.PLAN, plan.period_points, self.purchase.ends_at)
            return
        before = self.purchase.plan
        ranks = {each.id: rank for rank, each in enumerate(self.plans.plans)}
        if ranks[plan.id] < ranks[before.id]:
            self.purchase.then = plan
            return
        self.purchase.then = None
        self.purchase.plan = plan
        more = plan.period_points - before.period_points
        self.grant(LotKind.PLAN, more, self.purchase.ends_at)

    def day_of(self, now: datetime) -> date:
        """Today, where the plans count."""
        return now.astimezone(ZoneInfo(self.plans.timezone)).date()

    def _in_order(self) -> list[PaperLot]:
        return sorted(
            self.lots, key=lambda lot: (DRAW_ORDER.index(lot.kind), lot.expires_at, lot.number)
        )

    def _move_on(self, now: datetime) -> None:
        current = self.purchase
        if current is None or now < current.ends_at:
            return
        while current.ends_at <= now:
            current.period += 1
            current.ends_at = self._period_start(current.bought_on, current.period + 1)
        current.plan, current.then = current.then or current.plan, None
        if current.plan == self.plans.default:
            self.purchase = None
        else:
            self.grant(LotKind.PLAN, current.plan.period_points, current.ends_at)

    def _period_start(self, bought_on: date, number: int) -> datetime:
        return first_instant(later_month(bought_on, number), self.plans.timezone)
