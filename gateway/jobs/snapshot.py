"""One pool as it stands, for the forecast: lanes with their jobs, workers, and what runs."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, true, union_all

from gateway.db.tables import account_lane, attempt, job
from gateway.domain.durations import Duration, DurationKey
from gateway.domain.forecast import Device, Running
from gateway.domain.jobs import JobState
from gateway.domain.plans import Plans
from gateway.domain.scheduling import Lane, Pool, Ticket, Tier
from gateway.jobs.durations import expect
from gateway.jobs.lanes import waiting_jobs
from gateway.jobs.waiting import batch_key_of, cost_s, load_tiers
from gateway.jobs.workers import LiveWorker
from models.spec import BatchKey

MAX_JOBS = 2000


@dataclass(frozen=True)
class Snapshot:
    """What `gateway.domain.forecast` needs to know of a pool.

    Attributes:
        lanes: by account, those that wait for room too.
        num_waiting: jobs in them; at most about `MAX_JOBS`, the fairest first.
    """

    pool: Pool
    lanes: Mapping[str, tuple[Tier, Lane]]
    devices: list[Device]
    running: list[Running]
    expected: Mapping[DurationKey, Duration]
    num_waiting: int


def take_snapshot(
    connection: Connection,
    pool: str,
    workers: list[LiveWorker],
    *,
    plans: Plans,
    now: datetime,
    max_jobs: int = MAX_JOBS,
) -> Snapshot:
    """Read the pool; as many jobs of every lane as there is place for."""
    running = _running(connection)
    num_running: dict[str, int] = {}
    for row in running:
        num_running[row.account_id] = num_running.get(row.account_id, 0) + 1
    rows = _lanes(connection, pool, plans, list(num_running), max_jobs)
    jobs = _jobs(connection, pool, [row.account_id for row in rows], max_jobs)
    keys = {row.id: batch_key_of(row.spec) for row in (*jobs, *running)}
    expected = expect(connection, {DurationKey.of(key) for key in keys.values()})
    found = load_tiers(connection, pool, plans)
    lanes = _fill(found, rows, num_running, plans)
    for row in jobs:
        lanes[row.account_id][1].tickets.append(_ticket(row.id, keys[row.id], expected))
    for tier, lane in lanes.values():
        if lane.is_waiting:
            tier.lanes.append(lane)
    for tier in found.tiers.values():
        tier.lanes.sort(key=lambda lane: lane.order)
    places = {each.name: index for index, each in enumerate(workers)}
    return Snapshot(
        pool=found,
        lanes=lanes,
        devices=[Device(each.loaded_model, each.room) for each in workers],
        running=[
            Running(
                job_id=row.id,
                account_id=row.account_id,
                device=places.get(row.worker) if row.pool == pool else None,
                expected=expected[DurationKey.of(keys[row.id])],
                elapsed_s=max((now - row.started_at) / timedelta(seconds=1), 0.0),
                num_batched=row.num_batched or 1,
            )
            for row in running
        ],
        expected=expected,
        num_waiting=len(jobs),
    )


def _running(connection: Connection) -> list[Any]:
    """What runs in any pool: it counts against its account's room."""
    return list(
        connection.execute(
            select(
                job.c.id,
                job.c.account_id,
                job.c.pool,
                job.c.worker,
                job.c.spec,
                job.c.started_at,
                attempt.c.num_batched,
            )
            .join(attempt, (attempt.c.job_id == job.c.id) & (attempt.c.attempt == job.c.attempt))
            .where(job.c.state == JobState.RUNNING)
        )
    )


def _lanes(
    connection: Connection, pool: str, plans: Plans, running: list[str], max_jobs: int
) -> list[Any]:
    """The first lanes of every tier, and those that wait for a job of theirs to end."""
    row = account_lane.c
    columns = select(row.account_id, row.tier, row.pass_s)
    fronts = [
        columns.where(row.pool == pool, row.tier == plan.id, row.is_waiting == true())
        .order_by(row.pass_s, row.account_id)
        .limit(math.ceil(max_jobs / len(plans.plans)))
        .subquery(f"front_{number}")
        for number, plan in enumerate(plans.plans)
    ]
    first = connection.execute(union_all(*(select(front) for front in fronts))).all()
    known = {each.account_id for each in first}
    full = connection.execute(
        columns.where(row.pool == pool, row.account_id.in_(set(running) - known))
    ).all()
    return [each for each in (*first, *full) if plans.find(each.tier)]


def _jobs(connection: Connection, pool: str, accounts: list[str], max_jobs: int) -> list[Any]:
    """The oldest jobs of each lane: the more, the fewer lanes there are."""
    per_lane = max(max_jobs // max(len(accounts), 1), 1)
    while True:
        jobs = _oldest_jobs(connection, pool, accounts, per_lane)
        counts = Counter(row.account_id for row in jobs)
        is_cut = max(counts.values(), default=0) >= per_lane
        if not is_cut or len(jobs) >= max_jobs / 2 or per_lane >= max_jobs:
            return jobs
        per_lane *= 2


def _oldest_jobs(
    connection: Connection, pool: str, accounts: list[str], per_lane: int
) -> list[Any]:
    """Found by index, lane by lane: the last job of each lane's part, then all up to it."""
    lane = account_lane.c
    ids = select(job.c.id).where(waiting_jobs(lane.account_id, lane.pool)).correlate(account_lane)
    cut = ids.order_by(job.c.id).offset(per_lane - 1).limit(1).scalar_subquery()
    newest = ids.order_by(job.c.id.desc()).limit(1).scalar_subquery()
    parts = (
        select(lane.account_id, lane.pool, func.coalesce(cut, newest).label("last_id"))
        .where(lane.pool == pool, lane.account_id.in_(accounts))
        .subquery("parts")
    )
    query = (
        select(job.c.account_id, job.c.id, job.c.spec)
        .join(parts, waiting_jobs(parts.c.account_id, parts.c.pool))
        .where(job.c.id <= parts.c.last_id)
        .order_by(job.c.id)
    )
    return list(connection.execute(query))


def _fill(
    found: Pool, rows: list[Any], num_running: Mapping[str, int], plans: Plans
) -> dict[str, tuple[Tier, Lane]]:
    lanes = {}
    for row in rows:
        room = plans.get(row.tier).max_running - num_running.get(row.account_id, 0)
        lanes[row.account_id] = (
            found.tiers[row.tier],
            Lane(row.account_id, room, pass_s=row.pass_s),
        )
    return lanes


def _ticket(job_id: str, key: BatchKey, expected: Mapping[DurationKey, Duration]) -> Ticket:
    return Ticket(job_id, key, cost_s(expected[DurationKey.of(key)]))
