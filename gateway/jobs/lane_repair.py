"""Lanes that say something else than the jobs do: found, and put right.

Lanes are a cache of the jobs. Nothing but a change of plan, of the plans file or of the schema, or
a hand in the database, lets them disagree; then some account would wait for no reason.
"""

from typing import Any

from sqlalchemy import Connection, and_, false, func, or_, select

from gateway.db.tables import account, account_lane, job
from gateway.db.upsert import insert_if_new
from gateway.domain.jobs import JobState
from gateway.domain.plans import Plans
from gateway.jobs.lanes import TierChanges, follow, list_tiers, sync_lanes
from gateway.points.ledger import lock_account

_LOCKED_AT_ONCE = 1000


def list_strays(connection: Connection, plans: Plans) -> list[tuple[str, str]]:
    """Accounts and pools where jobs wait that could run, but no lane of the right tier says so."""
    return [(row.account_id, row.pool) for row in _strays(connection, plans)]


def repair_lanes(connection: Connection, account_id: str, pool: str, *, plans: Plans) -> None:
    """Put the lanes of one account right, whoever else works."""
    lock_account(connection, account_id)
    follow(connection, account_id, pool, plans=plans)


def rebuild_lanes(connection: Connection, plans: Plans) -> int:
    """Derive the lanes from the jobs; how many were wrong. Safe while other gateways serve.

    Lanes that exist keep their pass. Those that are made begin at the virtual time.
    """
    strays = _strays(connection, plans)
    _lock(connection, sorted({row.account_id for row in strays}))
    changes = TierChanges(plans)
    missing = [row for row in strays if row.tier is None]
    for pool in sorted({row.pool for row in missing}):
        _create(connection, pool, [row for row in missing if row.pool == pool], plans, changes)
    for row in sorted(strays, key=lambda row: (row.account_id, row.pool)):
        if row.tier is not None:
            sync_lanes(connection, row.account_id, row.pool, plans=plans, changes=changes)
    changes.write(connection)
    return len(strays)


def _lock(connection: Connection, account_ids: list[str]) -> None:
    """Lock many accounts, in one order for all who do so."""
    for start in range(0, len(account_ids), _LOCKED_AT_ONCE):
        some = account_ids[start : start + _LOCKED_AT_ONCE]
        query = select(account.c.id).where(account.c.id.in_(some)).order_by(account.c.id)
        connection.execute(query.with_for_update()).all()


def _create(
    connection: Connection, pool: str, rows: list[Any], plans: Plans, changes: TierChanges
) -> None:
    """Make many lanes at once; their accounts are locked."""
    tiers = list_tiers(connection, pool)
    stored_s = max((tier.pool_time_s for tier in tiers.values()), default=0.0)
    waiting = [tier.pass_s for tier in tiers.values() if tier.least_s is not None]
    for plan_id in sorted({plans.get(row.plan).id for row in rows}):
        tier = tiers.get(plan_id)
        if tier is None or tier.least_s is None:
            changes.wake(pool, plan_id, min(waiting, default=stored_s))
        lane = {
            "pool": pool,
            "tier": plan_id,
            "is_waiting": True,
            "pass_s": tier.virtual_time_s if tier else 0.0,
        }
        accounts = [row.account_id for row in rows if plans.get(row.plan).id == plan_id]
        insert_if_new(connection, account_lane, [{"account_id": each, **lane} for each in accounts])


def _strays(connection: Connection, plans: Plans) -> list[Any]:
    rows = connection.execute(_LIST_ODD_LANES).all()
    if not rows:
        return []
    running: dict[str, int] = {
        row[0]: row[1]
        for row in connection.execute(
            select(job.c.account_id, func.count())
            .where(job.c.state == JobState.RUNNING)
            .group_by(job.c.account_id)
        )
    }
    return [row for row in rows if _is_stray(row, plans, running.get(row.account_id, 0))]


def _is_stray(row: Any, plans: Plans, num_running: int) -> bool:  # noqa: ANN401 -- of `_strays`
    plan = plans.get(row.plan)
    if num_running >= plan.max_running:
        return False
    return row.tier != plan.id or not row.is_waiting


# The sweep asks it again and again: made once, as in `gateway.jobs.lanes`.

_queued = (
    select(job.c.account_id, job.c.pool)
    .where(job.c.state == JobState.QUEUED)
    .distinct()
    .subquery("queued")
)
_LIST_ODD_LANES = (
    select(_queued, account.c.plan, account_lane.c.tier, account_lane.c.is_waiting)
    .join(account, account.c.id == _queued.c.account_id)
    .outerjoin(
        account_lane,
        and_(
            account_lane.c.account_id == _queued.c.account_id,
            account_lane.c.pool == _queued.c.pool,
        ),
    )
    .where(
        or_(
            account_lane.c.tier.is_(None),
            account_lane.c.tier != account.c.plan,
            account_lane.c.is_waiting == false(),
        )
    )
)
