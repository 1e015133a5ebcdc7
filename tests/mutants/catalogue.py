"""Every mutant: a mistake somebody could make in the ledger, as a change of its source."""

from dataclasses import dataclass

LIFECYCLE = "gateway/jobs/lifecycle.py"
CLAIM = "gateway/jobs/claim.py"
IDEMPOTENCY = "gateway/jobs/idempotency.py"
HOLDS = "gateway/points/holds.py"
POINTS = "gateway/points/service.py"
CODES = "gateway/points/codes.py"
PERIODS = "gateway/points/subscriptions.py"
PRICING = "gateway/domain/pricing.py"
CALENDAR = "gateway/domain/calendar.py"
MIGRATION = "gateway/db/migrations/versions/0001_initial.py"


@dataclass(frozen=True)
class Mutant:
    """`old`, which is found once in `path`, becomes `new`."""

    name: str
    path: str
    old: str
    new: str


MUTANTS = [
    Mutant(
        "complete: any attempt will do",
        LIFECYCLE,
        "            job.c.attempt == request.attempt,\n            job.c.state.in_",
        "            job.c.state.in_",
    ),
    Mutant(
        "complete: any state will do",
        LIFECYCLE,
        "            job.c.state.in_(sorted(OPEN_STATES)),\n",
        "",
    ),
    Mutant(
        "fail: any attempt will do",
        LIFECYCLE,
        "job.c.attempt == number, job.c.state == JobState.RUNNING",
        "job.c.state == JobState.RUNNING",
    ),
    Mutant(
        "fail: tries without end",
        LIFECYCLE,
        "request.retryable and request.attempt < max_attempts",
        "request.retryable",
    ),
    Mutant(
        "reap: the lease is not looked at",
        LIFECYCLE,
        "job.c.state == JobState.RUNNING, job.c.lease_until <= now)",
        "job.c.state == JobState.RUNNING)",
    ),
    Mutant("cancel: counts as our fault", LIFECYCLE, "fault=Fault.CLIENTS", "fault=Fault.OURS"),
    Mutant(
        "forget: leaves the job open",
        LIFECYCLE,
        "moved = cancel(connection, account_id, job_id, plans=plans, now=now)",
        "moved = None",
    ),
    Mutant(
        "claim: the cap is not looked at",
        CLAIM,
        "lane.room = plan.max_running - count_running(self.connection, lane.account_id)",
        "lane.room = self.limit",
    ),
    Mutant(
        "replay: other requests may use the key",
        IDEMPOTENCY,
        "if row.fingerprint != identity.fingerprint:",
        "if row.fingerprint == '':",
    ),
    Mutant("replay: never", IDEMPOTENCY, "if not identity.replays:", "if identity.replays:"),
    Mutant("replay: for ever", IDEMPOTENCY, "            idempotency.c.expires_at > now,\n", ""),
    Mutant(
        "draw: the last kind first",
        HOLDS,
        ".order_by(lot.c.priority, lot.c.expires_at.is_(None)",
        ".order_by(lot.c.priority.desc(), lot.c.expires_at.is_(None)",
    ),
    Mutant(
        "draw: the last to expire first",
        HOLDS,
        "lot.c.expires_at.is_(None), lot.c.expires_at, lot.c.id)",
        "lot.c.expires_at.is_(None), lot.c.expires_at.desc(), lot.c.id)",
    ),
    Mutant(
        "hold: too few points will do",
        HOLDS,
        "return moves if missing == 0 else None",
        "return moves",
    ),
    Mutant(
        "settle: charges more than was held",
        HOLDS,
        "charged = held if points is None else min(points, held)",
        "charged = held if points is None else points",
    ),
    Mutant(
        "settle: keeps the rest",
        HOLDS,
        "charged = held if points is None else min(points, held)",
        "charged = held",
    ),
    Mutant(
        "refund: wakes the dead",
        HOLDS,
        "target = Book.EXPIRED if is_dead else Book.AVAILABLE",
        "target = Book.AVAILABLE",
    ),
    Mutant("refund: grace for everybody", HOLDS, "if fault is Fault.OURS:", "if fault:"),
    Mutant(
        "refund: may come twice",
        MIGRATION,
        "        unique=True,\n        sqlite_where=sa.text(\"kind IN ('settle'",
        "        unique=False,\n        sqlite_where=sa.text(\"kind IN ('settle'",
    ),
    Mutant(
        "expire: held points too",
        POINTS,
        "select(lot.c.id, lot.c.available, lot.c.expired).where(",
        'select(lot.c.id, (lot.c.available + lot.c.held).label("available"), lot.c.expired).where(',
    ),
    Mutant("expire: an instant late", POINTS, "lot.c.expires_at <= now", "lot.c.expires_at < now"),
    Mutant(
        "daily grant: the clock may step back",
        POINTS,
        "if last is not None and last >= today:",
        "if last == today:",
    ),
    Mutant(
        "daily grant: once in a lifetime",
        POINTS,
        'key=f"daily:{account_id}:{today.isoformat()}"',
        'key=f"daily:{account_id}"',
    ),
    Mutant(
        "top-up: once an account and payment",
        POINTS,
        'key=f"topup:{payment_id}"',
        'key=f"topup:{payment_id}:{account_id}"',
    ),
    Mutant(
        "code: has no last use",
        CODES,
        ".where(bonus_code.c.code == code, bonus_code.c.uses < bonus_code.c.max_uses)",
        ".where(bonus_code.c.code == code, bonus_code.c.uses < 0)",
    ),
    Mutant(
        "period: counted from the one before",
        PERIODS,
        "period_ends_at=plans.period_start(current.anchor_on, period + 1),",
        "period_ends_at=plans.period_start(\n"
        "            plans.day_of(current.period_ends_at), period - current.period\n"
        "        ),",
    ),
    Mutant(
        "period: a silent gateway is behind",
        PERIODS,
        "while plans.period_start(current.anchor_on, period + 1) <= now:",
        "while period < 0:",
    ),
    Mutant(
        "period: one too many",
        PERIODS,
        "period >= current.num_periods",
        "period > current.num_periods",
    ),
    Mutant(
        "upgrade: grants all again",
        PERIODS,
        "more = max(plan.period_points - held.period_points, 0)",
        "more = plan.period_points",
    ),
    Mutant(
        "downgrade: at once",
        PERIODS,
        "_update(connection, account_id, next_plan=plan.id)",
        "_update(connection, account_id, plan=plan.id)",
    ),
    Mutant("price: rounded down", PRICING, "math.ceil(exact)", "math.floor(exact)"),
    Mutant(
        "price: rounded at every factor",
        PRICING,
        "exact *= Fraction(factor)",
        "exact = Fraction(math.ceil(exact * Fraction(factor)))",
    ),
    Mutant("day: in UTC", CALENDAR, "now.astimezone(zone).date()", "now.date()"),
    Mutant(
        "day: 24 hours",
        CALENDAR,
        "return start_of(day + timedelta(days=1), zone)",
        "return datetime.fromtimestamp(start_of(day, zone).timestamp() + 86400, zone)",
    ),
]
