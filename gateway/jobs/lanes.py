"""The lanes of the fair queue in the database: a cache of the jobs, kept by every move of a job.

Whoever moves a job holds its account's lock and calls `follow` when the job is written; the claim
writes the lanes it serves itself. Locks are taken in one order: account, job, account lane, tier
lanes sorted by key. Tier lanes are shared by all accounts, so a transaction collects what it does
to them and writes it at its end.
"""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    and_,
    bindparam,
    case,
    func,
    insert,
    select,
    true,
    update,
)

from gateway.db.tables import account, account_lane, job, tier_lane
from gateway.db.upsert import insert_if_new
from gateway.domain.jobs import JobState
from gateway.domain.plans import Plan, Plans


@dataclass(frozen=True)
class TierRow:
    """A tier as stored. `least_s`: the least pass of its waiting lanes, None if none waits."""

    id: str
    pass_s: float
    pool_time_s: float
    time_s: float
    least_s: float | None

    @property
    def virtual_time_s(self) -> float:
        """Where a lane that wakes begins."""
        return self.time_s if self.least_s is None else self.least_s


@dataclass
class _Change:
    passed_s: float = 0.0
    floor_s: float = 0.0
    new_pool_time_s: float = 0.0
    new_time_s: float = 0.0


class TierChanges:
    """What one transaction does to tier lanes; nothing is locked before `write`."""

    def __init__(self, plans: Plans) -> None:
        self._plans = plans
        self._changes: dict[tuple[str, str], _Change] = {}

    def advance(self, pool: str, tier: str, device_s: float) -> None:
        """The tier was served this many device-seconds; fewer than thought, if negative."""
        self._of(pool, tier).passed_s += device_s / self._plans.get(tier).weight

    def reach(self, pool: str, tier: str, *, pool_time_s: float, time_s: float) -> None:
        """Virtual time got this far, in the pool and in the tier."""
        change = self._of(pool, tier)
        change.new_pool_time_s = max(change.new_pool_time_s, pool_time_s)
        change.new_time_s = max(change.new_time_s, time_s)

    def wake(self, pool: str, tier: str, floor_s: float) -> None:
        """The tier waits again, no earlier than `floor_s`."""
        change = self._of(pool, tier)
        change.floor_s = max(change.floor_s, floor_s)

    def write(self, connection: Connection) -> None:
        """Write all of it. The tier lanes stay locked until the transaction ends."""
        for (pool, tier), change in sorted(self._changes.items(), key=lambda each: each[0]):
            if not _write_tier(connection, pool, tier, change):
                zero = {"pass_s": 0.0, "pool_time_s": 0.0, "time_s": 0.0}
                insert_if_new(connection, tier_lane, [{"pool": pool, "tier": tier, **zero}])
                _write_tier(connection, pool, tier, change)

    def _of(self, pool: str, tier: str) -> _Change:
        return self._changes.setdefault((pool, tier), _Change())


def follow(
    connection: Connection, account_id: str, pool: str, *, plans: Plans, excess_s: float = 0.0
) -> None:
    """Bring the account's lanes in line after one of its jobs in `pool` was moved.

    `excess_s`: device-seconds that the job took beyond what was charged for it.
    """
    changes = TierChanges(plans)
    if excess_s:
        tier = connection.execute(
            update(account_lane)
            .where(account_lane.c.account_id == account_id, account_lane.c.pool == pool)
            .values(pass_s=account_lane.c.pass_s + excess_s)
            .returning(account_lane.c.tier)
        ).scalar()
        if tier is not None:
            changes.advance(pool, tier, excess_s)
    sync_lanes(connection, account_id, pool, plans=plans, changes=changes)
    changes.write(connection)


def sync_lanes(
    connection: Connection, account_id: str, pool: str, *, plans: Plans, changes: TierChanges
) -> None:
    """Let the account's lanes say what its jobs say; that of `pool` is made if it is missing.

    Call under the account's lock.
    """
    plan = find_plan(connection, account_id, plans)
    has_room = count_running(connection, account_id) < plan.max_running
    rows = connection.execute(select(account_lane).where(account_lane.c.account_id == account_id))
    lanes: dict[str, Any] = {row.pool: row for row in rows}
    for name in sorted({pool, *lanes}):
        lane = lanes.get(name)
        if has_room and _has_jobs(connection, account_id, name):
            if lane is None or not lane.is_waiting or lane.tier != plan.id:
                _wake(connection, account_id, name, lane, plan=plan, changes=changes)
        elif lane is None:
            # The end of a job in another pool gives room to this one, and must know of it.
            _add_lane(connection, account_id, name, tier=plan.id, is_waiting=False, pass_s=0.0)
        elif lane.is_waiting:
            _write_lane(connection, account_id, name, is_waiting=False)


