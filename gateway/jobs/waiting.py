"""What waits in a pool, read from the database into the structures of `gateway.domain.scheduling`.

Reading the front takes as long with ten waiting jobs as with a hundred thousand: the first lanes
of every tier, and the oldest job of each, come straight out of two indexes.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import Connection, Integer, Row, Select, bindparam, func, select, true, union_all

from gateway.db.tables import account_lane, job
from gateway.domain.durations import Duration, DurationKey
from gateway.domain.plans import Plans
from gateway.domain.scheduling import LOOKAHEAD, Lane, Pool, Ticket, Tier
from gateway.jobs.durations import expect
from gateway.jobs.lanes import list_tiers, waiting_jobs
from gateway.protocol import AttemptRef
from models.catalog import Catalog
from models.spec import BatchKey, VideoSpec


def load_front(
    connection: Connection,
    pool: str,
    *,
    plans: Plans,
    num_picks: int,
    passed_over: Collection[str] = (),
) -> tuple[Pool, list[str]]:
    """The lanes that the next `num_picks` picks can fall on, each with its oldest job.

    Lanes have room for one: how much there is, is known under the account's lock. Also answers
    the accounts whose lane says that a job waits when none does.
    """
    fronts = _fronts(tuple(plan.id for plan in plans.plans), passes_over=bool(passed_over))
    values = {"pool": pool, "num_lanes": LOOKAHEAD + num_picks}
    rows = connection.execute(
        fronts, values | ({"passed_over": sorted(passed_over)} if passed_over else {})
    ).all()
    found = load_tiers(connection, pool, plans)
    stale = [row.account_id for row in rows if row.head_id is None]
    heads = [row for row in rows if row.head_id is not None]
    tickets = make_tickets(connection, [(row.head_id, row.spec) for row in heads])
    for row, ticket in zip(heads, tickets, strict=True):
        lane = Lane(row.account_id, 1, deque([ticket]), row.pass_s)
        found.tiers[row.tier].lanes.append(lane)
    for tier in found.tiers.values():
        tier.lanes.sort(key=lambda lane: lane.order)
    return found, stale


def load_tiers(connection: Connection, pool: str, plans: Plans) -> Pool:
    """The pool with all its tiers, without lanes."""
    rows = list_tiers(connection, pool)
    found = Pool(time_s=max((row.pool_time_s for row in rows.values()), default=0.0))
    for plan in plans.plans:
        row = rows.get(plan.id)
        found.tiers[plan.id] = Tier(
            plan.id, plan.weight, row.pass_s if row else 0.0, row.time_s if row else 0.0
        )
    return found


def list_runnable(
    connection: Connection, pool: str, *, plans: Plans, limit: int
) -> list[AttemptRef]:
    """Waiting jobs that may run now, at most `limit`: of each lane that takes part the oldest.

    As many of a lane as its plan runs at once. An account at its cap has no lane that takes part.
    """
    refs: list[AttemptRef] = []
    for plan in plans.plans:
        if len(refs) == limit:
            break
        values = {"pool": pool, "tier": plan.id, "num_lanes": limit, "num_jobs": limit - len(refs)}
        num_passed = min(plan.max_running, limit) - 1
        rows = connection.execute(_oldest_jobs(), values | {"num_passed": num_passed})
        refs += [AttemptRef(job_id=row.id, attempt=row.attempt) for row in rows]
    return refs


def list_lane_jobs(
    connection: Connection, account_id: str, pool: str, limit: int
) -> list[Row[Any]]:
    """The oldest waiting jobs of a lane: `id`, `attempt`, `spec`."""
    query = select(job.c.id, job.c.attempt, job.c.spec).where(waiting_jobs(account_id, pool))
    return list(connection.execute(query.order_by(job.c.id).limit(limit)))


def make_tickets(
    connection: Connection, jobs: Iterable[tuple[str, dict[str, Any]]]
) -> list[Ticket]:
    """Jobs by id and spec, with what each is expected to cost."""
    keys = [(job_id, batch_key_of(spec)) for job_id, spec in jobs]
    expected = expect(connection, {DurationKey.of(key) for _, key in keys})
    return [Ticket(job_id, key, cost_s(expected[DurationKey.of(key)])) for job_id, key in keys]


def batch_key_of(spec: dict[str, Any]) -> BatchKey:
    """The batch key of a spec as stored."""
    return VideoSpec.model_construct(**spec).batch_key


def batch_room_of(catalog: Catalog) -> Callable[[BatchKey], int]:
    """How many jobs of a batch key one call of their model takes."""

    def room(key: BatchKey) -> int:
        _kind, model, size, *_ = key
        card = catalog.find(model)
        return card.batch_room(size) if card else 1

    return room


def cost_s(expected: Duration) -> float:
    """What a job is charged. Never nothing, or a lane of very short jobs would never be behind."""
    return max(expected.mean_s, 1e-3)


@lru_cache(maxsize=16)
def _fronts(tiers: tuple[str, ...], *, passes_over: bool) -> Select[Any]:
    """The first `:num_lanes` lanes of each tier in `:pool`, each with its oldest job.

    Made once, because to put it together takes longer than to run it.
    """
    fronts = [
        _front(tier, passes_over=passes_over).subquery(f"front_{number}")
        for number, tier in enumerate(tiers)
    ]
    lanes = union_all(*(select(front) for front in fronts)).subquery("lanes")
    return select(lanes, job.c.spec).select_from(lanes.outerjoin(job, job.c.id == lanes.c.head_id))


@cache
def _oldest_jobs() -> Select[Any]:
    """The oldest `:num_jobs` of `:tier` in `:pool`, of `:num_lanes` lanes at most.

    Found by index, lane by lane: the last job of each lane's part, with `:num_passed` of the lane
    before it, then all up to it. Made once, as `_fronts`.
    """
    lane = account_lane.c
    ids = select(job.c.id).where(waiting_jobs(lane.account_id, lane.pool)).correlate(account_lane)
    passed = bindparam("num_passed", type_=Integer)
    cut = ids.order_by(job.c.id).offset(passed).limit(1).scalar_subquery()
    newest = ids.order_by(job.c.id.desc()).limit(1).scalar_subquery()
    parts = (
        select(lane.account_id, lane.pool, func.coalesce(cut, newest).label("last_id"))
        .where(
            lane.pool == bindparam("pool"),
            lane.tier == bindparam("tier"),
            lane.is_waiting == true(),
        )
        .order_by(lane.pass_s, lane.account_id)
        .limit(bindparam("num_lanes", type_=Integer))
        .subquery("parts")
    )
    return (
        select(job.c.id, job.c.attempt)
        .select_from(parts)
        .join(job, waiting_jobs(parts.c.account_id, parts.c.pool))
        .where(job.c.id <= parts.c.last_id)
        .limit(bindparam("num_jobs", type_=Integer))
    )


def _front(tier: str, *, passes_over: bool) -> Select[Any]:
    lane = account_lane.c
    head_id = (
        select(job.c.id)
        .where(waiting_jobs(lane.account_id, lane.pool))
        .order_by(job.c.id)
        .limit(1)
        .correlate(account_lane)
        .scalar_subquery()
    )
    query = (
        select(lane.account_id, lane.tier, lane.pass_s, head_id.label("head_id"))
        .where(lane.pool == bindparam("pool"), lane.tier == tier, lane.is_waiting == true())
        .order_by(lane.pass_s, lane.account_id)
        .limit(bindparam("num_lanes", type_=Integer))
    )
    if not passes_over:
        return query
    return query.where(lane.account_id.not_in(bindparam("passed_over", expanding=True)))