def list_tiers(connection: Connection, pool: str) -> dict[str, TierRow]:
    """The tiers of a pool that were ever served or woken."""
    rows = connection.execute(_LIST_TIERS, {"of_pool": pool})
    return {
        row.tier: TierRow(row.tier, row.pass_s, row.pool_time_s, row.time_s, row.least_s)
        for row in rows
    }


def find_plan(connection: Connection, account_id: str, plans: Plans) -> Plan:
    """The plan of an account, which is its tier."""
    plan_id = connection.execute(select(account.c.plan).where(account.c.id == account_id)).scalar()
    return plans.get(plan_id or "")


def count_running(connection: Connection, account_id: str) -> int:
    """Jobs of the account that run, in whatever pool; exact under its lock."""
    return int(connection.execute(_COUNT_RUNNING, {"of_account": account_id}).scalar_one())


def waiting_jobs(account_id: Any, pool: Any) -> ColumnElement[bool]:  # noqa: ANN401 -- values or columns
    """The condition that names the waiting jobs of a lane; `ix_job_lane` has them in order."""
    return and_(job.c.account_id == account_id, job.c.state == JobState.QUEUED, job.c.pool == pool)


def _has_jobs(connection: Connection, account_id: str, pool: str) -> bool:
    lane = {"of_account": account_id, "of_pool": pool}
    return connection.execute(_FIND_WAITING, lane).first() is not None


def _wake(
    connection: Connection,
    account_id: str,
    pool: str,
    lane: Any,  # noqa: ANN401 -- a row of `account_lane`, or None
    *,
    plan: Plan,
    changes: TierChanges,
) -> None:
    """The lane takes part again, or in another tier; time it stood aside earns nothing."""
    tiers = list_tiers(connection, pool)
    tier = tiers.get(plan.id)
    if tier is None or tier.least_s is None:
        others = [each for each in tiers.values() if each.least_s is not None]
        stored = max((each.pool_time_s for each in tiers.values()), default=0.0)
        changes.wake(pool, plan.id, min((each.pass_s for each in others), default=stored))
    begin_s = tier.virtual_time_s if tier else 0.0
    own_s = lane.pass_s if lane is not None and lane.tier == plan.id else begin_s
    values = {"tier": plan.id, "is_waiting": True, "pass_s": max(own_s, begin_s)}
    if lane is not None:
        _write_lane(connection, account_id, pool, **values)
    else:
        _add_lane(connection, account_id, pool, **values)


def _add_lane(connection: Connection, account_id: str, pool: str, **values: object) -> None:
    connection.execute(insert(account_lane).values(account_id=account_id, pool=pool, **values))


def _write_lane(connection: Connection, account_id: str, pool: str, **values: object) -> None:
    connection.execute(
        update(account_lane)
        .where(account_lane.c.account_id == account_id, account_lane.c.pool == pool)
        .values(**values)
    )


def _write_tier(connection: Connection, pool: str, tier: str, change: _Change) -> bool:
    key = {"of_pool": pool, "of_tier": tier}
    return connection.execute(_WRITE_TIER, key | asdict(change)).rowcount == 1


def _greater(value: ColumnElement[float], name: str) -> ColumnElement[float]:
    """The greater of a value and the named parameter, in SQL that both databases have."""
    other = bindparam(name, type_=Float)
    return case((value < other, other), else_=value)


# Made once, because to put a statement together takes longer than to run it.

_LIST_TIERS = select(
    tier_lane,
    select(account_lane.c.pass_s)
    .where(
        account_lane.c.pool == tier_lane.c.pool,
        account_lane.c.tier == tier_lane.c.tier,
        account_lane.c.is_waiting == true(),
    )
    .order_by(account_lane.c.pass_s)
    .limit(1)
    .scalar_subquery()
    .label("least_s"),
).where(tier_lane.c.pool == bindparam("of_pool"))

_COUNT_RUNNING = select(func.count()).where(
    job.c.account_id == bindparam("of_account"), job.c.state == JobState.RUNNING
)

_FIND_WAITING = (
    select(job.c.id).where(waiting_jobs(bindparam("of_account"), bindparam("of_pool"))).limit(1)
)

_WRITE_TIER = (
    update(tier_lane)
    .where(tier_lane.c.pool == bindparam("of_pool"), tier_lane.c.tier == bindparam("of_tier"))
    .values(
        pass_s=_greater(tier_lane.c.pass_s + bindparam("passed_s", type_=Float), "floor_s"),
        pool_time_s=_greater(tier_lane.c.pool_time_s, "new_pool_time_s"),
        time_s=_greater(tier_lane.c.time_s, "new_time_s"),
    )
)
